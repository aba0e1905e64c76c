"""The node's end of a link: messages to one worker, and messages from it.

What is sent within one turn of the event loop leaves in as few frames as may be, so a burst of messages
costs one encoding and one system call for every `BATCH_MESSAGES`. Nothing here waits: how much may be
sent is limited by the mailboxes' windows and by what the worker itself has asked.

What is large leaves in pieces (`link/pieces.py`), some in each turn and no more than the worker reads; what is sent
after it waits behind it.

What is heard is carried out for `TURN_SECONDS` of each turn at most. The rest waits for the next turn, and no more is
read meanwhile: a worker that says more than the node can carry out holds up itself.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from time import perf_counter
from typing import Final, cast

from guesthouse.core.turn import TURN_SECONDS
from guesthouse.link.busy_poll import BusyPoll
from guesthouse.link.frames import UNENCODABLE, LinkError, encode, from_worker
from guesthouse.link.pieces import InPieces, taken_out
from guesthouse.link.schema import Message
from guesthouse.link.to_node import ToNode
from guesthouse.link.to_worker import Piece, Whole

BATCH_BYTES: Final = 1024 * 1024
"""Payload bytes after which a frame is sent although the turn is not over."""
BATCH_MESSAGES: Final = 32
"""Messages after which it is: the worker is to work on the first of a burst while the rest is read."""

OnMessage = Callable[[ToNode], None]
OnLost = Callable[[LinkError | None], None]
OnUnsendable = Callable[[Message, Exception], None]


def _drop(message: Message, error: Exception) -> None:
    """What becomes of a message that cannot be written when nobody wants to know."""


class NodeEnd(asyncio.Protocol):
    """One link. Closed by `close`, by the worker's end of file, or by the first thing that no correct
    worker sends; `on_lost` is called exactly once, with the reason, after the last message.

    Args:
        on_message: takes each message; a `LinkError` that it raises closes the link.
        on_lost: takes the error that closed the link, or None after `close` or end of file.
        on_unsendable: takes a message that cannot be written, and why; the others of its batch are sent.
    """

    def __init__(self, on_message: OnMessage, on_lost: OnLost, on_unsendable: OnUnsendable = _drop) -> None:
        self.reads = 0
        """How often the worker was heard."""
        self._on_message = on_message
        self._on_lost = on_lost
        self._on_unsendable = on_unsendable
        self._loop = asyncio.get_running_loop()
        self._reader = from_worker()
        self._rest: Iterator[ToNode] | None = None
        """What is put off to the next turn."""
        self._transport: asyncio.Transport | None = None
        self._batch: list[Message] = []
        self._batch_size = 0
        self._behind: deque[InPieces | list[Message]] = deque()
        """A large message under way, and what has to wait until it is sent."""
        self._is_full = False
        """Whether the worker is to read before it is sent more pieces."""
        self._busy_poll = BusyPoll()
        self._awake_until = 0.0
        """0 while it does not stay awake."""
        self._reads_before = 0
        self._error: LinkError | None = None

    def send(self, message: Message, size: int = 0) -> None:
        """Send a message in order. After the link closed it goes nowhere.

        Args:
            message: one of `to_worker`.
            size: bytes of its payload, so that batches of large ones are cut.
        """
        batch = self._batch
        if not batch:
            self._loop.call_soon(self._flush)
        batch.append(message)
        self._batch_size += size
        if self._batch_size >= BATCH_BYTES or len(batch) >= BATCH_MESSAGES:
            if size >= BATCH_BYTES:
                self._take_apart()
            self._flush()

    def close(self) -> None:
        """Send what is batched and close. The worker sees the end of file."""
        self._flush()
        while self._behind:
            self._send_behind()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once; what was not sent is dropped, and so is what was put off."""
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

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self.reads += 1
        if self._error is not None:
            return
        if self._rest is not None:  # what was under way when reading was paused; the rest gets to it
            self._reader.feed(data)
            return
        try:
            messages = self._reader.one_frame(data)
        except LinkError as error:
            self._fail(error)
            return
        self._carry_out(self._reader.feed(data) if messages is None else iter(messages))

    def _carry_out(self, messages: Iterator[ToNode]) -> None:
        take, until = self._on_message, perf_counter() + TURN_SECONDS
        try:
            for message in messages:
                take(message)
                if perf_counter() > until:
                    self._put_off(messages)
                    return
        except LinkError as error:
            self._fail(error)
            return
        if self._rest is not None:
            self._rest = None
            if self._transport is not None:
                self._transport.resume_reading()

    def _put_off(self, messages: Iterator[ToNode]) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._rest is None:
            self._transport.pause_reading()
            messages = chain(messages, self._reader.feed(b""))  # with what comes before reading is paused
        self._rest = messages
        self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._rest is not None and self._error is None:
            self._carry_out(self._rest)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop."""
        self._transport = None
        self._batch = []
        self._behind.clear()
        self._rest = None
        self._on_lost(self._error)

    def _flush(self) -> None:
        batch, self._batch, self._batch_size = self._batch, [], 0
        if not batch or self._transport is None:
            return
        if self._behind:
            self._behind.append(batch)
        else:
            self._write(batch)

    def _take_apart(self) -> None:
        """Send the message that was batched last in pieces, if it has large payloads."""
        message = self._batch[-1]
        small, payloads = taken_out(message)
        if not payloads or self._transport is None:
            return
        self._batch.pop()
        self._flush()
        handle: int = getattr(message, "handle", 0)
        whole = Whole(handle, small)  # type: ignore[arg-type] # it has payloads
        try:
            encode([whole])
        except (LinkError, *UNENCODABLE) as error:
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
        """Send some of what waits, all of which comes before what is batched."""
        first = self._behind[0]
        if isinstance(first, list):
            self._write(first)
        elif self._transport is not None:
            for frame in first.frames():
                self._transport.write(frame)
        if isinstance(first, list) or first.done:
            self._behind.popleft()

    def _write(self, batch: list[Message]) -> None:
        if self._transport is None:
            return
        try:
            frame = encode(batch)
        except (LinkError, *UNENCODABLE):
            frame = self._encode_each(batch)
        self._transport.write(frame)
        self._reads_before = self.reads
        if not self._awake_until:
            self._awake_until = self._busy_poll.begin(perf_counter())
            if self._awake_until:
                self._loop.call_soon(self._stay_awake)

    def _encode_each(self, batch: list[Message]) -> bytes:
        """The frames of those messages of a batch that can be written."""
        frames = []
        for message in batch:
            try:
                frames.append(encode([message]))
            except (LinkError, *UNENCODABLE) as error:
                self._on_unsendable(message, error)
        return b"".join(frames)

    def _stay_awake(self) -> None:
        """A loop with something to call does not sleep: look at all sockets again, until the worker answers."""
        if self.reads != self._reads_before:
            self._busy_poll.heard()
            self._awake_until = 0.0
        elif perf_counter() < self._awake_until:
            os.sched_yield()
            self._loop.call_soon(self._stay_awake)
        else:
            self._busy_poll.in_vain()
            self._awake_until = 0.0

    def _fail(self, error: LinkError) -> None:
        self._error = error
        self.abort()


async def connect(
    sock: socket.socket, on_message: OnMessage, on_lost: OnLost, on_unsendable: OnUnsendable = _drop
) -> NodeEnd:
    """Return the node's end on `sock`, one half of a socketpair, which it owns from now on."""
    loop = asyncio.get_running_loop()
    _, end = await loop.create_unix_connection(lambda: NodeEnd(on_message, on_lost, on_unsendable), sock=sock)
    return end
