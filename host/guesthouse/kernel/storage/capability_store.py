"""The calls of `capabilities`: saved and dropped capabilities, stored in the node's database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from functools import partial
from typing import Final

from guesthouse.core.address import ProcessId
from guesthouse.core.capabilities import BadCapability, Capability
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.storage.database import State, StateError
from guesthouse.kernel.storage.tables import usage_of
from guesthouse.link.calls import (
    CallHandlers,
    DropCapabilities,
    Held,
    OurCapabilities,
    Reply,
    SaveCapabilities,
)
from guesthouse.link.schema import Pair

MOST_KEPT: Final = 65_536
"""Maximum rows for all processes of one package, running or not."""

SAVED: Final = 1
DROPPED: Final = 0


def read_all(pairs: Iterable[Pair]) -> list[Capability]:
    """Parse capabilities; invalid ones are skipped."""
    found = []
    for issuer, params in pairs:
        try:
            found.append(Capability.read(issuer, params))
        except BadCapability:
            continue
    return found


def as_pairs(capabilities: Iterable[Capability]) -> tuple[Pair, ...]:
    """Capabilities as sent over the link."""
    return tuple(map(as_pair, capabilities))


def as_pair(capability: Capability) -> Pair:
    """A capability as sent over the link."""
    return capability.issuer, capability.params


def register(calls: CallHandlers, state: State) -> None:
    """Carry out the host calls of `capabilities`."""
    calls.later(SaveCapabilities, partial(save, state))
    calls.later(DropCapabilities, partial(drop, state))
    calls.later(OurCapabilities, ours)


def save(state: State, process: Process, call: SaveCapabilities, reply: Reply) -> None:
    """Save those capabilities that the process may save."""
    holdings = process.holdings
    kept = holdings.save(read_all(call.capabilities))
    saved = {capability: SAVED for capability in kept if capability in holdings.saved}
    _store(state, process, saved, [capability for capability in kept if capability not in saved], reply)


def drop(state: State, process: Process, call: DropCapabilities, reply: Reply) -> None:
    """Drop capabilities. Only those that would be granted again are recorded as dropped."""
    holdings = process.holdings
    lost = holdings.drop(read_all(call.capabilities))
    dropped = {capability: DROPPED for capability in lost if capability in holdings.dropped}
    removed = [capability for capability in lost if capability not in dropped]
    _store(state, process, dropped, [*removed, *holdings.forget_dropped()], reply)


def ours(process: Process, call: OurCapabilities, reply: Reply) -> None:
    """List the process's capabilities."""
    reply(Held(as_pairs(sorted(process.holdings.all()))))


async def restore(state: State, process: Process) -> None:
    """Restore what a process saved and dropped before the node was restarted.

    Raises:
        StateError: the database cannot be read.
    """
    rows: list[tuple[str, str, int, str | None]] = await state.read(
        "SELECT issuer, params, kept, giver FROM capabilities WHERE process = ?", str(process.id)
    )
    for issuer, params, kept, giver in rows:
        if kept == SAVED:
            process.holdings.saved.add(Capability(issuer, params))
            if giver is not None:
                process.holdings.givers[Capability(issuer, params)] = giver
        else:
            process.holdings.dropped[Capability(issuer, params)] = None


async def forget(state: State, process: ProcessId) -> None:
    """Delete what an earlier process of that name saved and dropped.

    Raises:
        StateError: the database cannot be written; the log says why.
    """

    def work(database: sqlite3.Connection) -> bool:
        database.execute("DELETE FROM capabilities WHERE process = ?", (str(process),))
        return True

    if not await state.executed(work, False):
        raise StateError(f"capabilities saved by {process} cannot be deleted: the log says why")


def _store(
    state: State, process: Process, kept: dict[Capability, int], removed: list[Capability], reply: Reply
) -> None:
    givers = process.holdings.givers
    rows = [
        (str(process.id), *as_pair(capability), how, givers.get(capability))
        for capability, how in kept.items()
    ]
    rows_dropped = [row for row in rows if row[3] == DROPPED]
    package = process.id.package_id
    deleted = [(str(process.id), *pair) for pair in as_pairs(removed)]

    def work(database: sqlite3.Connection) -> None:
        database.executemany(
            "DELETE FROM capabilities WHERE process = ? AND issuer = ? AND params = ?", deleted
        )
        database.executemany(_INSERT, rows if _has_room(database, package) else rows_dropped)

    state.execute(work, None, reply)


_INSERT: Final = (
    "INSERT INTO capabilities (process, issuer, params, kept, giver) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (process, issuer, params) DO UPDATE SET kept = excluded.kept, giver = excluded.giver"
)


def _has_room(database: sqlite3.Connection, package: str) -> bool:
    """Whether a package may store more; otherwise what it saves lasts until the node stops."""
    return usage_of(database, package, "capabilities") < MOST_KEPT
