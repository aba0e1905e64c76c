"""Deletes stored data of packages and processes."""

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
    """Delete what a process stored whose generated name will not be used again."""

    def work(database: sqlite3.Connection) -> None:
        for table in state.tables:
            table.forget(database, str(process))

    state.execute(work, None, lambda _: None)


async def forget_rights(state: State, packages: Iterable[str], node: str) -> bool:
    """Delete capabilities saved by these packages or issued by them, and their children, and void those given to other
    nodes. Other stored data is kept.

    Returns:
        Whether it succeeded, durably; otherwise the log says why.
    """
    here = f"{node}@"
    package_ids = list(packages)
    now = time.time()

    def work(database: sqlite3.Connection) -> bool:
        for package in package_ids:
            ending = f":{package}"
            for table in (CAPABILITIES, CHILDREN):
                table.purge(database, package)
            database.execute(_FORGET_ISSUED, (capability_store.SAVED, len(ending), ending, len(here), here))
            database.execute("INSERT OR REPLACE INTO void VALUES (?, ?)", (package, now))
        database.execute("DELETE FROM void WHERE uninstalled < ?", (now - LONGEST_SECONDS - SKEW_SECONDS,))
        return True

    return await state.executed(work, False)


async def with_rights(state: State, node: str) -> set[str]:
    """Packages whose processes saved or dropped capabilities, or issued saved ones.

    Raises:
        StateError: the database cannot be read.
    """
    here = f"{node}@"
    rows = await state.read(
        "SELECT process FROM capabilities UNION "
        "SELECT substr(issuer, length(?) + 1) FROM capabilities WHERE substr(issuer, 1, length(?)) = ?",
        *(here, here, here),
    )
    return {ProcessId.parse(name).package_id for (name,) in rows} - {HTTP_SERVER.package_id}


async def void_packages(state: State) -> dict[str, float]:
    """Recently uninstalled packages, whose capabilities other nodes may still present, and when in Unix seconds.

    Raises:
        StateError: the database cannot be read.
    """
    return dict(await state.read("SELECT package, uninstalled FROM void"))


async def keeps(state: State, package: str) -> bool:
    """Whether there is stored data of a package.

    Raises:
        StateError: the database cannot be read.
    """
    found = await state.executed(partial(_keeps, package=package), None)
    if found is None:
        raise StateError(f"the data of {package} cannot be read: the log says why; fix that and try again")
    return found


def keeps_without_node(path: Path, package: str) -> bool:
    """`keeps`, for a database that no node has open. Blocking I/O.

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
    """Check all tables with an owner column, including those of modules that this version does not have."""
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return any(_owned(database, name).keeps(database, package) for name in tables if name != USED.name)


def _owned(database: sqlite3.Connection, name: str) -> Table:
    columns = {row[1] for row in database.execute(f"PRAGMA table_info({name})")}
    owner: Any = next((column for column in ("package", "process") if column in columns), None)
    return Table(name, "", None if name == VOID.name else owner)


async def purge(state: State, packages: Iterable[str]) -> bool:
    """Delete all data of these packages.

    Returns:
        Whether it succeeded, durably; otherwise the log says why.
    """
    package_ids = list(packages)

    def work(database: sqlite3.Connection) -> bool:
        for package in package_ids:
            for table in state.tables:
                table.purge(database, package)
        return True

    return await state.executed(work, False)
