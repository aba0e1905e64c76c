"""Message format of extensions, native programs that connect to a process over a WebSocket. Pure.

A message is `{"WebSocketExtPushData": {"id", "kinode_message_type", "blob"}}` in MessagePack with named fields or in
CBOR, told apart by the first byte. Hyperware, the Kinode OS's successor, names the type `hyperware_message_type`.
Both names are sent until the extension's first message shows which one it uses.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import cbor2
import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from guesthouse.http_server.channel import extension_cbor

NAME: Final = "WebSocketExtPushData"
FRAMING: Final = 128
"""Maximum bytes added to a blob."""

Kind: TypeAlias = Literal["Request", "Response"]
KINDS: Final = ("Request", "Response")
_TYPE_FIELDS: Final = ("kinode_message_type", "hyperware_message_type")
_CBOR: Final = (b"\xa1", b"\xa3", b"\xa4", b"\xbf")
"""First bytes of CBOR maps of 1, 3, 4 or an indefinite number of fields; no MessagePack map starts so."""


class Dialect(Struct, frozen=True):
    """Encoding that one extension uses."""

    cbor: bool = False
    type_fields: tuple[str, ...] = _TYPE_FIELDS
    """Names of the field with the message type."""


class ExtensionPush(Struct, frozen=True):
    """A message from or to an extension."""

    id: int
    kind: str
    """`Request` or `Response`."""
    blob: bytes

    def pack(self, dialect: Dialect) -> bytes:
        """Encode the message."""
        fields = {"id": self.id, **dict.fromkeys(dialect.type_fields, self.kind), "blob": self.blob}
        packed: bytes = (
            cbor2.dumps({NAME: fields}) if dialect.cbor else msgspec.msgpack.encode({NAME: fields})
        )
        return packed


class _Fields(Struct, forbid_unknown_fields=True, frozen=True):
    """Fields of a message. Some encoders write bytes as a list of numbers."""

    id: Annotated[int, Meta(ge=0)]
    blob: bytes | list[Annotated[int, Meta(ge=0, lt=256)]]
    kinode_message_type: Kind | UnsetType = UNSET
    hyperware_message_type: Kind | UnsetType = UNSET

    def read(self, *, cbor: bool) -> tuple[ExtensionPush, Dialect] | None:
        """Return the message and its encoding; None if the type is missing or ambiguous."""
        types = {name: kind for name in _TYPE_FIELDS if (kind := getattr(self, name)) is not UNSET}
        kinds = set(types.values())
        if len(kinds) != 1:
            return None
        push = ExtensionPush(self.id, kinds.pop(), bytes(self.blob))
        return push, Dialect(cbor, tuple(types))


class _Framed(Struct, forbid_unknown_fields=True, frozen=True):
    """The fields, wrapped."""

    framed: _Fields = msgspec.field(name=NAME)


_framed: Final = msgspec.msgpack.Decoder(_Framed)
_bare: Final = msgspec.msgpack.Decoder(_Fields)


def read(data: bytes) -> tuple[ExtensionPush, Dialect] | None:
    """Decode a message; returns it and its encoding, or None if it is not one."""
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
