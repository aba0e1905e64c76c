"""The framing of extensions: native programs that connect as clients and speak to a process as one. Pure.

A message is `{"WebSocketExtPushData": {"id", "kinode_message_type", "blob"}}` in MessagePack with named
fields, or in CBOR; the two cannot be mistaken for each other. Since the Kinode OS became Hyperware the type is in
`hyperware_message_type`: until an extension has spoken, both are written, and then the one that it wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias

import cbor2
import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from guesthouse.http_server.websocket import extension_cbor

NAME: Final = "WebSocketExtPushData"
FRAMING: Final = 128
"""Bytes at most that the framing adds to a blob."""

Kind: TypeAlias = Literal["Request", "Response"]
KINDS: Final = ("Request", "Response")
_TYPE_FIELDS: Final = ("kinode_message_type", "hyperware_message_type")
_CBOR: Final = (b"\xa1", b"\xa3", b"\xa4", b"\xbf")
"""How a map of so many fields begins in CBOR, and as no map does in MessagePack."""


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
        packed: bytes = (
            cbor2.dumps({NAME: fields}) if dialect.cbor else msgspec.msgpack.encode({NAME: fields})
        )
        return packed


class _Fields(Struct, forbid_unknown_fields=True, frozen=True):
    """What stands in the framing. Bytes may be the list of numbers that some encoders make of them."""

    id: Annotated[int, Meta(ge=0)]
    blob: bytes | list[Annotated[int, Meta(ge=0, lt=256)]]
    kinode_message_type: Kind | UnsetType = UNSET
    hyperware_message_type: Kind | UnsetType = UNSET

    def read(self, *, cbor: bool) -> tuple[ExtensionPush, Dialect] | None:
        """The message, when its type is said, and one."""
        said = [(name, kind) for name in _TYPE_FIELDS if (kind := getattr(self, name)) is not UNSET]
        kinds = {kind for _, kind in said}
        if len(kinds) != 1:
            return None
        push = ExtensionPush(self.id, kinds.pop(), bytes(self.blob))
        return push, Dialect(cbor, tuple(name for name, _ in said))


class _Framed(Struct, forbid_unknown_fields=True, frozen=True):
    """The fields with the name around them."""

    framed: _Fields = msgspec.field(name=NAME)


_framed: Final = msgspec.msgpack.Decoder(_Framed)
_bare: Final = msgspec.msgpack.Decoder(_Fields)


def read(data: bytes) -> tuple[ExtensionPush, Dialect] | None:
    """The message, and how it was written; None for anything else."""
    cbor = data[:1] in _CBOR
    fields = _from_cbor(data) if cbor else _from_msgpack(data)
    return None if fields is None else fields.read(cbor=cbor)


def _from_msgpack(data: bytes) -> _Fields | None:
    try:
        return _framed.decode(data).framed
    except _UNREADABLE:
        pass
    try:
        return _bare.decode(data)
    except _UNREADABLE:
        return None


def _from_cbor(data: bytes) -> _Fields | None:
    try:
        fields = extension_cbor.loads(data)
        return msgspec.convert(fields.get(NAME, fields), _Fields, builtin_types=(bytes,))
    except _UNREADABLE:
        return None


_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
