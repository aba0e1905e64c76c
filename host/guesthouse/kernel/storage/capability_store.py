"""The calls of `capabilities`: what processes save and drop, kept in the node's state."""

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
"""Capabilities that are kept for all processes of one package, whether there or not."""

SAVED: Final = 1
DROPPED: Final = 0


def read_all(pairs: Iterable[Pair]) -> list[Capability]:
    """Capabilities from issuers and params; what names none is left out."""
    found = []
    for issuer, params in pairs:
        try:
            found.append(Capability.read(issuer, params))
        except BadCapability:
            continue
    return found


def as_pairs(capabilities: Iterable[Capability]) -> tuple[Pair, ...]:
    """Capabilities as the link carries them."""
    return tuple(map(as_pair, capabilities))


def as_pair(capability: Capability) -> Pair:
    """One capability as the link carries it."""
    return capability.issuer, capability.params


def register(calls: CallHandlers, state: State) -> None:
    """Carry out the host calls of `capabilities`."""
    calls.later(SaveCapabilities, partial(save, state))
    calls.later(DropCapabilities, partial(drop, state))
    calls.later(OurCapabilities, ours)


def save(state: State, process: Process, call: SaveCapabilities, reply: Reply) -> None:
    """Keep what may be kept."""
    kept = process.holdings.save(read_all(call.capabilities))
    _store(state, process, dict.fromkeys(kept, SAVED), [], reply)


def drop(state: State, process: Process, call: DropCapabilities, reply: Reply) -> None:
    """Give up what it held. What it had only saved leaves no trace: nobody grants it that again."""
    holdings = process.holdings
    lost = holdings.drop(read_all(call.capabilities))
    dropped = {capability: DROPPED for capability in lost if capability in holdings.dropped}
    void = [capability for capability in lost if capability not in dropped]
    _store(state, process, dropped, [*void, *holdings.forget_dropped()], reply)


def ours(process: Process, call: OurCapabilities, reply: Reply) -> None:
    """List what it holds."""
    reply(Held(as_pairs(sorted(process.holdings.all()))))


async def restore(state: State, process: Process) -> None:
    """Give a process what it saved in earlier lives of this node, and take what it dropped.

    Raises:
        StateError: that cannot be read.
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
    """Drop what a process of that name saved and gave up in earlier lives: another one begins.

    Raises:
        StateError: the log says why.
    """

    def work(database: sqlite3.Connection) -> bool:
        database.execute("DELETE FROM capabilities WHERE process = ?", (str(process),))
        return True

    if not await state.executed(work, False):
        raise StateError(f"what {process} saved before cannot be dropped")


def _store(
    state: State, process: Process, kept: dict[Capability, int], void: list[Capability], reply: Reply
) -> None:
    givers = process.holdings.givers
    rows = [
        (str(process.id), *as_pair(capability), how, givers.get(capability))
        for capability, how in kept.items()
    ]
    rows_dropped = [row for row in rows if row[3] == DROPPED]
    package = process.id.package_id
    gone = [(str(process.id), *pair) for pair in as_pairs(void)]

    def work(database: sqlite3.Connection) -> None:
        database.executemany("DELETE FROM capabilities WHERE process = ? AND issuer = ? AND params = ?", gone)
        database.executemany(_INSERT, rows if _has_room(database, package) else rows_dropped)

    state.execute(work, None, reply)


_INSERT: Final = (
    "INSERT INTO capabilities (process, issuer, params, kept, giver) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (process, issuer, params) DO UPDATE SET kept = excluded.kept, giver = excluded.giver"
)


def _has_room(database: sqlite3.Connection, package: str) -> bool:
    """Whether more is kept for a package; what it saves beyond that is its processes' until the node stops."""
    return usage_of(database, package, "capabilities") < MOST_KEPT
