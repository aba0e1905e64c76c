"""The sample `echo-c`: the same payload and type comes back, for as long as anyone likes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.wire import Call, ToNode, ToWorker

from guesthouse.core.exit_cause import ExitCause

from ..worker.process import Guest, Worker
from .conftest import Built

SAMPLE = Path(__file__).parents[3] / "sample_processes" / "echo-c"
TEXT, BINARY, PING = 0, 1, 2


@pytest.fixture(scope="module")
def compiled(built: Built) -> Path:
    """The sample, built and compiled."""
    return built(SAMPLE)


@pytest.fixture
def echo(compiled: Path, worker: Worker) -> Guest:
    """The echo with a channel open, in 4 MiB of memory."""
    guest = worker.start(compiled, memory_bytes=4 << 20)
    for path, authenticated in (("/", True), ("/public", False)):
        call_id, *said = guest.expect(ToNode.CALL)
        assert said == [Call.BIND_WS, [path, authenticated, False, False, []]]
        guest.send(ToWorker.REPLY, call_id, None)
    guest.started().open(1)
    return guest


@pytest.mark.slow
@pytest.mark.parametrize("payload", [b"", b"a", "€\0é".encode(), b"x" * 100_000])
def test_text_comes_back_as_text(payload: bytes, echo: Guest) -> None:
    echo.push(1, payload, TEXT)
    assert echo.expect(ToNode.PUSH) == [1, TEXT, payload]


@pytest.mark.parametrize("payload", [b"", bytes(range(256)), b"\xff" * 100_000])
def test_binary_comes_back_as_binary(payload: bytes, echo: Guest) -> None:
    echo.push(1, payload, BINARY)
    assert echo.expect(ToNode.PUSH) == [1, BINARY, payload]


def test_other_kinds_are_left_alone(echo: Guest) -> None:
    echo.push(1, b"ping", PING)
    echo.push(1, b"after", TEXT)
    assert echo.expect(ToNode.PUSH) == [1, TEXT, b"after"]


def test_messages_of_many_times_its_memory_go_through(echo: Guest) -> None:
    """Nothing of a message is kept after it."""
    for number in range(60):
        payload = bytes([97 + number % 26]) * 500_000
        echo.push(1, payload, number % 2)
        assert echo.expect(ToNode.PUSH) == [1, number % 2, payload]


def test_a_client_that_does_not_read_is_named_in_the_log(echo: Guest) -> None:
    echo.open(2, credit=10)
    echo.push(2, b"x" * 100, TEXT)
    assert "too slowly" in echo.expect(ToNode.LOG, "print")[2]


def test_a_path_that_cannot_be_bound_ends_it_with_a_word(compiled: Path, worker: Worker) -> None:
    guest = worker.start(compiled)
    call_id, *_ = guest.expect(ToNode.CALL)
    guest.send(ToWorker.REPLY, call_id, "too-many")
    assert "cannot be bound" in guest.expect(ToNode.LOG, "print")[2]
    assert guest.death()[0] == ExitCause.RETURNED
