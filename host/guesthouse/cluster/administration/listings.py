"""Lists what the nodes of a cluster run. What other nodes say of themselves is checked before it is shown."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Final, TypeAlias, cast

from msgspec import Meta, MsgspecError, Struct, to_builtins
from msgspec.json import Decoder, Encoder

from guesthouse.cluster.administration.administration_messages import MOST_ROWS_BYTES, List, Rows

RowsOf: TypeAlias = Callable[[str], AsyncIterator[dict[str, Any]]]
"""The rows of a list of this node, `packages` or `ps`."""

_Text = Annotated[str, Meta(max_length=4096)]
_Count = Annotated[int, Meta(ge=0)]
_Seconds = Annotated[float, Meta(ge=0, le=1e11)]


MOST_ROWS: Final = 8192
"""Of one node."""
_MOST_OBJECTS: Final = 2 * MOST_ROWS
"""A row has one object in it at most."""


class ListedEnd(Struct, frozen=True):
    """How a process ended."""

    time: _Seconds = 0.0
    """Unix time."""
    text: _Text = ""


class ProcessRow(Struct, frozen=True):
    """A process, as `guesthouse ps` lists it."""

    process: _Text
    version: _Text | None = None
    hash: _Text | None = None
    state: _Text = ""
    worker: _Text | None = None
    up_seconds: _Seconds | None = None
    restarts: _Count = 0
    on_exit: _Text = ""
    cpu_seconds: _Seconds = 0.0
    memory_bytes: _Count | None = None
    mailbox_messages: _Count = 0
    mailbox_bytes: _Count = 0
    channels: _Count = 0
    away: _Count = 0
    last_end: ListedEnd | None = None


class PackageRow(Struct, frozen=True):
    """A package, as `guesthouse packages` lists it."""

    package: _Text
    version: _Text | None = None
    hash: _Text | None = None
    previous_version: _Text | None = None
    previous_hash: _Text | None = None
    running_version: _Text | None = None
    running_hash: _Text | None = None
    processes: Annotated[tuple[_Text, ...], Meta(max_length=4096)] = ()


_DECODERS: Final[dict[str, Decoder[list[ProcessRow]] | Decoder[list[PackageRow]]]] = {
    "ps": Decoder(list[ProcessRow]),
    "packages": Decoder(list[PackageRow]),
}
_encode: Final = Encoder().encode


class BadRows(Exception):
    """What a node lists cannot be read."""


async def answer(rows_of: RowsOf, request: List) -> Rows:
    """List what is here, as far as there is room."""
    rows: list[bytes] = []
    size, left_out = 2, 0
    async for row in rows_of(request.what):
        encoded = _encode(own_row(request.what, row))
        if size + len(encoded) + 1 > MOST_ROWS_BYTES or len(rows) >= MOST_ROWS:
            left_out += 1
        else:
            rows.append(encoded)
            size += len(encoded) + 1
    return Rows(rows=b"[" + b",".join(rows) + b"]", left_out=left_out)


def read_rows(what: str, answered: Rows) -> list[dict[str, Any]]:
    """The rows of another node, with the fields that this version knows.

    Raises:
        BadRows: they are none.
    """
    if answered.rows.count(b"{") > _MOST_OBJECTS:  # each costs far more memory than its bytes
        raise BadRows(f"over {MOST_ROWS} rows")
    try:
        rows = _DECODERS[what].decode(answered.rows)
    except (MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRows(str(error)) from None
    return cast(list[dict[str, Any]], to_builtins(rows))


def own_row(what: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row of this node, with the fields that rows of others have."""
    return read_rows(what, Rows(rows=_encode([row])))[0]
