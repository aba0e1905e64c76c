"""The node's end of a link to a worker.

Messages sent within one iteration of the event loop are batched: a burst costs one encoding and one system call for
every `BATCH_MESSAGES`. Sending never blocks: it is bounded by the mailboxes' windows and the worker's calls.

Large messages are sent in pieces (`link/pieces.py`), some in each iteration and no faster than the worker reads; later
messages wait behind them. Those that find room in memory that both ends share are placed there (`link/lane.py`).

Received messages are handled for at most `TURN_SECONDS` of each iteration. The rest waits for the next, and reading is
paused meanwhile, so a worker that floods the node delays itself.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from math import inf
from time import perf_counter
from typing import Final, cast

from guesthouse.core.turn import TURN_SECONDS
from guesthouse.link.busy_poll import BusyPoll
from guesthouse.link.frames import LARGE, UNENCODABLE, LinkError, encode, from_worker
from guesthouse.link.gathering import Buffer, encode_parts
from guesthouse.link.lane import PayloadLane
from guesthouse.link.pieces import InPieces, taken_out
from guesthouse.link.schema import Message
from guesthouse.link.to_node import Placed, Released, ToNode
from guesthouse.link.to_worker import Piece, Whole

BATCH_BYTES: Final = 1024 * 1024
"""Payload bytes after which a frame is sent before the iteration ends."""
BATCH_MESSAGES: Final = 32
"""Messages after which it is, so that the worker starts on a burst while the rest is still being encoded."""

_TOO_LITTLE_MEMORY: Final = LinkError("the node had too little memory for what it was to send")
_OF_LANE: Final = (Placed, Released)

OnMessage = Callable[[ToNode], None]
OnLost = Callable[[LinkError | None], None]
OnUnsendable = Callable[[Message, Exception], None]


def _drop(message: Message, error: Exception) -> None:
    """Default of `on_unsendable`."""


class NodeEnd(asyncio.BufferedProtocol):
    """A link to a worker. Closed by `close`, by end of file, on the first protocol violation, or where memory is too
    short to send.

    Args:
        on_message: handles a message; may raise `LinkError`, which closes the link.
        on_lost: called once, after the last message, with the error that closed the link, or None.
        on_unsendable: called with a message that cannot be encoded, and the error; the rest of its batch is sent.
        lane: for large payloads; without one they cross by the socket.
    """

    def __init__(
        self,
        on_message: OnMessage,
        on_lost: OnLost,
        on_unsendable: OnUnsendable = _drop,
        lane: PayloadLane | None = None,
    ) -> None:
        self.reads = 0
        """Number of reads from the worker."""
        self._on_message = on_message
        self._on_lost = on_lost
        self._on_unsendable = on_unsendable
        self._lane = lane
        self._loop = asyncio.get_running_loop()
        self._reader = from_worker()
        self._rest: Iterator[ToNode] | None = None
        """Messages left for the next iteration."""
        self._transport: asyncio.Transport | None = None
        self._batch: list[Message] = []
        self._batch_size = 0
        self._has_large = False
        """Whether a message of the batch may have a large payload."""
        self._behind: deque[InPieces | list[Message]] = deque()
        """A large message being sent, and what waits behind it."""
        self._is_full = False
        """Whether the socket's write buffer is full, so that no more pieces are sent."""
        self._busy_poll = BusyPoll()
        self._poll_until = 0.0
        """End of busy polling; 0 while not polling."""
        self._reads_before = 0
        self._error: LinkError | None = None
        self._aborted = False

    def send(self, message: Message, size: int = 0) -> None:
        """Send a message. No effect once the link is closed.

        Args:
            message: one of `to_worker`.
            size: bytes of its payload, for cutting batches.
        """
        batch = self._batch
        if not batch:
            self._loop.call_soon(self._flush)
        batch.append(message)
        self._batch_size += size
        if size > LARGE:
            self._has_large = True
        if self._batch_size >= BATCH_BYTES or len(batch) >= BATCH_MESSAGES:
            if size >= BATCH_BYTES and not self._may_place():
                self._split_last()
            self._flush()

    def close(self) -> None:
        """Flush and close. The worker reads an end of file."""
        self._flush()
        while self._behind:
            self._send_behind()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once, dropping unsent and unhandled messages. The lane's memory may be closed afterwards."""
        self._aborted = True
        self._lane = None
        self._batch = []
        self._behind.clear()
        self._rest = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=BATCH_BYTES)

    def pause_writing(self) -> None:
        """Called by the event loop."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Called by the event loop."""
        self._is_full = False
        self._go_on_sending()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Called by the event loop, before it receives into the buffer."""
        return self._reader.room()

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the event loop, when it has received so many bytes."""
        self.reads += 1
        if self._error is not None:
            return
        if self._rest is not None:  # already in transit when reading was paused; `_rest` continues with it
            self._reader.hold(nbytes)
            return
        try:
            messages = self._reader.received(nbytes)
        except LinkError as error:
            self._fail(error)
            return
        self._carry_out(iter(messages))

    def _carry_out(self, messages: Iterator[ToNode], seconds: float = TURN_SECONDS) -> None:
        take, until = self._on_message, perf_counter() + seconds
        try:
            for message in messages:
                if type(message) in _OF_LANE:
                    self._by_lane(message)
                else:
                    take(message)
                if perf_counter() > until:
                    self._defer(messages)
                    return
        except LinkError as error:
            self._fail(error)
            return
        if self._rest is not None:
            self._rest = None
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()

    def _by_lane(self, message: ToNode) -> None:
        """Handle a message whose payload is in shared memory, or that releases some of it."""
        lane = self._lane
        if lane is None:
            if self._transport is None or self._transport.is_closing():
                return
            raise LinkError(f"a {type(message).__name__} on a link without a lane")
        if isinstance(message, Placed):
            self._on_message(lane.take(message))
            if lane.must_release:
                self._release_soon()
        elif isinstance(message, Released):
            lane.released(message)

    def _release_soon(self) -> None:
        """Release at the end of the iteration, also if nothing else is sent."""
        if not self._batch:
            self._loop.call_soon(self._flush)

    def _defer(self, messages: Iterator[ToNode]) -> None:
        if self._transport is None or self._aborted:
            return
        if self._rest is None:
            if not self._transport.is_closing():
                self._transport.pause_reading()
            messages = chain(messages, self._reader.frames())  # and what arrives before reading is paused
        self._rest = messages
        self._loop.call_soon(self._continue)

    def _continue(self) -> None:
        if self._rest is not None and self._error is None:
            self._carry_out(self._rest)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop."""
        self._transport = None
        self._batch = []
        self._behind.clear()
        rest, self._rest = self._rest, None
        if rest is not None:
            # At most one read. The node may have heard already that messages were taken which this answers.
            self._carry_out(rest, inf)
        self._on_lost(self._error)

    def _flush(self) -> None:
        batch, size, self._batch, self._batch_size = self._batch, self._batch_size, [], 0
        has_large, self._has_large = self._has_large, False
        if self._transport is None or not (batch or (self._lane is not None and self._lane.must_release)):
            return
        if not self._behind:
            self._write(batch, size, has_large=has_large)
            return
        if batch:
            self._behind.append(batch)
        if self._lane is not None and self._lane.must_release:
            self._write([])  # the worker may need the room before all that waits is sent

    def _may_place(self) -> bool:
        """Whether the batch finds room in the lane, so that its large messages need not be split."""
        lane, batch = self._lane, self._batch
        return lane is not None and not self._behind and lane.has_room(self._batch_size, len(batch))

    def _split_last(self) -> None:
        """Send the last message of the batch in pieces, if it has large payloads."""
        message = self._batch[-1]
        small, payloads = taken_out(message)
        if not payloads or self._transport is None:
            return
        self._batch.pop()
        self._flush()
        handle: int = getattr(message, "handle", 0)
        whole = Whole(handle, small)  # type: ignore[arg-type] # a message with payloads
        try:
            encode([whole])
        except (LinkError, MemoryError, *UNENCODABLE) as error:
            self._on_unsendable(message, error)
            return
        self._behind.append(InPieces(Piece, handle, payloads, whole))
        if len(self._behind) == 1:
            self._go_on_sending()

    def _go_on_sending(self) -> None:
        if self._behind and not self._is_full:
            self._send_behind()
            if self._behind and not self._is_full:
                self._loop.call_soon(self._go_on_sending)

    def _send_behind(self) -> None:
        """Send the next of the waiting frames, which come before the current batch."""
        first = self._behind[0]
        if isinstance(first, list):
            self._behind.popleft()
            self._write(first)
        elif self._transport is not None:
            try:
                for parts in first.frames():
                    self._transport.writelines(parts)
            except MemoryError:
                self._fail(_TOO_LITTLE_MEMORY)
                return
            if first.done:
                self._behind.popleft()

    def _write(self, batch: list[Message], size: int = 0, *, has_large: bool = False) -> None:
        if self._transport is None:
            return
        try:
            parts = self._encoded(batch, size, has_large=has_large)
            if len(parts) == 1:
                self._transport.write(parts[0])
            else:
                self._transport.writelines(parts)
        except MemoryError:  # part of it may be sent, so the worker cannot go on either
            self._fail(_TOO_LITTLE_MEMORY)
            return
        self._reads_before = self.reads
        if not self._poll_until:
            self._poll_until = self._busy_poll.begin(perf_counter(), lone=len(batch) == 1)
            if self._poll_until:
                self._loop.call_soon(self._poll)

    def _encoded(self, batch: list[Message], size: int, *, has_large: bool) -> Sequence[Buffer]:
        lane = self._lane
        try:
            packed = batch if lane is None else lane.pack(batch, size if has_large else 0)
            return encode_parts(packed, size) if has_large else [encode(packed, size)]
        except (LinkError, *UNENCODABLE):
            if lane is not None:
                lane.unpack()
            return [self._encode_each(batch)]

    def _encode_each(self, batch: list[Message]) -> bytes | bytearray:
        """Encode the messages of a batch one by one, reporting those that cannot be encoded."""
        frames = []
        for message in batch:
            try:
                frames.append(encode([message]))
            except (LinkError, *UNENCODABLE) as error:
                self._on_unsendable(message, error)
        return b"".join(frames)

    def _poll(self) -> None:
        """Busy poll: keep the event loop from sleeping until the worker answers or the time is over."""
        if self.reads != self._reads_before:
            self._busy_poll.heard()
            self._poll_until = 0.0
        elif perf_counter() < self._poll_until:
            os.sched_yield()
            self._loop.call_soon(self._poll)
        else:
            self._busy_poll.in_vain()
            self._poll_until = 0.0

    def _fail(self, error: LinkError) -> None:
        self._error = error
        self.abort()


async def connect(
    sock: socket.socket,
    on_message: OnMessage,
    on_lost: OnLost,
    on_unsendable: OnUnsendable = _drop,
    lane: PayloadLane | None = None,
) -> NodeEnd:
    """Make the node's end on `sock`, one half of a socketpair, of which it takes ownership."""
    loop = asyncio.get_running_loop()
    _, end = await loop.create_unix_connection(
        lambda: NodeEnd(on_message, on_lost, on_unsendable, lane), sock=sock
    )
    return end
