"""The framing of extensions: native programs that connect as clients and speak to a process as one. Pure.

A message is `{"WebSocketExtPushData": {"id", "kinode_message_type", "blob"}}` in MessagePack with named
fields, or in CBOR; the two cannot be mistaken for each other. Since the Kinode OS became Hyperware the type is in
`hyperware_message_type`: until an extension has spoken, both are written, and then the one that it wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cbor2
import msgpack  # type: ignore[import-untyped] # it has no types of its own

from guesthouse import plain_cbor

NAME: Final = "WebSocketExtPushData"
FRAMING: Final = 128
"""Bytes at most that the framing adds to a blob."""

KINDS: Final = ("Request", "Response")
_ONE_KIND: Final = [[kind] for kind in KINDS]
_MAX_ID: Final = 2**64
_MAX_DEPTH: Final = 4
_TYPE_FIELDS: Final = ("kinode_message_type", "hyperware_message_type")
_FIELDS: Final = frozenset(("id", "blob"))


@dataclass(frozen=True, slots=True)
class Dialect:
    """How messages are written to one extension."""

    cbor: bool = False
    type_fields: tuple[str, ...] = _TYPE_FIELDS
    """What the field with the message type is called."""


@dataclass(frozen=True, slots=True)
class ExtensionPush:
    """One message from or to an extension."""

    id: int
    kind: str
    """`Request` or `Response`."""
    blob: bytes

    def pack(self, dialect: Dialect) -> bytes:
        """The message as it is sent."""
        fields = {"id": self.id, **dict.fromkeys(dialect.type_fields, self.kind), "blob": self.blob}
        packed: bytes = cbor2.dumps({NAME: fields}) if dialect.cbor else msgpack.packb({NAME: fields})
        return packed


def read(data: bytes) -> tuple[ExtensionPush, Dialect] | None:
    """The message, and how it was written; None for anything else."""
    cbor = data[:1] in (b"\xa1", b"\xa3", b"\xbf")
    try:
        value = plain_cbor.loads(data, _MAX_DEPTH) if cbor else msgpack.unpackb(data, max_ext_len=0)
    except (*plain_cbor.FAULTS, msgpack.UnpackException):
        return None
    return _checked(value, cbor=cbor)


def _checked(value: Any, *, cbor: bool) -> tuple[ExtensionPush, Dialect] | None:
    fields = value.get(NAME, value) if isinstance(value, dict) else None
    if not isinstance(fields, dict):
        return None
    types = tuple(name for name in _TYPE_FIELDS if name in fields)
    kinds = [fields[name] for name in types]
    if fields.keys() != _FIELDS.union(types) or kinds[:1] not in _ONE_KIND or kinds != kinds[:1] * len(kinds):
        return None
    number, blob = fields["id"], _bytes(fields["blob"])
    if type(number) is not int or not 0 <= number < _MAX_ID or blob is None:
        return None
    return ExtensionPush(number, kinds[0], blob), Dialect(cbor, types)


def _bytes(value: object) -> bytes | None:
    """Bytes, also as the list of numbers that some encoders make of them."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, list) and all(type(byte) is int and 0 <= byte < 256 for byte in value):
        return bytes(value)
    return None
