"""The framing of extensions: native programs that connect as clients and speak to a process as one. Pure.

A message is `{"WebSocketExtPushData": {"id", "kinode_message_type", "blob"}}` in MessagePack with named
fields, or in CBOR; the two cannot be mistaken for each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cbor2
import msgpack  # type: ignore[import-untyped] # it has no types of its own

NAME: Final = "WebSocketExtPushData"
FRAMING: Final = 96
"""Bytes at most that the framing adds to a blob."""

KINDS: Final = ("Request", "Response")
_MAX_ID: Final = 2**64
_MAX_DEPTH: Final = 4
_FIELDS: Final = frozenset(("id", "kinode_message_type", "blob"))


@dataclass(frozen=True, slots=True)
class ExtensionPush:
    """One message from or to an extension."""

    id: int
    kind: str
    """`Request` or `Response`."""
    blob: bytes

    def pack(self, *, cbor: bool = False) -> bytes:
        """The message as it is sent."""
        named = {NAME: {"id": self.id, "kinode_message_type": self.kind, "blob": self.blob}}
        packed: bytes = cbor2.dumps(named) if cbor else msgpack.packb(named)
        return packed


def read(data: bytes) -> tuple[ExtensionPush, bool] | None:
    """The message, and whether it was CBOR; None for anything else."""
    cbor = data[:1] in (b"\xa1", b"\xa3", b"\xbf")
    try:
        value = _from_cbor(data) if cbor else msgpack.unpackb(data, max_ext_len=0)
    except (ValueError, RecursionError, OverflowError, msgpack.UnpackException, cbor2.CBORDecodeError):
        return None
    push = _checked(value)
    return None if push is None else (push, cbor)


def _from_cbor(data: bytes) -> Any:
    return cbor2.loads(
        data,
        max_depth=_MAX_DEPTH,
        semantic_decoders=dict.fromkeys(range(_MAX_TAG), _refuse_tag),
        tag_hook=_refuse_tag,
        strict_hashable_types=True,
        allow_duplicate_keys=False,
    )


_MAX_TAG: Final = 0x110


def _refuse_tag(*_: object) -> Any:
    raise ValueError("a message of an extension has no tags")


def _checked(value: Any) -> ExtensionPush | None:
    fields = value.get(NAME, value) if isinstance(value, dict) else None
    if not isinstance(fields, dict) or fields.keys() != _FIELDS:
        return None
    number, kind = fields["id"], fields["kinode_message_type"]
    blob = _bytes(fields["blob"])
    if type(number) is not int or not 0 <= number < _MAX_ID or kind not in KINDS or blob is None:
        return None
    return ExtensionPush(number, kind, blob)


def _bytes(value: object) -> bytes | None:
    """Bytes, also as the list of numbers that some encoders make of them."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, list) and all(type(byte) is int and 0 <= byte < 256 for byte in value):
        return bytes(value)
    return None
