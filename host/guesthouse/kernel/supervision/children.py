"""Processes that processes spawned, and what is kept of those whose on-exit is `restart`: they return with the node."""

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
    """What it was given of its parent's."""
    grants: tuple[Right, ...]
    public: bool


class Children:
    """The children that a node has.

    Args:
        state: where those are kept that return.
        forget: drops what is in memory of a process that is gone and whose name nobody can choose again.
    """

    def __init__(self, state: State, forget: Callable[[ProcessId], None]) -> None:
        self._state = state
        self._forget = forget
        self._there: dict[ProcessId, Child] = {}
        self._nameless: set[ProcessId] = set()

    def add(self, child: Child, *, nameless: bool = False) -> None:
        """It was started. The name of one that is `nameless` was chosen by nobody."""
        self._there[child.id] = child
        if nameless:
            self._nameless.add(child.id)

    def on_exit_changed(self, process: Process) -> None:
        """A process has another on-exit: a child returns with the node as long as that is `restart`."""
        child = self._there.get(process.id)
        if child is None:
            return
        if process.on_exit == "restart":
            keep(self._state, child, lambda _: None)
        else:
            forget(self._state, child.id)

    def ended(self, process: Process) -> None:
        """A process is gone, while the node goes on. Nothing is kept of a child whose name nobody chose."""
        if self._there.pop(process.id, None) is None:
            return
        if process.id in self._nameless:
            self._nameless.discard(process.id)
            forget_process(self._state, process.id)
            self._forget(process.id)
        else:
            forget(self._state, process.id)


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
