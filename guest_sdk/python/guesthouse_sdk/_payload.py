"""The payload of a message that may be read later than the next is received: it is taken from the host when it is
first read, or before another takes its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from guesthouse_sdk._wit import messaging, types


class Payload:
    """The payload of the message received last, when this is made."""

    __slots__ = ("_raw", "_take")

    def __init__(self, take: Callable[[], types.LazyLoadBlob | None] | None = None) -> None:
        """Use a payload.

        Args:
            take: where it comes from, by default the host.
        """
        self._raw: types.LazyLoadBlob | None = None
        self._take = take or messaging.get_blob
        if take is None:
            latest.payload = self

    def bytes(self) -> bytes:
        """The payload; empty if there is none.

        Raises:
            RuntimeError: another message was received before it was read.
        """
        self.keep()
        return b"" if self._raw is None else self._raw.bytes

    def keep(self) -> None:
        """Take it from the host."""
        take, self._take = self._take, _taken
        if take is not _taken:
            self._raw = take()

    def lose(self) -> None:
        """Another message is received, and nobody read this one's."""
        if self._take is not _taken:
            self._take = _gone


class _Latest:
    """The payload of the message that is being handled, if it may be read later; None for messages of channels."""

    __slots__ = ("payload",)

    def __init__(self) -> None:
        self.payload: Payload | None = None


latest: Final = _Latest()


def keep_latest() -> None:
    """Take the payload of the message that is being handled, as a response is to be received meanwhile."""
    if latest.payload is not None:
        latest.payload.keep()
        latest.payload = None


def lose_latest() -> None:
    """The message was handled, and the next is to be received."""
    if latest.payload is not None:
        latest.payload.lose()
        latest.payload = None


def _taken() -> None:
    """Stands for: it was taken."""


def _gone() -> types.LazyLoadBlob | None:
    raise RuntimeError("the body is gone: read it before the next message is received")
