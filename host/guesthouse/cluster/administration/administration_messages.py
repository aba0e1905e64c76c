"""Messages of the administration service (`kernel/cluster/services.py`, ADMINISTRATION).

Each is a MessagePack map with `kind`, `id` and `reply`; the other fields are of that kind. Nodes of several versions
run beside each other during an upgrade, so fields that a node does not know are ignored, and messages that it does
not know are refused by name. msgspec validates what is known, with a bound on each string, list and byte string.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, MsgspecError, Struct
from msgspec.msgpack import Decoder, Encoder

MAX_MESSAGE: Final = 4 * 1024 * 1024
"""Maximum bytes of one message of this service."""
PIECE_BYTES: Final = 256 * 1024
"""Maximum bytes of a file in one message."""
ARCHIVE: Final = -1
"""In the place of a file's number: the whole archive."""
MOST_FILES: Final = 16_384
MOST_ROWS_BYTES: Final = 3 * 1024 * 1024

UNREADABLE: Final = (MsgspecError, UnicodeDecodeError, RecursionError)
"""Raised by decoders for invalid messages."""

U53 = Annotated[int, Meta(ge=0, lt=2**53)]
Kind = Annotated[str, Meta(max_length=64)]
Name = Annotated[str, Meta(max_length=512)]
"""A node, a package id, a version."""
Path = Annotated[str, Meta(max_length=512)]
Text = Annotated[str, Meta(max_length=4096)]
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""A SHA-256 in hexadecimal."""


class MessageHead(Struct, frozen=True):
    """What every message has."""

    kind: Kind
    id: U53 = 0
    reply: bool = False
    """Whether it answers the message with that id. One that does not, has an id of its own; 0 expects no answer."""


class _Message(Struct, frozen=True, kw_only=True):
    id: U53 = 0
    reply: bool = False


class List(_Message, frozen=True, kw_only=True, tag_field="kind", tag="list"):
    """Asks for rows."""

    what: Literal["packages", "ps"]


class Rows(_Message, frozen=True, kw_only=True, tag_field="kind", tag="rows"):
    """Answers `List`."""

    rows: Annotated[bytes, Meta(max_length=MOST_ROWS_BYTES)]
    """A JSON array of objects."""
    left_out: U53 = 0
    """Rows for which there was no room."""


class OfferedFile(Struct, frozen=True):
    """A file of a package."""

    path: Path
    hash: Hash
    size: U53


class Offer(_Message, frozen=True, kw_only=True, tag_field="kind", tag="offer"):
    """Offers a package, whose files the receiver fetches as far as it lacks them. Nothing is installed."""

    package: Name
    hash: Hash
    """Of the archive, which names the package's content on every node."""
    archive_bytes: U53
    files: Annotated[tuple[OfferedFile, ...], Meta(max_length=MOST_FILES)]


class Fetch(_Message, frozen=True, kw_only=True, tag_field="kind", tag="fetch"):
    """Asks for a part of a file of an offered package."""

    hash: Hash
    """The package's."""
    file: Annotated[int, Meta(ge=ARCHIVE, lt=MOST_FILES)]
    """Its number in the offer, or `ARCHIVE`."""
    offset: U53
    length: Annotated[int, Meta(ge=1, le=PIECE_BYTES)]


class FilePart(_Message, frozen=True, kw_only=True, tag_field="kind", tag="piece"):
    """Answers `Fetch`."""

    data: Annotated[bytes, Meta(max_length=PIECE_BYTES)]


class Previewed(_Message, frozen=True, kw_only=True, tag_field="kind", tag="previewed"):
    """Answers `Offer`: the receiver has the package, and keeps it for a while."""

    package: Name
    version: Name
    hash: Hash
    asks_more: Annotated[tuple[Text, ...], Meta(max_length=4096)] = ()
    """What it asks for beyond the version that is installed there."""
    asks_less: Annotated[tuple[Text, ...], Meta(max_length=4096)] = ()
    fetched_bytes: U53 = 0
    """What was sent for it."""


class Install(_Message, frozen=True, kw_only=True, tag_field="kind", tag="install"):
    """Installs a package that was previewed."""

    hash: Hash
    consent: bool
    """Whether the operator has consented to what the preview showed."""


class InstalledThere(_Message, frozen=True, kw_only=True, tag_field="kind", tag="installed"):
    """Answers `Install`."""

    package: Name
    version: Name
    hash: Hash
    running_version: Name | None = None


class RefusedRequest(_Message, frozen=True, kw_only=True, tag_field="kind", tag="refused"):
    """Answers whatever is refused."""

    error: Text


class Draining(_Message, frozen=True, kw_only=True, tag_field="kind", tag="draining"):
    """Tells whether the sender takes new clients. Not answered."""

    draining: bool


REQUESTS: Final[dict[str, type[_Message]]] = {
    "list": List,
    "offer": Offer,
    "fetch": Fetch,
    "install": Install,
    "draining": Draining,
}
REPLIES: Final[dict[str, type[_Message]]] = {
    "rows": Rows,
    "piece": FilePart,
    "previewed": Previewed,
    "installed": InstalledThere,
    "refused": RefusedRequest,
}

Message = _Message
encode: Final = Encoder().encode
decode_head: Final = Decoder(MessageHead).decode
_DECODERS: Final = {kind: Decoder(type_) for kind, type_ in (REQUESTS | REPLIES).items()}


def decode(head: MessageHead, body: bytes) -> _Message | None:
    """The message with that head; None if its kind is not known.

    Raises:
        UNREADABLE: it is not one.
    """
    known = REPLIES if head.reply else REQUESTS
    return _DECODERS[head.kind].decode(body) if head.kind in known else None
