"""Encodes frames with large payloads as several buffers, which the system call that sends them gathers, so that the
payloads are not copied. Pure but for `send`.

MessagePack has a payload's bytes as they are, behind their length. So a message is encoded without them, and they are
put where they belong; the bytes on the link are those of `frames.encode`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from socket import socket
from typing import Any, Final

from msgspec import Raw
from msgspec.msgpack import Encoder
from msgspec.structs import replace

from guesthouse.link import to_node, to_worker
from guesthouse.link.frames import HEADER, LARGE, checked_size, encode
from guesthouse.link.schema import Message

Buffer = bytes | bytearray | memoryview

_NOTHING: Final = b"\xc4\x00"
"""Bytes of length 0."""
_SHORT: Final = 65_536
_encode: Final = Encoder().encode
_PAYLOADS: Final[dict[Any, tuple[str, str | None]]] = {
    to_node.Push: ("payload", None),
    to_node.PushMany: ("payload", None),
    to_node.HttpResponse: ("body", None),
    to_node.Piece: ("data", None),
    to_worker.Push: ("payload", None),
    to_worker.Http: ("body", "claims"),
    to_worker.Piece: ("data", None),
}
"""The payload of each message, and the field that follows it, if any."""


def encode_parts(messages: Sequence[Message | Raw], payload_bytes: int) -> list[Buffer]:
    """Encode messages as frames, which are these buffers one after the other. One frame ends with each large payload.

    Args:
        messages: at most `MOST_MESSAGES`.
        payload_bytes: about how many bytes they have.

    Raises:
        LinkError: a frame would be over `MAX_FRAME`.
        ValueError: and the others of `UNENCODABLE`: a message cannot be encoded.
    """
    if payload_bytes <= LARGE:
        return [encode(messages)]
    parts: list[Buffer] = []
    start = 0
    for place, message in enumerate(messages):
        known = _PAYLOADS.get(type(message))
        if known is not None and len(getattr(message, known[0])) > LARGE:
            parts += _gathered(messages[start : place + 1], *known)
            start = place + 1
    if start < len(messages):
        parts.append(encode(messages[start:], payload_bytes if not start else 0))
    return parts


def _gathered(messages: Sequence[Message | Raw], field: str, after: str | None) -> list[Buffer]:
    """One frame of messages of which the last has a large payload."""
    last: Any = messages[-1]
    payload: Buffer = getattr(last, field)
    if type(payload) not in (bytes, memoryview):
        return [encode(messages)]
    tail = b"" if after is None else _encode(getattr(last, after))
    body = _encode([*messages[:-1], replace(last, **{field: b""})])
    head = body[: len(body) - len(tail)]
    if not head.endswith(_NOTHING):
        return [encode(messages)]
    size = len(payload)
    length = b"\xc5" + size.to_bytes(2, "big") if size < _SHORT else b"\xc6" + size.to_bytes(4, "big")
    head = head[: -len(_NOTHING)] + length
    frame = checked_size(len(head) + size + len(tail)).to_bytes(HEADER, "little")
    return [frame + head, payload, tail] if tail else [frame + head, payload]


def send(link: socket, parts: list[Buffer]) -> None:
    """Send all on a blocking socket.

    Raises:
        OSError: the other end is gone.
    """
    if len(parts) == 1:
        link.sendall(parts[0])
        return
    sent = os.writev(link.fileno(), parts)
    for part in parts:
        if sent >= len(part):
            sent -= len(part)
        else:
            link.sendall(memoryview(part)[sent:])
            sent = 0
