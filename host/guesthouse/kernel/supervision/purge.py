"""Drops all that the processes of a package stored."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from guesthouse.core.address import HTTP_SERVER, ProcessId
from guesthouse.kernel.capabilities.signed import LONGEST_SECONDS, SKEW_SECONDS
from guesthouse.kernel.storage import capability_store
from guesthouse.kernel.storage.database import State, StateError
from guesthouse.kernel.storage.tables import CAPABILITIES, CHILDREN, USED, VOID, Table

_FORGET_ISSUED: Final = (
    "DELETE FROM capabilities WHERE kept = ? AND substr(issuer, -?) = ? AND substr(issuer, 1, ?) = ?"
)


def forget_process(state: State, process: ProcessId) -> None:
    """Drop what a process stored that nobody can name again."""

    def work(database: sqlite3.Connection) -> None:
        for table in state.tables:
            table.forget(database, str(process))

    state.execute(work, None, lambda _: None)


async def forget_rights(state: State, packages: Iterable[str], node: str) -> bool:
    """Drop what the processes of these packages of a node saved of capabilities, what others saved of theirs, and their
    children, durably, and note that what they gave to other nodes is void; what else they stored stays. Returns whether
    it is gone; else the log says why.
    """
    here = f"{node}@"
    named = list(packages)
    now = time.time()

    def work(database: sqlite3.Connection) -> bool:
        for package in named:
            ending = f":{package}"
            for table in (CAPABILITIES, CHILDREN):
                table.purge(database, package)
            database.execute(_FORGET_ISSUED, (capability_store.SAVED, len(ending), ending, len(here), here))
            database.execute("INSERT OR REPLACE INTO void VALUES (?, ?)", (package, now))
        database.execute("DELETE FROM void WHERE uninstalled < ?", (now - LONGEST_SECONDS - SKEW_SECONDS,))
        return True

    return await state.executed(work, False)


async def with_rights(state: State, node: str) -> set[str]:
    """The packages whose processes saved or gave up capabilities, or handed out what others saved.

    Raises:
        StateError: that cannot be read.
    """
    here = f"{node}@"
    rows = await state.read(
        "SELECT process FROM capabilities UNION "
        "SELECT substr(issuer, length(?) + 1) FROM capabilities WHERE substr(issuer, 1, length(?)) = ?",
        *(here, here, here),
    )
    return {ProcessId.parse(name).package_id for (name,) in rows} - {HTTP_SERVER.package_id}


async def void_packages(state: State) -> dict[str, float]:
    """The packages that were uninstalled so lately that what they gave to other nodes could still be shown, and when.

    Raises:
        StateError: that cannot be read.
    """
    return dict(await state.read("SELECT package, uninstalled FROM void"))


async def keeps(state: State, package: str) -> bool:
    """Whether anything is kept of what the processes of a package stored.

    Raises:
        StateError: that cannot be read.
    """
    found = await state.executed(partial(_keeps, package=package), None)
    if found is None:
        raise StateError(f"what is kept of {package} cannot be read now: the log says why; try again")
    return found


def keeps_without_node(path: Path, package: str) -> bool:
    """The same of the database at a path, which no node has open. Blocks on the file system.

    Raises:
        StateError: it cannot be read.
    """
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True)) as database:
            return _keeps(database, package)
    except sqlite3.Error as error:
        raise StateError(f"{path}: {error}: make it readable and writable, or move it away") from None


def _keeps(database: sqlite3.Connection, package: str) -> bool:
    """Of every table that says whose its rows are, also of one that this version does not make."""
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return any(_owned(database, name).keeps(database, package) for name in tables if name != USED.name)


def _owned(database: sqlite3.Connection, name: str) -> Table:
    columns = {row[1] for row in database.execute(f"PRAGMA table_info({name})")}
    owner: Any = next((column for column in ("package", "process") if column in columns), None)
    return Table(name, "", None if name == VOID.name else owner)


async def purge(state: State, packages: Iterable[str]) -> bool:
    """Drop it for these packages, durably. Returns whether it is gone; else the log says why."""
    named = list(packages)

    def work(database: sqlite3.Connection) -> bool:
        for package in named:
            for table in state.tables:
                table.purge(database, package)
        return True

    return await state.executed(work, False)
