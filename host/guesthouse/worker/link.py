"""The worker's messages to the node, collected into frames.

Each frame starts with what the guests have consumed, behind what is released of shared memory. So the node learns
that a message was taken no later than of anything that the process did with it, and when a worker dies no message is
delivered twice. It learns with what a guest did last that the guest has no message in hand any more.

Large messages are sent in pieces (`link/pieces.py`), some in each iteration of the worker, while the sender waits for
the answer. If it does not wait, the pieces are sent at once, to keep its messages in order. Large pushes go
through shared memory where they find room (`link/lane.py`).
"""

from __future__ import annotations

from collections import deque
from socket import socket
from typing import Any, Final, Protocol

from msgspec import Raw
from msgspec.structs import replace

from guesthouse.link.frames import MOST_MESSAGES, UNENCODABLE, LinkError, encode
from guesthouse.link.gathering import Buffer, encode_parts, send
from guesthouse.link.lane import LEAST, PayloadLane
from guesthouse.link.pieces import InPieces, Payloads, taken_out
from guesthouse.link.schema import Message
from guesthouse.link.to_node import Consumed, LogLine, Piece, ToNode, Whole

FLUSH_BYTES: Final = 4 * 1024 * 1024
"""Payload bytes after which a frame is sent before the end of the iteration."""
FLUSH_MESSAGES: Final = MOST_MESSAGES // 2
"""Messages after which a frame is sent: the node handles the first while the guests produce more. Also the number of
guests whose consumption fits a frame.
"""
_MESSAGE_BYTES: Final = 64
"""Cost of a message besides its payload."""
MOST_WAITING: Final = 32 * 1024 * 1024
"""Bytes of large messages that may be waiting; above it they are sent at once."""


class Consumer(Protocol):
    """A guest that takes messages."""

    handle: int
    taken: int
    """Messages that it took since the node was told last."""
    in_hand: bool
    """Whether it is at work on a message."""
    told_in_hand: bool
    """Whether the node was told last that it is."""
    noted: bool
    """Whether `flush` will tell the node of it."""


