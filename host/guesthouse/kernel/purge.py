"""Drops all that the processes of a package stored."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from typing import Final

from guesthouse.address import ProcessId
from guesthouse.kernel import kept_capabilities
from guesthouse.kernel.sealed_capabilities import LONGEST_SECONDS, SKEW_SECONDS
from guesthouse.kernel.state import State

_OF_PROCESSES: Final = ("state", "timers", "capabilities", "children")
_FORGET_ISSUED: Final = (
    "DELETE FROM capabilities WHERE kept = ? AND substr(issuer, -?) = ? AND substr(issuer, 1, ?) = ?"
)


def forget_process(state: State, process: ProcessId) -> None:
    """Drop what a process stored that nobody can name again."""

    def work(database: sqlite3.Connection) -> None:
        for table in _OF_PROCESSES:
            database.execute(f"DELETE FROM {table} WHERE process = ?", (str(process),))  # noqa: S608

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
            for table in ("capabilities", "children"):
                database.execute(f"DELETE FROM {table} WHERE substr(process, -?) = ?", (len(ending), ending))  # noqa: S608
            database.execute(_FORGET_ISSUED, (kept_capabilities.SAVED, len(ending), ending, len(here), here))
            database.execute("INSERT OR REPLACE INTO void VALUES (?, ?)", (package, now))
        database.execute("DELETE FROM void WHERE uninstalled < ?", (now - LONGEST_SECONDS - SKEW_SECONDS,))
        return True

    return await state.executed(work, False)


async def void_packages(state: State) -> dict[str, float]:
    """The packages that were uninstalled so lately that what they gave to other nodes could still be shown, and when.

    Raises:
        StateError: that cannot be read.
    """
    return dict(await state.read("SELECT package, uninstalled FROM void"))


async def purge(state: State, packages: Iterable[str]) -> bool:
    """Drop it for these packages, durably. Returns whether it is gone; else the log says why."""
    named = list(packages)

    def work(database: sqlite3.Connection) -> bool:
        for package in named:
            _purge(database, package)
        return True

    return await state.executed(work, False)


def _purge(database: sqlite3.Connection, package: str) -> None:
    ending = f":{package}"
    for table in _OF_PROCESSES:
        database.execute(f"DELETE FROM {table} WHERE substr(process, -?) = ?", (len(ending), ending))  # noqa: S608
    for table in ("kv", "files", "used"):  # the last follows from the others
        database.execute(f"DELETE FROM {table} WHERE package = ?", (package,))  # noqa: S608
