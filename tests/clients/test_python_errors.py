"""The errors of the Python client: each close code of the node has one, and so has each HTTP status that it refuses."""

from __future__ import annotations

import pytest

import guesthouse_client
from guesthouse.http_server import close_codes
from guesthouse.http_server.close_codes import CloseReason
from guesthouse_client import (
    ChannelClosed,
    ChannelRefused,
    ConnectionLost,
    Interrupted,
    Retry,
    SessionLost,
    SessionTaken,
    TokenRefused,
    error_of_close,
)
from guesthouse_client._backoff import Backoff
from guesthouse_client.errors import CLOSE_CODES, CLOSE_REASONS, error_of_status

REASONS = [reason for reason in vars(close_codes).values() if isinstance(reason, CloseReason)]


@pytest.mark.parametrize("reason", REASONS, ids=str)
def test_each_close_of_the_node_has_an_error(reason: CloseReason) -> None:
    assert reason.code in CLOSE_CODES
    assert error_of_close(reason.code, reason.reason).code == reason.code


def test_reasons_that_differ_within_a_code_are_those_of_the_node() -> None:
    assert set(CLOSE_REASONS) <= {(reason.code, reason.reason) for reason in REASONS}


@pytest.mark.parametrize(
    ("reason", "kind", "retry"),
    [
        (close_codes.NORMAL, ChannelClosed, Retry.NEVER),
        (close_codes.GOING_AWAY, Interrupted, Retry.REOPEN),
        (close_codes.NO_PONG, ConnectionLost, Retry.RESUME),
        (close_codes.PROCESS_GONE, Interrupted, Retry.REOPEN),
        (close_codes.BAD_TOKEN, TokenRefused, Retry.TOKEN),
        (close_codes.TOKEN_REVOKED, TokenRefused, Retry.TOKEN),
        (close_codes.SECRET_USED_UP, Interrupted, Retry.REOPEN),
        (close_codes.NO_SUCH_PROCESS, ChannelRefused, Retry.NEVER),
        (close_codes.NO_SUCH_SESSION, SessionLost, Retry.REOPEN),
        (close_codes.TAKEN_OVER, SessionTaken, Retry.NEVER),
        (close_codes.TOO_MANY_RESUMES, Interrupted, Retry.RESUME),
        (CloseReason(3001, "a process's own"), ChannelClosed, Retry.NEVER),
    ],
)
def test_an_error_says_what_helps(reason: CloseReason, kind: type[Exception], retry: Retry) -> None:
    error = error_of_close(reason.code, reason.reason)
    assert (type(error), error.retry) == (kind, retry)


def test_a_refused_upgrade_has_an_error() -> None:
    assert isinstance(error_of_status(401), TokenRefused)
    assert error_of_status(503).retry is Retry.RESUME
    assert (type(error_of_status(404)), error_of_status(404).retry) == (ChannelRefused, Retry.NEVER)


def test_pauses_are_none_at_first_and_double_to_the_longest() -> None:
    backoff = Backoff(1.0, 8.0)
    pauses = [backoff.pause() for _ in range(6)]
    assert pauses[0] == 0.0
    for pause, most in zip(pauses[1:], [1.0, 2.0, 4.0, 8.0, 8.0], strict=True):
        assert most / 2 <= pause <= most
    backoff.lasted()
    assert backoff.pause() == 0.0
    assert 4.0 <= backoff.pause(longer=True) <= 8.0
    assert 4.0 <= [backoff.pause() for _ in range(10_000)][-1] <= 8.0


def test_everything_that_it_offers_is_there() -> None:
    assert all(hasattr(guesthouse_client, name) for name in guesthouse_client.__all__)