class LinkWriter:
    """Messages for the node. `flush` blocks while the node reads slowly.

    Args:
        link: the socket.
        lane: for large payloads; without one they cross by the socket.
    """

    __slots__ = (
        "_bytes", "_consumers", "_failure", "_has_large", "_lane", "_large", "_large_bytes", "_link", "_messages",
    )  # fmt: skip

    def __init__(self, link: socket, lane: PayloadLane | None = None) -> None:
        self._link = link
        self._lane = lane
        self._messages: list[ToNode | Raw] = []
        self._consumers: list[Consumer] = []
        self._bytes = 0
        self._has_large = False
        """Whether one of the messages has a large payload, which found no room in the lane."""
        self._large: deque[InPieces] = deque()
        self._large_bytes = 0
        self._failure: BaseException | None = None
        """Why something was not sent, or only in part. Raised by all that follows: a guest's host call may be who hears
        it first, and ends only that guest.
        """

    def add(self, message: ToNode | Raw, payload_bytes: int = 0) -> None:
        """Queue a message; sends the queue if it is too large, for which the guest has to wait.

        Args:
            message: its payload may be a view of a guest's memory, which is copied.
            payload_bytes: of its payload.
        """
        if payload_bytes > LEAST:
            message = self._with_copy(message)
        self._messages.append(message)
        self._bytes += payload_bytes + _MESSAGE_BYTES
        if self._bytes > FLUSH_BYTES or len(self._messages) >= FLUSH_MESSAGES:
            if payload_bytes > FLUSH_BYTES:
                self._split_last()
            self.flush()

    def _with_copy(self, message: ToNode | Raw) -> ToNode | Raw:
        """A message with a large payload, or what is sent instead: all are placed when they are added, as the ring is
        released in its order, and a guest may change its memory once it runs on.
        """
        placed: ToNode | None = None if self._lane is None else self._lane.place(message)
        if placed is None:
            payload = getattr(message, "payload", None)
            if type(payload) is memoryview:
                return replace(message, payload=payload.tobytes())  # type: ignore[type-var] # a push
            self._has_large = True
            return message
        return placed

    def add_large(self, handle: int, payloads: Payloads, whole: Whole | Raw, *, waits: bool) -> None:
        """Queue a message whose payloads were taken out.

        Args:
            handle: of the guest.
            payloads: its payloads.
            whole: its `Whole`.
            waits: whether the guest sends nothing more before it is answered.
        """
        large = InPieces(Piece, handle, payloads, whole)
        self._large.append(large)
        self._large_bytes += large.size
        while self._large and (not waits or self._large_bytes > MOST_WAITING):
            self.send_pieces()

    @property
    def has_large(self) -> bool:
        """Whether `send_pieces` has something to send."""
        return bool(self._large)

    def send_pieces(self) -> None:
        """Send more pieces of the first large message, and finally its rest, after what is queued.

        Raises:
            OSError: the node is gone.
            MemoryError: something was lost, and all later calls raise it again.
        """
        self.flush()
        large = self._large[0]
        try:
            for parts in large.frames():
                send(self._link, parts)
        except BaseException as error:
            self._failure = error
            raise
        if large.done:
            self._forget(large)

    def drop_large(self, handle: int) -> None:
        """A guest has ended: stop sending its large messages."""
        for large in [each for each in self._large if each.handle == handle]:
            self._forget(large)

    def _split_last(self) -> None:
        """Convert the last queued message to pieces."""
        message: Any = self._messages.pop()
        small, payloads = (message, ()) if isinstance(message, Raw) else taken_out(message)
        if payloads:
            whole = Whole(message.handle, small)  # type: ignore[arg-type] # it had payloads
            self.add_large(message.handle, payloads, whole, waits=False)
        else:
            self._messages.append(message)

    def _forget(self, large: InPieces) -> None:
        self._large.remove(large)
        self._large_bytes -= large.size

    def note_consumer(self, guest: Consumer) -> None:
        """The guest takes its first message since the last flush, or has finished the one that was told of in it."""
        if len(self._consumers) >= FLUSH_MESSAGES:
            self.flush()
        guest.noted = True
        self._consumers.append(guest)

    def flush(self) -> None:
        """Send what is queued as one frame.

        Raises:
            OSError: the node is gone.
            MemoryError: something was lost, and all later calls raise it again.
        """
        if self._failure is not None:
            raise self._failure
        lane = self._lane
        if self._messages or self._consumers or (lane is not None and lane.must_release):
            try:
                self._send_queued(lane)
            except BaseException as error:
                self._failure = error
                raise

    def _send_queued(self, lane: PayloadLane | None) -> None:
        messages: list[ToNode | Raw] = []
        for guest in self._consumers:
            guest.told_in_hand = guest.in_hand
            messages.append(Consumed(guest.handle, guest.taken, guest.in_hand))
            guest.taken, guest.noted = 0, False
        self._consumers.clear()
        messages += self._messages
        self._messages.clear()
        size, self._bytes = self._bytes, 0
        has_large, self._has_large = self._has_large, False
        try:
            sent = messages if lane is None else lane.release_with(messages)
            parts: list[Buffer] = encode_parts(sent, size) if has_large else [encode(sent, size)]
        except (LinkError, *UNENCODABLE):
            if lane is not None:
                lane.unpack()
            parts = [b"".join(map(_alone, messages))]
        send(self._link, parts)


def _alone(message: Message | Raw) -> bytes | bytearray:
    """The frame of one message of a batch that cannot be encoded as a whole; a log line if it cannot be encoded
    itself.
    """
    try:
        return encode([message])
    except (LinkError, *UNENCODABLE):
        text = f"a {type(message).__name__} of it could not be encoded and was dropped"
        handle = getattr(message, "handle", None)
        return b"" if handle is None else encode([LogLine(handle, "host", "error", text)])
