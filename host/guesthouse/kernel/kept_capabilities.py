"""The calls of `capabilities`: what processes save and drop, kept in the node's state."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Final

from guesthouse.capabilities import BadCapability, Capability
from guesthouse.kernel.process import Process
from guesthouse.kernel.state import State

Reply = Callable[[Any], None]
SAVED: Final = 1
DROPPED: Final = 0


def read_all(pairs: list[list[str]]) -> list[Capability]:
    """Capabilities from `[issuer, params]`; what names none is left out."""
    found = []
    for issuer, params in pairs:
        try:
            found.append(Capability.read(issuer, params))
        except BadCapability:
            continue
    return found


def as_pairs(capabilities: list[Capability]) -> list[list[str]]:
    """Capabilities as the link carries them."""
    return [as_pair(capability) for capability in capabilities]


def as_pair(capability: Capability) -> list[str]:
    """One capability as the link carries it."""
    return [capability.issuer, capability.params]


def save(state: State, process: Process, arguments: list[Any], reply: Reply) -> None:
    """Keep what may be kept."""
    _keep(state, process, process.holdings.save(read_all(arguments[0])), SAVED, reply)


def drop(state: State, process: Process, arguments: list[Any], reply: Reply) -> None:
    """Give up what it held."""
    _keep(state, process, process.holdings.drop(read_all(arguments[0])), DROPPED, reply)


def ours(state: State, process: Process, arguments: list[Any], reply: Reply) -> None:
    """List what it holds."""
    reply(as_pairs(sorted(process.holdings.all())))


async def restore(state: State, process: Process) -> None:
    """Give a process what it saved in earlier lives of this node, and take what it dropped.

    Raises:
        StateError: that cannot be read.
    """
    rows: list[tuple[str, str, int]] = await state.read(
        "SELECT issuer, params, kept FROM capabilities WHERE process = ?", str(process.id)
    )
    for issuer, params, kept in rows:
        held = process.holdings.saved if kept == SAVED else process.holdings.dropped
        held.add(Capability(issuer, params))


def _keep(state: State, process: Process, capabilities: list[Capability], kept: int, reply: Reply) -> None:
    rows = [(str(process.id), *pair, kept) for pair in as_pairs(capabilities)]

    def work(database: sqlite3.Connection) -> None:
        database.executemany("INSERT OR REPLACE INTO capabilities VALUES (?, ?, ?, ?)", rows)

    state.execute(work, None, reply)
