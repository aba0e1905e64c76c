"""Framing of the link: length-prefixed MessagePack, several messages in a frame.

A frame is a little-endian `u32` length and that many bytes: an array of messages (`link/schema.py`). A `FrameReader`
accepts any split of the stream and holds at most one frame and one read.

Workers run untrusted code, so the node trusts no frame: its size is checked before the body arrives, the number of
messages before any is decoded, and each is validated while it is decoded. A violation is a `LinkError`, which ends only
that worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from struct import Struct
from typing import Annotated, Final, Generic, TypeVar

from msgspec import Meta, MsgspecError, Raw
from msgspec.msgpack import Decoder, Encoder

from guesthouse.core.errors import GuesthouseError
from guesthouse.link.schema import Message
from guesthouse.link.to_node import ToNode
from guesthouse.link.to_worker import ToWorker

MAX_FRAME: Final = 64 * 1024 * 1024
"""Maximum bytes of a frame. A payload may have 16 MiB; batches are cut well below this."""
MOST_MESSAGES: Final = 64
"""Maximum messages of a frame; both ends cut batches at half of it."""

_HEADER: Final = 4
_MAX_ERROR: Final = 200
_UNREADABLE: Final = (MsgspecError, UnicodeDecodeError, RecursionError)
UNENCODABLE: Final = (ValueError, TypeError, OverflowError, RecursionError)
"""Raised by `encode` for messages that cannot be encoded, such as text with a lone surrogate."""

M = TypeVar("M", bound=Message)


class LinkError(GuesthouseError):
    """The other end of the link violated the protocol or went away."""


LARGE: Final = 16 * 1024
"""Bytes above which copying costs more than what avoids it."""
_encode: Final = Encoder().encode
_encode_into: Final = Encoder().encode_into
_put_size: Final = Struct("<I").pack_into


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


def encode(messages: Sequence[Message | Raw], payload_bytes: int = 0) -> bytes | bytearray:
    """Encode messages as one frame.

    Args:
        messages: at most `MOST_MESSAGES`.
        payload_bytes: about how many bytes they have; large ones are copied once less.

    Raises:
        LinkError: the frame would be over `MAX_FRAME`.
        ValueError: and the others of `UNENCODABLE`: a message cannot be encoded.
    """
    if payload_bytes > LARGE:
        frame = bytearray(_HEADER)
        _encode_into(messages, frame, _HEADER)
        _put_size(frame, 0, _checked_size(len(frame) - _HEADER))
        return frame
    body = _encode(messages)
    return _checked_size(len(body)).to_bytes(_HEADER, "little") + body


def _checked_size(size: int) -> int:
    if size > MAX_FRAME:
        raise LinkError(f"a link frame of {size} bytes is over the limit of {MAX_FRAME}")
    return size


def checked(message: ToNode) -> Raw:
    """Encode a message and validate it as the node will.

    Raises:
        LinkError: the node would refuse it, or it cannot be encoded.
    """
    try:
        encoded = _encode(message)
        _one_to_node().decode(encoded)
    except (*_UNREADABLE, *UNENCODABLE) as error:
        raise LinkError(f"a malformed {type(message).__name__}: {_shortened(error)}") from None
    return Raw(encoded)


class FrameReader(Generic[M]):
    """Decodes messages from a byte stream. Made by `from_worker` or `from_node`."""

    __slots__ = ("_buffer", "_decoder")

    def __init__(self, decoder: Decoder[list[M]]) -> None:
        self._decoder = decoder
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of an incomplete frame."""
        return len(self._buffer)

    def one_frame(self, data: bytes | bytearray | memoryview) -> list[M] | None:
        """Fast path of `feed`: the messages of `data` if it is exactly one frame and nothing is buffered. Otherwise
        returns None and does nothing. The messages refer to nothing in `data`.

        Raises:
            LinkError: as `feed`.
        """
        size = len(data) - _HEADER
        if self._buffer or size < 0 or size > MAX_FRAME or int.from_bytes(data[:_HEADER], "little") != size:
            return None
        if size <= LARGE or type(data) is memoryview:
            return self._messages(data[_HEADER:])
        with memoryview(data) as whole, whole[_HEADER:] as body:
            return self._messages(body)

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[M]:
        """Receive bytes and yield the messages of all complete frames, decoding each frame lazily.

        Raises:
            LinkError: a frame is over the limit or malformed.
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

    def _messages(self, body: bytes | bytearray | memoryview) -> list[M]:
        try:
            return self._decoder.decode(body)
        except _UNREADABLE as error:
            raise LinkError(f"a malformed link frame: {_shortened(error)}") from None


def from_worker() -> FrameReader[ToNode]:
    """Make a reader for messages of a worker."""
    return FrameReader(_to_node())


def from_node() -> FrameReader[ToWorker]:
    """Make a reader for messages of the node."""
    return FrameReader(_to_worker())


def _shortened(error: Exception) -> str:
    """Shorten and escape an error, which may quote what was received."""
    return ascii(str(error)[:_MAX_ERROR])[1:-1]
