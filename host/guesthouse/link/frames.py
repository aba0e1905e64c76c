"""Framing of the link: length-prefixed MessagePack, several messages in a frame.

A frame is a little-endian `u32` length and that many bytes: an array of messages (`link/schema.py`). A `FrameReader`
accepts any split of the stream and holds at most one frame and one read, in a buffer of at most twice that.

Workers run untrusted code, so the node trusts no frame: its size is checked before the body arrives, the number of
messages before any is decoded, and each is validated while it is decoded. A violation is a `LinkError`, which ends only
that worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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

ROOM: Final = 256 * 1024
"""Bytes of the buffer that frames are received into."""
_LEAST_ROOM: Final = 64 * 1024
_MOST_KEPT: Final = 2 * 1024 * 1024
"""Bytes of a buffer that is kept once it is empty."""
HEADER: Final = 4
"""Bytes of a frame's length."""
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
        frame = bytearray(HEADER)
        _encode_into(messages, frame, HEADER)
        _put_size(frame, 0, checked_size(len(frame) - HEADER))
        return frame
    body = _encode(messages)
    return checked_size(len(body)).to_bytes(HEADER, "little") + body


def checked_size(size: int) -> int:
    """The size of a frame's body.

    Raises:
        LinkError: it is over `MAX_FRAME`.
    """
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


def prepare_checks() -> None:
    """Make what `checked` checks by. The first call would, which takes it milliseconds."""
    _one_to_node()


class FrameReader(Generic[M]):
    """Decodes messages from a byte stream, where they were received. Made by `from_worker` or `from_node`.

    Receive into `room`, then take `received`. The buffer is used again, so nothing is allocated or copied for a frame
    but its messages.
    """

    __slots__ = ("_buffer", "_decoder", "_end", "_start")

    def __init__(self, decoder: Decoder[list[M]]) -> None:
        self._decoder = decoder
        self._buffer = memoryview(b"")
        self._start = self._end = 0

    @property
    def pending(self) -> int:
        """Bytes that are not decoded yet, such as those of an incomplete frame."""
        return self._end - self._start

    def room(self, size: int = _LEAST_ROOM) -> memoryview:
        """Where to receive at least so many bytes."""
        start, end, buffer = self._start, self._end, self._buffer
        if start == end:
            self._start = self._end = end = 0
            if not buffer:
                buffer = self._buffer = memoryview(bytearray(max(ROOM, size)))
        if len(buffer) - end < size:
            buffer = self._make_room(size)
            end = self._end
        return buffer[end:]

    def _make_room(self, size: int) -> memoryview:
        """Move what is pending to the beginning, of a larger buffer if that is not enough."""
        buffer, held = self._buffer, self._end - self._start
        if len(buffer) - held < size:
            most = MAX_FRAME + 2 * _LEAST_ROOM
            buffer = memoryview(bytearray(max(min(2 * len(buffer), most), held + size)))
        buffer[:held] = self._buffer[self._start : self._end]
        self._buffer, self._start, self._end = buffer, 0, held
        return buffer

    def hold(self, size: int) -> None:
        """So many bytes were received into `room`, and are decoded by `frames`."""
        self._end += size

    def received(self, size: int) -> Iterable[M]:
        """Messages of all complete frames, once so many bytes were received into `room`; each frame is decoded when its
        first message is asked for.

        Raises:
            LinkError: a frame is over the limit or malformed.
        """
        start = self._start
        end = self._end = self._end + size
        buffer = self._buffer
        body = end - start - HEADER
        if 0 <= body <= MAX_FRAME and int.from_bytes(buffer[start : start + HEADER], "little") == body:
            self._start = end
            messages = self._messages(buffer[start + HEADER : end])
            if len(buffer) > _MOST_KEPT:
                self._give_up()
            return messages
        return self.frames()

    def feed(self, data: bytes | bytearray) -> Iterator[M]:
        """Receive a copy of these bytes: see `received`."""
        size = len(data)
        self.room(size)[:size] = data
        self.hold(size)
        return self.frames()

    def frames(self) -> Iterator[M]:
        """Messages of all complete frames, also of what is received meanwhile.

        Raises:
            LinkError: as `received`.
        """
        while (have := self._end - self._start - HEADER) >= 0:
            start = self._start + HEADER
            size = int.from_bytes(self._buffer[self._start : start], "little")
            if size > MAX_FRAME:
                raise LinkError(f"a link frame announces over {MAX_FRAME} bytes")
            if size > have:
                return
            messages = self._messages(self._buffer[start : start + size])
            self._start = start + size
            if len(self._buffer) > _MOST_KEPT and self._start == self._end:
                self._give_up()
            yield from messages

    def _give_up(self) -> None:
        """Free a large buffer that is empty: the link may be idle from now on."""
        self._buffer = memoryview(b"")
        self._start = self._end = 0

    def _messages(self, body: memoryview) -> list[M]:
        try:
            with body:
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
