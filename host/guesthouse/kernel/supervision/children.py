"""Processes spawned by processes; those whose on-exit is `restart` are stored, to be started again with the node."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable

from msgspec import Struct

from guesthouse.core.address import ProcessId
from guesthouse.core.capabilities import Capability
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.storage.capability_store import as_pairs, read_all
from guesthouse.kernel.storage.database import State
from guesthouse.kernel.supervision.purge import forget_process
from guesthouse.package.spec import Right


class Child(Struct, frozen=True):
    """How a process was spawned."""

    id: ProcessId
    wasm_path: str
    capabilities: tuple[Capability, ...]
    """Inherited from its parent."""
    grants: tuple[Right, ...]
    public: bool


class Children:
    """The running children of a node.

    Args:
        state: the node's database.
        forget: drops what modules hold of a process that is gone and had a generated name.
    """

    def __init__(self, state: State, forget: Callable[[ProcessId], None]) -> None:
        self._state = state
        self._forget = forget
        self._running: dict[ProcessId, Child] = {}
        self._nameless: set[ProcessId] = set()

    def add(self, child: Child, *, nameless: bool = False) -> None:
        """Add a started child; `nameless` if its name was generated."""
        self._running[child.id] = child
        if nameless:
            self._nameless.add(child.id)

    def on_exit_changed(self, process: Process) -> None:
        """A process's on-exit changed: a child is stored while that is `restart`."""
        child = self._running.get(process.id)
        if child is None:
            return
        if process.on_exit == "restart":
            keep(self._state, child, lambda _: None)
        else:
            forget(self._state, child.id)

    def ended(self, process: Process) -> None:
        """A process is gone. All data of a child with a generated name is deleted."""
        if self._running.pop(process.id, None) is None:
            return
        if process.id in self._nameless:
            self._nameless.discard(process.id)
            forget_process(self._state, process.id)
            self._forget(process.id)
        else:
            forget(self._state, process.id)


def keep(state: State, child: Child, done: Callable[[object], None]) -> None:
    """Store a child. `done` is called once that is durable or has failed, which is logged."""
    grants = json.dumps([[str(grantee), params] for grantee, params in child.grants])
    rights = json.dumps(as_pairs(child.capabilities))
    row = (str(child.id), child.wasm_path, rights, grants, int(child.public))

    def work(database: sqlite3.Connection) -> None:
        database.execute("INSERT OR REPLACE INTO children VALUES (?, ?, ?, ?, ?)", row)

    state.execute(work, None, done)


def forget(state: State, process: ProcessId) -> None:
    """Delete a child."""

    def work(database: sqlite3.Connection) -> None:
        database.execute("DELETE FROM children WHERE process = ?", (str(process),))

    state.execute(work, None, lambda _: None)


async def forget_all_but(state: State, packages: Iterable[str]) -> None:
    """Delete the children of all packages but these."""
    installed = set(packages)

    def work(database: sqlite3.Connection) -> None:
        rows = database.execute("SELECT process FROM children").fetchall()
        gone = [(name,) for (name,) in rows if ProcessId.parse(name).package_id not in installed]
        database.executemany("DELETE FROM children WHERE process = ?", gone)

    await state.executed(work, None)


async def kept(state: State, package: str) -> list[Child]:
    """Children of a package, by name.

    Raises:
        StateError: the database cannot be read.
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
