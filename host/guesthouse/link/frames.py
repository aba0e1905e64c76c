"""The framing of the link: length-prefixed MessagePack, several messages a frame.

A frame is a little-endian `u32` length and that many bytes: an array of messages (`link/schema.py`). Both ends read
with a `FrameReader`, which takes any split of the stream and never holds more than one frame and a read's worth of
bytes.

The peer of a worker is a process that runs untrusted code, so the node treats every frame as an attack until it is
read: the size is looked at before there is a body, the number of messages before there is one, and each is read as one
of those that there are. Anything else is a `LinkError`, which costs the worker its life and nobody else anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Annotated, Final, Generic, TypeVar

from msgspec import Meta, MsgspecError, Raw
from msgspec.msgpack import Decoder, Encoder

from guesthouse.core.errors import GuesthouseError
from guesthouse.link.schema import Message
from guesthouse.link.to_node import ToNode
from guesthouse.link.to_worker import ToWorker

MAX_FRAME: Final = 64 * 1024 * 1024
"""Bytes in one frame. A payload may be 16 MiB; a batch is cut well below this."""
MOST_MESSAGES: Final = 64
"""Messages in one frame; both ends cut at half of it."""

_HEADER: Final = 4
_COMPLAINT: Final = 200
_UNREADABLE: Final = (MsgspecError, UnicodeDecodeError, RecursionError)
UNENCODABLE: Final = (ValueError, TypeError, OverflowError, RecursionError)
"""What `encode` raises for a message that cannot be written, such as one with half a surrogate pair in a text."""

M = TypeVar("M", bound=Message)


class LinkError(GuesthouseError):
    """The other end of a link sent something that no correct end sends, or went away."""


_encode: Final = Encoder().encode


# Each end makes the one that it reads with: to make both takes milliseconds.
@cache
def _to_node() -> Decoder[list[ToNode]]:
    return Decoder(Annotated[list[ToNode], Meta(min_length=1, max_length=MOST_MESSAGES)])


@cache
def _to_worker() -> Decoder[list[ToWorker]]:
    return Decoder(Annotated[list[ToWorker], Meta(min_length=1, max_length=MOST_MESSAGES)])


@cache
def _one_to_node() -> Decoder[ToNode]:
    return Decoder(ToNode)


def encode(messages: Sequence[Message | Raw]) -> bytes:
    """Return one frame that holds `messages`, in order.

    Raises:
        LinkError: the frame would be over `MAX_FRAME`.
        ValueError: and the others of `UNENCODABLE`: a message cannot be written.
    """
    body = _encode(messages)
    if len(body) > MAX_FRAME:
        raise LinkError(f"a link frame of {len(body)} bytes is over the limit of {MAX_FRAME}")
    return len(body).to_bytes(_HEADER, "little") + body


def checked(message: ToNode) -> Raw:
    """A message as the node reads it, written already.

    Raises:
        LinkError: the node would not take it, or it cannot be written.
    """
    try:
        written = _encode(message)
        _one_to_node().decode(written)
    except (*_UNREADABLE, *UNENCODABLE) as error:
        raise LinkError(f"a malformed {type(message).__name__}: {_in_short(error)}") from None
    return Raw(written)


class FrameReader(Generic[M]):
    """Turns a byte stream back into messages. Made by `from_worker` or `from_node`."""

    __slots__ = ("_buffer", "_decoder")

    def __init__(self, decoder: Decoder[list[M]]) -> None:
        self._decoder = decoder
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes received that do not make a whole frame yet."""
        return len(self._buffer)

    def one_frame(self, data: bytes) -> list[M] | None:
        """The messages of `data` when it is exactly one frame and nothing was left from before: one read of a busy
        link. None, and nothing is done, when it is not.

        Raises:
            LinkError: as `feed`.
        """
        size = len(data) - _HEADER
        if self._buffer or size < 0 or size > MAX_FRAME or int.from_bytes(data[:_HEADER], "little") != size:
            return None
        return self._messages(data[_HEADER:])

    def feed(self, data: bytes) -> Iterator[M]:
        """Take bytes and yield the messages of every frame that is now whole. Each frame is read when its first message
        is asked for.

        Raises:
            LinkError: a frame is over the limit, or is not as it should be.
        """
        self._buffer += data
        return self._frames()

    def _frames(self) -> Iterator[M]:
        buffer = self._buffer
        while len(buffer) >= _HEADER:
            end = _HEADER + int.from_bytes(buffer[:_HEADER], "little")
            if end - _HEADER > MAX_FRAME:
                raise LinkError(f"a link frame announces over {MAX_FRAME} bytes")
            if end > len(buffer):
                return
            with memoryview(buffer) as whole, whole[_HEADER:end] as body:
                messages = self._messages(body)
            del buffer[:end]
            yield from messages

    def _messages(self, body: bytes | memoryview) -> list[M]:
        try:
            return self._decoder.decode(body)
        except _UNREADABLE as error:
            raise LinkError(f"a malformed link frame: {_in_short(error)}") from None


def from_worker() -> FrameReader[ToNode]:
    """Reads what a worker says."""
    return FrameReader(_to_node())


def from_node() -> FrameReader[ToWorker]:
    """Reads what the node says."""
    return FrameReader(_to_worker())


def _in_short(error: Exception) -> str:
    """Of what was read, no more than a line: it is the sender's choice."""
    return ascii(str(error)[:_COMPLAINT])[1:-1]
