"""WebSocket frames by hand (RFC 6455, section 5.2). Pure.

The encoder can make every frame that the RFC forbids; the decoder notes what a server did, and leaves
it to others to object.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal


class Opcode(IntEnum):
    """The opcodes that RFC 6455 defines."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


MASK: Final = bytes.fromhex("37fa213d")
"""The masking key that the RFC uses in its examples."""

MAX_CONTROL: Final = 125
RSV1: Final = 4

LengthForm = Literal[7, 16, 64]
"""Bits in which a length is written."""


def masked(payload: bytes, key: bytes) -> bytes:
    """The payload, masked or unmasked with a key (section 5.3)."""
    size = len(payload)
    stream = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")


def shortest_form(length: int) -> LengthForm:
    """The form that the RFC demands for a length."""
    return 7 if length < 126 else 16 if length < 65536 else 64


def encode(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    length: int | None = None,
    form: LengthForm | None = None,
) -> bytes:
    """One frame of a client.

    Args:
        opcode: from 0 to 15.
        payload: what follows the header.
        fin: whether it is the last frame of its message.
        rsv: the three reserved bits, RSV1 being 4.
        mask: the masking key; None sends the payload unmasked.
        length: the length that the header claims, when not that of the payload.
        form: how the length is written, when not in the shortest form.
    """
    claimed = len(payload) if length is None else length
    form = form or shortest_form(claimed)
    mask_bit = 0x80 if mask is not None else 0
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    if form == 7:
        header = bytes((first, mask_bit | claimed))
    else:
        header = bytes((first, mask_bit | (126 if form == 16 else 127))) + claimed.to_bytes(form // 8, "big")
    return header + payload if mask is None else header + mask + masked(payload, mask)


def text(content: str | bytes, *, fin: bool = True, rsv: int = 0) -> bytes:
    """A text frame."""
    return encode(Opcode.TEXT, _bytes(content), fin=fin, rsv=rsv)


def binary(content: bytes, *, fin: bool = True, rsv: int = 0) -> bytes:
    """A binary frame."""
    return encode(Opcode.BINARY, content, fin=fin, rsv=rsv)


def continuation(content: str | bytes, *, fin: bool = True, rsv: int = 0) -> bytes:
    """A continuation frame."""
    return encode(Opcode.CONTINUATION, _bytes(content), fin=fin, rsv=rsv)


def ping(content: str | bytes = b"") -> bytes:
    """A ping."""
    return encode(Opcode.PING, _bytes(content))


def pong(content: str | bytes = b"") -> bytes:
    """A pong."""
    return encode(Opcode.PONG, _bytes(content))


def close(code: int | None = 1000, reason: str | bytes = b"") -> bytes:
    """A close frame; without a status for None."""
    return encode(Opcode.CLOSE, b"" if code is None else code.to_bytes(2, "big") + _bytes(reason))


def fragments(opcode: int, parts: Sequence[bytes], *, rsv: int = 0) -> bytes:
    """One message in as many frames as there are parts."""
    return b"".join(fragment_frames(opcode, parts, rsv=rsv))


def fragment_frames(opcode: int, parts: Sequence[bytes], *, rsv: int = 0) -> list[bytes]:
    """As `fragments`, each frame by itself, so that others can be put between them."""
    return [
        encode(
            opcode if index == 0 else Opcode.CONTINUATION,
            part,
            fin=index == len(parts) - 1,
            rsv=rsv if index == 0 else 0,
        )
        for index, part in enumerate(parts)
    ]


def cut(content: bytes, size: int) -> list[bytes]:
    """Content in pieces of a size; the last one may be shorter, and there is always one."""
    return [content[at : at + size] for at in range(0, len(content), size)] or [b""]


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a server."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0
    masked: bool = False
    form: LengthForm = 7


class FrameReader:
    """Cuts a server's bytes into frames."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take bytes; yields each frame that is whole."""
        self._held += data
        while (found := self._next()) is not None:
            yield found

    def _next(self) -> Frame | None:
        held = self._held
        if len(held) < 2:
            return None
        first, second = held[0], held[1]
        form: LengthForm = {126: 16, 127: 64}.get(second & 0x7F, 7)  # type: ignore[assignment]  # a dict's values widen
        body = 2 if form == 7 else 2 + form // 8
        if len(held) < body:
            return None
        length = second & 0x7F if form == 7 else int.from_bytes(held[2:body], "big")
        key = bytes(held[body : body + 4]) if second & 0x80 else None
        body += 4 if key is not None else 0
        if len(held) < body + length:
            return None
        payload = bytes(memoryview(held)[body : body + length])
        del held[: body + length]
        if key is not None:
            payload = masked(payload, key)
        return Frame(first & 0x0F, payload, bool(first & 0x80), first >> 4 & 7, key is not None, form)
