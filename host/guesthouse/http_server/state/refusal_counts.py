"""How often clients were refused, and sockets closed by the node, by code. Pure.

Codes and reasons are those of `close_codes.py`, so there are some seventy counts however hostile clients and processes
are: what a process closes with codes of its own is counted together.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Final

from guesthouse.http_server import close_codes
from guesthouse.http_server.close_codes import CloseReason, Refusal


class RefusedBy(StrEnum):
    """What refused."""

    WEBSOCKET = "websocket"
    """A close frame."""
    HTTP = "http"
    """The answer to a request or an upgrade."""
    API = "api"
    """The HTTP API."""


LOGIN: Final = "login"
"""Reason of a failed login, or of a token that is not renewed."""
HANDSHAKE: Final = "bad-handshake"
DROPPED: Final = "dropped"
_OTHER: Final = "other"

FIRST_CLOSE: Final = 1000
"""Close codes begin here, statuses of HTTP end below."""
_NAMES: Final = {
    (value.code if isinstance(value, CloseReason) else value.status, value.reason): name.lower().replace(
        "_", "-"
    )
    for name, value in vars(close_codes).items()
    if isinstance(value, CloseReason | Refusal) and value is not close_codes.NORMAL
}


_KNOWN: Final = (
    *((RefusedBy.WEBSOCKET, str(code), name) for (code, _), name in _NAMES.items() if code >= FIRST_CLOSE),
    *((RefusedBy.HTTP, str(code), name) for (code, _), name in _NAMES.items() if code < FIRST_CLOSE),
    *((RefusedBy.HTTP, str(status), LOGIN) for status in (401, 429)),
    (RefusedBy.HTTP, "400", HANDSHAKE),
    (RefusedBy.HTTP, "", DROPPED),
)
"""Counts that are told from the start, so that their first increase is seen."""


class RefusalCounts:
    """The counts since the node's start, by `RefusedBy`, code and reason."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, str]] = Counter(dict.fromkeys(_KNOWN, 0))

    def closed(self, code: int, reason: str) -> None:
        """The node sent a close frame. Closes for which it has no reason of its own are the process's."""
        name = name_of(code, reason)
        if name is not None:
            self.counts[RefusedBy.WEBSOCKET, str(code), name] += 1

    def refused(self, refusal: Refusal) -> None:
        """A request was refused."""
        name = name_of(refusal.status, refusal.reason) or _OTHER
        self.counts[RefusedBy.HTTP, str(refusal.status), name] += 1

    def answered(self, by: RefusedBy, status: int, reason: str) -> None:
        """A request was refused for a reason that is not in `close_codes`; it is one of a few."""
        self.counts[by, str(status), reason] += 1


def name_of(code: int, reason: str) -> str | None:
    """Name of a reason, which may have a detail appended; None if it is not the node's."""
    while (code, reason) not in _NAMES:
        reason, colon, _ = reason.rpartition(": ")
        if not colon:
            return None
    return _NAMES[code, reason]
