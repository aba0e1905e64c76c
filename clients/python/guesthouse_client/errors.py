"""What can go wrong with a channel. Each error says what helps: see `Retry`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias


class Retry(Enum):
    """What helps after an error. The channel does it by itself, except `NEVER`."""

    RESUME = "resume"
    """Connect again: the session may still be there."""
    REOPEN = "reopen"
    """Open another channel."""
    TOKEN = "token"  # noqa: S105 - what to do, and no password
    """Get another token."""
    NEVER = "never"


class GuesthouseError(Exception):
    """Base of the errors of this package.

    Args:
        message: what went wrong.
        code: the close code, or the HTTP status of a refused upgrade; 0 without either.
        retry: what helps.
    """

    default_retry = Retry.NEVER

    def __init__(self, message: str, code: int = 0, retry: Retry | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry = self.default_retry if retry is None else retry


class ConnectionLost(GuesthouseError):
    """The connection broke, or could not be made."""

    default_retry = Retry.RESUME


class Interrupted(GuesthouseError):
    """The node ended the channel, or did not open it, for a reason that passes."""

    default_retry = Retry.REOPEN


class ChannelClosed(GuesthouseError):
    """The process, the node for it, or this end closed the channel for good."""


class ChannelRefused(GuesthouseError):
    """The node does not open such a channel."""


class TokenRefused(GuesthouseError):
    """The token is not valid (any more)."""

    default_retry = Retry.TOKEN


class TokenUnavailable(GuesthouseError):
    """The function that gives tokens failed; its error is the cause."""

    default_retry = Retry.RESUME


class SessionLost(GuesthouseError):
    """The session is over."""

    default_retry = Retry.REOPEN


class SessionTaken(GuesthouseError):
    """Another socket has taken over the session."""


class ProtocolViolated(GuesthouseError):
    """One end broke the protocol."""


class QueueFull(GuesthouseError):
    """A message found no room in the queue, whose policy is `error`."""


class MessageTooBig(GuesthouseError):
    """The node takes no message of that size."""


class RequestFailed(GuesthouseError):
    """The process answered a request with an error."""


class RequestTimedOut(GuesthouseError, TimeoutError):
    """A request was not answered in time."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Messages that did not arrive, or may not have."""

    received: int | None
    """Messages of the process that do not come. None: the channel ended, another is open, and nobody knows."""
    unconfirmed: tuple[str | bytes, ...] = ()
    """Messages that were sent and not acknowledged when the channel ended: they arrived, or not."""


class MessagesLost(GuesthouseError):
    """Messages were lost. The channel goes on: receive the next."""

    def __init__(self, lost: Lost) -> None:
        how_many = "an unknown number of" if lost.received is None else f"{lost.received}"
        unconfirmed = f", and {len(lost.unconfirmed)} of ours are unconfirmed" if lost.unconfirmed else ""
        super().__init__(f"{how_many} messages of the process are lost{unconfirmed}")
        self.lost = lost


ErrorKind: TypeAlias = tuple[type[GuesthouseError], Retry | None]

CLOSE_CODES: Final[dict[int, ErrorKind]] = {
    1000: (ChannelClosed, None),
    1001: (Interrupted, None),
    1002: (ProtocolViolated, None),
    1003: (ProtocolViolated, None),
    1005: (Interrupted, None),
    1006: (ConnectionLost, None),
    1007: (ProtocolViolated, None),
    1008: (ProtocolViolated, None),
    1009: (ProtocolViolated, None),
    1010: (ProtocolViolated, None),
    1011: (Interrupted, None),
    1012: (Interrupted, None),
    1013: (Interrupted, None),
    1014: (Interrupted, None),
    4000: (ChannelRefused, None),
    4001: (Interrupted, None),
    4002: (TokenRefused, None),
    4003: (ChannelRefused, None),
    4004: (ChannelRefused, None),
    4005: (Interrupted, None),
    4006: (ChannelRefused, None),
    4007: (Interrupted, None),
    4008: (SessionLost, None),
    4009: (ProtocolViolated, None),
    4010: (ProtocolViolated, None),
    4011: (SessionTaken, None),
    4012: (Interrupted, Retry.RESUME),
}
"""The error of each close code. Any other code is a process's own: `ChannelClosed`."""

CLOSE_REASONS: Final[dict[tuple[int, str], ErrorKind]] = {
    (1008, "the token was revoked"): (TokenRefused, None),
    (1008, "the secret is used up: open a new channel"): (Interrupted, None),
    (1011, "no pong within the deadline"): (ConnectionLost, None),
}
"""Where one code has several reasons."""

STATUSES: Final[dict[int, ErrorKind]] = {
    401: (TokenRefused, None),
    408: (Interrupted, Retry.RESUME),
    429: (Interrupted, Retry.RESUME),
    500: (Interrupted, Retry.RESUME),
    502: (Interrupted, Retry.RESUME),
    503: (Interrupted, Retry.RESUME),
    504: (Interrupted, Retry.RESUME),
}
"""The error of each HTTP status of a refused upgrade. Any other is `ChannelRefused`."""


def error_of_close(code: int, reason: str = "") -> GuesthouseError:
    """The error of a close frame."""
    kind, retry = CLOSE_REASONS.get((code, reason)) or CLOSE_CODES.get(code, (ChannelClosed, None))
    return kind(f"closed with {code}{f' ({reason})' if reason else ''}", code, retry)


def error_of_status(status: int, reason: str = "") -> GuesthouseError:
    """The error of an upgrade request that was answered with an HTTP status."""
    kind, retry = STATUSES.get(status, (ChannelRefused, None))
    return kind(f"refused with HTTP status {status}{f' ({reason})' if reason else ''}", status, retry)
