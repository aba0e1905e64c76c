"""Receives the rest of a large frame where it is assembled: the kernel's copy is the only one before it is unmasked."""

from __future__ import annotations

import asyncio
from typing import Protocol


class LargeFrameReceiver(Protocol):
    """A connection that is in the middle of a large frame."""

    def room(self) -> memoryview:
        """Where to receive; never empty."""

    def received_in_place(self, size: int) -> None:
        """So many bytes were received into `room`."""

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`."""

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""


class InPlace(asyncio.BufferedProtocol):
    """The protocol of a connection's socket until the frame is complete; then it is the connection again.

    Args:
        connection: has all but what is received.
    """

    def __init__(self, connection: LargeFrameReceiver) -> None:
        self._connection = connection

    def get_buffer(self, sizehint: int) -> memoryview:
        """Called by the event loop, before it receives into the buffer."""
        return self._connection.room()

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the event loop, when it has received so many bytes."""
        self._connection.received_in_place(nbytes)

    def eof_received(self) -> bool:
        """The client closed its side."""
        return self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._connection.connection_lost(exc)

    def resume_writing(self) -> None:
        """The socket's write buffer fell below its low-water mark."""
        self._connection.resume_writing()
