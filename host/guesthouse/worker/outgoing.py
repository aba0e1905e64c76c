"""The worker's side of what it tells the node: collected, then sent in whole frames.

What the guests consumed stands at the head of each frame. So the node learns that a message was taken
no later than of anything the process did with it, and a worker that dies can cause no message to be
delivered twice.
"""

from __future__ import annotations

from socket import socket
from typing import TYPE_CHECKING, Final

from msgspec import Raw

from guesthouse.link.frames import MAX_FRAME, MOST_MESSAGES, UNENCODABLE, LinkError, encode
from guesthouse.link.messages import Message
from guesthouse.link.to_node import Consumed, Log, ToNode

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
MAX_MESSAGE: Final = MAX_FRAME - 2 * FLUSH_BYTES
"""Bytes of one message: with what may be queued before it, it still fits a frame."""


class Outgoing:
    """Messages for the node. `flush` blocks while the node reads slower than the guests write."""

    __slots__ = ("_bytes", "_consumers", "_link", "_messages")

    def __init__(self, link: socket) -> None:
        self._link = link
        self._messages: list[ToNode | Raw] = []
        self._consumers: list[Guest] = []
        self._bytes = 0

    def add(self, message: ToNode | Raw, payload_bytes: int = 0) -> None:
        """Queue a message. With too much queued, sends it: the guest that goes on has to wait."""
        self._messages.append(message)
        self._bytes += payload_bytes + _MESSAGE_BYTES
        if self._bytes > FLUSH_BYTES or len(self._messages) >= FLUSH_MESSAGES:
            self.flush()

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
        return b"" if handle is None else encode([Log(handle, "host", "error", text)])
