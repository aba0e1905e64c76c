"""Children that return with their node: what is kept of those whose on-exit is `restart`, in the node's state."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable

from msgspec import Struct

from guesthouse.core.address import ProcessId
from guesthouse.core.capabilities import Capability
from guesthouse.kernel.storage.capability_store import as_pairs, read_all
from guesthouse.kernel.storage.database import State
from guesthouse.package.spec import Right


class Child(Struct, frozen=True):
    """How a process was spawned."""

    id: ProcessId
    wasm_path: str
    capabilities: tuple[Capability, ...]
    """What it was given of its parent's."""
    grants: tuple[Right, ...]
    public: bool


def keep(state: State, child: Child, done: Callable[[object], None]) -> None:
    """Keep it for the next life of the node; `done` is called once that is durable, or cannot be (the log says so)."""
    grants = json.dumps([[str(grantee), params] for grantee, params in child.grants])
    rights = json.dumps(as_pairs(child.capabilities))
    row = (str(child.id), child.wasm_path, rights, grants, int(child.public))

    def work(database: sqlite3.Connection) -> None:
        database.execute("INSERT OR REPLACE INTO children VALUES (?, ?, ?, ?, ?)", row)

    state.execute(work, None, done)


def forget(state: State, process: ProcessId) -> None:
    """It does not return any more."""

    def work(database: sqlite3.Connection) -> None:
        database.execute("DELETE FROM children WHERE process = ?", (str(process),))

    state.execute(work, None, lambda _: None)


async def forget_all_but(state: State, packages: Iterable[str]) -> None:
    """Forget those of packages that are not there any more."""
    there = set(packages)

    def work(database: sqlite3.Connection) -> None:
        rows = database.execute("SELECT process FROM children").fetchall()
        gone = [(name,) for (name,) in rows if ProcessId.parse(name).package_id not in there]
        database.executemany("DELETE FROM children WHERE process = ?", gone)

    await state.executed(work, None)


async def kept(state: State, package: str) -> list[Child]:
    """Those of a package, in the order of their names.

    Raises:
        StateError: they cannot be read.
    """
    ending = f":{package}"
    rows = await state.read(
        "SELECT * FROM children WHERE substr(process, -length(?)) = ? ORDER BY process", ending, ending
    )
    return [_child(row) for row in rows]


def _child(row: tuple[str, str, str, str, int]) -> Child:
    process, wasm_path, rights, grants, public = row
    granted = tuple((ProcessId.parse(grantee), params) for grantee, params in json.loads(grants))
    return Child(
        ProcessId.parse(process), wasm_path, tuple(read_all(json.loads(rights))), granted, bool(public)
    )
