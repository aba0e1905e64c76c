"""The worker's side of what it tells the node: collected, then sent in whole frames.

What the guests consumed stands at the head of each frame. So the node learns that a message was taken
no later than of anything the process did with it, and a worker that dies can cause no message to be
delivered twice.

What is large crosses in pieces (`link/pieces.py`), a few in each turn of the worker, while the guest that said it waits
for the answer. One that does not wait could say more meanwhile: its pieces are sent at once.
"""

from __future__ import annotations

from collections import deque
from socket import socket
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw

from guesthouse.link.frames import MOST_MESSAGES, UNENCODABLE, LinkError, encode
from guesthouse.link.pieces import InPieces, Payloads, taken_out
from guesthouse.link.schema import Message
from guesthouse.link.to_node import Consumed, LogLine, Piece, ToNode, Whole

if TYPE_CHECKING:
    from guesthouse.worker.guest import Guest

FLUSH_BYTES: Final = 4 * 1024 * 1024
"""Payload bytes after which a frame is sent without waiting for the end of the turn."""
FLUSH_MESSAGES: Final = MOST_MESSAGES // 2
"""Messages after which one is: the node sends the first answers while the guest makes the others. As many guests may
have consumed something.
"""
_MESSAGE_BYTES: Final = 64
"""What a message counts besides its payload."""
MOST_WAITING: Final = 32 * 1024 * 1024
"""Bytes of large messages that wait for their turns; what is beyond does not."""


class LinkWriter:
    """Messages for the node. `flush` blocks while the node reads slower than the guests write."""

    __slots__ = ("_bytes", "_consumers", "_large", "_large_bytes", "_link", "_messages")

    def __init__(self, link: socket) -> None:
        self._link = link
        self._messages: list[ToNode | Raw] = []
        self._consumers: list[Guest] = []
        self._bytes = 0
        self._large: deque[InPieces] = deque()
        self._large_bytes = 0

    def add(self, message: ToNode | Raw, payload_bytes: int = 0) -> None:
        """Queue a message. With too much queued, sends it: the guest that goes on has to wait."""
        self._messages.append(message)
        self._bytes += payload_bytes + _MESSAGE_BYTES
        if self._bytes > FLUSH_BYTES or len(self._messages) >= FLUSH_MESSAGES:
            if payload_bytes > FLUSH_BYTES:
                self._take_apart()
            self.flush()

    def add_large(self, handle: int, payloads: Payloads, whole: Whole | Raw, *, waits: bool) -> None:
        """Queue a message whose payloads were taken out.

        Args:
            handle: of the guest that said it.
            payloads: these.
            whole: its `Whole`.
            waits: whether the guest says nothing more before it is answered.
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
        """Send some more pieces of the first large message, and the rest of it after them, behind what is queued.

        Raises:
            OSError: the node is gone.
        """
        self.flush()
        large = self._large[0]
        for frame in large.frames():
            self._link.sendall(frame)
        if large.done:
            self._forget(large)

    def drop_large(self, handle: int) -> None:
        """A guest ended: what it said is not sent any further."""
        for large in [each for each in self._large if each.handle == handle]:
            self._forget(large)

    def _take_apart(self) -> None:
        """Send the message that was queued last in pieces."""
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

    def note_consumer(self, guest: Guest) -> None:
        """The guest takes a message, the first since the last flush."""
        if len(self._consumers) >= FLUSH_MESSAGES:
            self.flush()
        self._consumers.append(guest)

    def flush(self) -> None:
        """Send what is queued as one frame.

        Raises:
            OSError: the node is gone.
        """
        if not self._messages and not self._consumers:
            return
        messages: list[ToNode | Raw] = [Consumed(guest.handle, guest.taken) for guest in self._consumers]
        for guest in self._consumers:
            guest.taken = 0
        self._consumers.clear()
        messages += self._messages
        self._messages.clear()
        self._bytes = 0
        try:
            frame = encode(messages)
        except (LinkError, *UNENCODABLE):
            frame = b"".join(map(_alone, messages))
        self._link.sendall(frame)


def _alone(message: Message | Raw) -> bytes:
    """The frame of one message of a batch that cannot be written as a whole; for what cannot, a line in the log of
    the guest that said it.
    """
    try:
        return encode([message])
    except (LinkError, *UNENCODABLE):
        text = f"a {type(message).__name__} of it could not be written and was dropped"
        handle = getattr(message, "handle", None)
        return b"" if handle is None else encode([LogLine(handle, "host", "error", text)])
