"""The node's end of a link: operations to one worker, and operations from it.

What is sent within one turn of the event loop leaves in as few frames as may be, so a burst of messages
costs one encoding and one system call for every `BATCH_OPERATIONS`. Nothing here waits: how much may be
sent is limited by the mailboxes' windows and by what the worker itself has asked.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final, cast

from guesthouse.link.frames import FrameReader, LinkError, encode
from guesthouse.link.vigil import Vigil

BATCH_BYTES: Final = 1024 * 1024
"""Payload bytes after which a frame is sent although the turn is not over."""
BATCH_OPERATIONS: Final = 32
"""Operations after which it is: the worker is to work on the first of a burst while the rest is read."""


class NodeEnd(asyncio.Protocol):
    """One link. Closed by `close`, by the worker's end of file, or by the first thing that no correct
    worker sends; `on_lost` is called exactly once, with the reason, after the last operation.

    Args:
        on_operation: takes each operation; a `LinkError` that it raises closes the link.
        on_lost: takes the error that closed the link, or None after `close` or end of file.
    """

    def __init__(
        self, on_operation: Callable[[list[Any]], None], on_lost: Callable[[LinkError | None], None]
    ) -> None:
        self.reads = 0
        """How often the worker was heard."""
        self._on_operation = on_operation
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._batch: list[Any] = []
        self._batch_size = 0
        self._vigil = Vigil()
        self._awake_until = 0.0
        """0 while it does not stay awake."""
        self._reads_before = 0
        self._error: LinkError | None = None

    def send(self, operation: list[Any], size: int = 0) -> None:
        """Send an operation in order. After the link closed it goes nowhere.

        Args:
            operation: as `ToWorker` says; not to be changed before this turn of the event loop is over.
            size: bytes of its payload, so that batches of large ones are cut.
        """
        batch = self._batch
        if not batch:
            self._loop.call_soon(self._flush)
        batch.append(operation)
        self._batch_size += size
        if self._batch_size >= BATCH_BYTES or len(batch) >= BATCH_OPERATIONS:
            self._flush()

    def close(self) -> None:
        """Send what is batched and close. The worker sees the end of file."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once; what was not sent is dropped."""
        self._batch = []
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self.reads += 1
        if self._error is not None:
            return
        try:
            for operation in self._reader.one_frame(data) or self._reader.feed(data):
                self._on_operation(operation)
        except LinkError as error:
            self._fail(error)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop."""
        self._transport = None
        self._batch = []
        self._on_lost(self._error)

    def _flush(self) -> None:
        batch, self._batch, self._batch_size = self._batch, [], 0
        if not batch or self._transport is None:
            return
        try:
            self._transport.write(encode(batch))
        except LinkError as error:
            self._fail(error)
            return
        self._reads_before = self.reads
        if not self._awake_until:
            self._awake_until = self._vigil.begin(perf_counter())
            if self._awake_until:
                self._loop.call_soon(self._stay_awake)

    def _stay_awake(self) -> None:
        """A loop with something to call does not sleep: look at all sockets again, until the worker answers."""
        if self.reads != self._reads_before:
            self._vigil.heard()
            self._awake_until = 0.0
        elif perf_counter() < self._awake_until:
            os.sched_yield()
            self._loop.call_soon(self._stay_awake)
        else:
            self._vigil.in_vain()
            self._awake_until = 0.0

    def _fail(self, error: LinkError) -> None:
        self._error = error
        self.abort()


async def connect(
    sock: socket.socket,
    on_operation: Callable[[list[Any]], None],
    on_lost: Callable[[LinkError | None], None],
) -> NodeEnd:
    """Return the node's end on `sock`, one half of a socketpair, which it owns from now on."""
    loop = asyncio.get_running_loop()
    _, end = await loop.create_unix_connection(lambda: NodeEnd(on_operation, on_lost), sock=sock)
    return end
