"""Splits large payloads into pieces, which are sent before their message.

A frame is processed at once, and copying 16 MiB into fresh memory takes 13 ms. So payloads over `PIECE_BYTES` are
removed from their message, sent in pieces with other messages in between, assembled in place, and put back when the
message follows (`Whole`). The pieces of a run's message come in order, with no other message of that run in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from msgspec import Raw
from msgspec.structs import force_setattr, replace

from guesthouse.link import to_node, to_worker
from guesthouse.link.frames import LinkError, encode
from guesthouse.link.gathering import Buffer, encode_parts
from guesthouse.link.schema import MOST_IN_PIECES, PIECE_BYTES, Message, PayloadName
from guesthouse.link.traced import PLAIN

TURN_PIECES: Final = 1
"""Pieces sent in one iteration of the event loop."""

Payloads = tuple[tuple[PayloadName, bytes], ...]
"""Payloads removed from a message, by field."""

_M = TypeVar("_M", bound=Message)
_P = TypeVar("_P", bound="to_node.Piece | to_worker.Piece")
_NAMES: dict[type[Message], tuple[PayloadName, ...]] = {
    to_node.Push: ("payload",),
    to_node.PushMany: ("payload",),
    to_node.HttpResponse: ("body",),
    to_node.Send: ("body", "context", "blob"),
    to_node.Respond: ("body", "blob"),
    to_node.Call: ("state", "content"),
    to_worker.Push: ("payload",),
    to_worker.Http: ("body",),
    to_worker.Request: ("body", "blob"),
    to_worker.Response: ("body", "context", "blob"),
    to_worker.SendFailure: ("body", "context", "blob"),
    to_worker.Reply: ("state",),
}
_NAMES |= {kind: _NAMES[plain] for kind, plain in PLAIN.items() if plain in _NAMES}
"""Payload fields of each message, or of the call or outcome in it."""


def taken_out(message: _M) -> tuple[_M, Payloads]:
    """Split a message into one with empty bytes for its large payloads, and these payloads."""
    inner = _inner(message)
    large: dict[str, Any] = {}
    for name in _NAMES.get(type(message), ()):
        value = getattr(inner, name, None)
        if type(value) is bytes and len(value) > PIECE_BYTES:
            large[name] = value
    if not large:
        return message, ()
    small = replace(inner, **dict.fromkeys(large, b""))
    if inner is not message:
        small = replace(message, **{_CARRIES[type(message)]: small})
    return small, tuple(large.items())  # type: ignore[arg-type] # the names are of the table


class InPieces:
    """A message being sent in pieces.

    Args:
        piece: type of its pieces, `to_node.Piece` or `to_worker.Piece`.
        handle: of its run.
        payloads: removed by `taken_out`.
        whole: its `Whole`, encoded or not, which is sent last.
    """

    __slots__ = ("_frames", "_left", "handle", "size")

    def __init__(
        self,
        piece: type[to_node.Piece | to_worker.Piece],
        handle: int,
        payloads: Payloads,
        whole: Message | Raw,
    ) -> None:
        self.handle = handle
        self.size = sum(len(payload) for _, payload in payloads)
        """Bytes of its payloads."""
        self._left = 1 + sum(-(-len(payload) // PIECE_BYTES) for _, payload in payloads)
        self._frames = _frames(piece, handle, payloads, whole)

    @property
    def done(self) -> bool:
        """Whether all frames were sent."""
        return not self._left

    def frames(self) -> Iterator[list[Buffer]]:
        """Frames to send in this iteration, each of some buffers."""
        for frame in islice(self._frames, TURN_PIECES):
            self._left -= 1
            yield frame


def _frames(piece: Any, handle: int, payloads: Payloads, whole: Message | Raw) -> Iterator[list[Buffer]]:
    for name, payload in payloads:
        view, size = memoryview(payload), len(payload)
        for start in range(0, size, PIECE_BYTES):
            part = view[start : start + PIECE_BYTES]
            yield encode_parts([piece(handle, name, size, part)], len(part))
    yield [encode([whole])]


class _Payload:
    """A payload being assembled."""

    __slots__ = ("_bytes", "missing", "size")

    def __init__(self, size: int) -> None:
        self.size = self.missing = size
        # The zeros are not backed by pages until they are written, so this does not copy.
        self._bytes = BytesIO(bytes(size))

    def add(self, data: bytes) -> None:
        self._bytes.write(data)
        self.missing -= len(data)

    def whole(self) -> bytes:
        return self._bytes.getvalue()


class Assembly(Generic[_P]):
    """Payloads of messages that are being received in pieces."""

    __slots__ = ("_held", "_open")

    def __init__(self) -> None:
        self._open: dict[int, dict[PayloadName, _Payload]] = {}
        self._held = 0

    def add(self, piece: _P) -> None:
        """Receive a piece.

        Raises:
            LinkError: it exceeds its payload's size, or the payloads exceed `MOST_IN_PIECES`.
        """
        payloads = self._open.setdefault(piece.handle, {})
        payload = payloads.get(piece.field)
        if payload is None:
            self._held += piece.size
            if self._held > MOST_IN_PIECES:
                raise LinkError(f"pieces of over {MOST_IN_PIECES} bytes")
            payload = payloads[piece.field] = _Payload(piece.size)
        if piece.size != payload.size or len(piece.data) > payload.missing:
            raise LinkError(f"a piece of {piece.field} that is more than is missing")
        payload.add(piece.data)

    def complete(self, handle: int, message: _M) -> _M:
        """Put the payloads into their message.

        Raises:
            LinkError: they are incomplete, or the message is of another run or lacks these fields.
        """
        kind = type(message)
        names, inner = _NAMES.get(kind, ()), _inner(message)
        if getattr(message, "handle", None) != handle:
            raise LinkError(f"pieces of run {handle} for a {kind.__name__} of another")
        for name, payload in self._open.get(handle, {}).items():
            if name not in names or getattr(inner, name, None) != b"":
                raise LinkError(f"pieces of {name} for a {kind.__name__}")
            if payload.missing:
                raise LinkError(f"a {kind.__name__} before all of its pieces")
            force_setattr(inner, name, payload.whole())
        self.drop(handle)
        return message

    def drop(self, handle: int) -> None:
        """Discard the pieces of a run."""
        self._held -= sum(payload.size for payload in self._open.pop(handle, {}).values())


_CARRIES: Final[dict[type[Message], str]] = {to_node.Call: "call", to_worker.Reply: "outcome"}


def _inner(message: Message) -> Any:
    """The struct with the payloads: the message, or the call or outcome in it."""
    name = _CARRIES.get(type(message))
    return message if name is None else getattr(message, name)
