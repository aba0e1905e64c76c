"""Large payloads, which cross a link in pieces before the message that they belong to.

A frame is read at once, and while its bytes are copied nobody else is served: 16 MiB of memory that was not used before
take 13 ms. So what is larger than a piece leaves a message, crosses in pieces between what others say, is put
together where it stays, and gets back into its message when that comes (`Whole`). The pieces of a run's message come in
order, and nothing else of that run among them.
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
from guesthouse.link.schema import MOST_IN_PIECES, PIECE_BYTES, Message, PayloadName

TURN_PIECES: Final = 1
"""Pieces that are sent in a turn."""

Payloads = tuple[tuple[PayloadName, bytes], ...]
"""What left a message: names of fields and what they had."""

_M = TypeVar("_M", bound=Message)
_P = TypeVar("_P", bound="to_node.Piece | to_worker.Piece")
_NAMES: Final[dict[type[Message], tuple[PayloadName, ...]]] = {
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
"""The payloads of each message, or of what it carries."""


def taken_out(message: _M) -> tuple[_M, Payloads]:
    """A message without its large payloads, in place of which it has none, and these."""
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
    """A message on its way.

    Args:
        piece: what its pieces are, `to_node.Piece` or `to_worker.Piece`.
        handle: of its run.
        payloads: what was taken out of it.
        whole: its `Whole`, written or not, which comes after them.
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
        """Whether `frames` gave all."""
        return not self._left

    def frames(self) -> Iterator[bytes]:
        """What is sent of it in this turn."""
        for frame in islice(self._frames, TURN_PIECES):
            self._left -= 1
            yield frame


def _frames(piece: Any, handle: int, payloads: Payloads, whole: Message | Raw) -> Iterator[bytes]:
    for name, payload in payloads:
        view, size = memoryview(payload), len(payload)
        for start in range(0, size, PIECE_BYTES):
            yield encode([piece(handle, name, size, view[start : start + PIECE_BYTES])])
    yield encode([whole])


class _Payload:
    """A payload in the making."""

    __slots__ = ("_bytes", "missing", "size")

    def __init__(self, size: int) -> None:
        self.size = self.missing = size
        # Zeros, of which the system makes no pages before they are written: it is filled without being copied.
        self._bytes = BytesIO(bytes(size))

    def add(self, data: bytes) -> None:
        self._bytes.write(data)
        self.missing -= len(data)

    def whole(self) -> bytes:
        return self._bytes.getvalue()


class Assembly(Generic[_P]):
    """What has come of the payloads of messages whose ends have not."""

    __slots__ = ("_held", "_open")

    def __init__(self) -> None:
        self._open: dict[int, dict[PayloadName, _Payload]] = {}
        self._held = 0

    def add(self, piece: _P) -> None:
        """Take a piece.

        Raises:
            LinkError: it is more than its payload has, or all of them are too large.
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
        """The message, with its payloads.

        Raises:
            LinkError: they are not whole, or it is the message of another run or has no room for them.
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
        """Nothing more comes of what came for this run."""
        self._held -= sum(payload.size for payload in self._open.pop(handle, {}).values())


_CARRIES: Final[dict[type[Message], str]] = {to_node.Call: "call", to_worker.Reply: "outcome"}


def _inner(message: Message) -> Any:
    """What has the payloads: the message, or what it carries."""
    name = _CARRIES.get(type(message))
    return message if name is None else getattr(message, name)
