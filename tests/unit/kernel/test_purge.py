"""Uninstalling with --purge drops all rows of a package, of every table that there is."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from guesthouse.core.address import ProcessId
from guesthouse.kernel.storage.database import State
from guesthouse.kernel.storage.tables import KERNEL_TABLES, Table
from guesthouse.kernel.supervision.purge import forget_process, purge, with_rights
from guesthouse.modules.registry import TABLES

from .test_state import Lines

GOES, STAYS = "chat:a.os", ("chat:aa.os", "my-chat:a.os", "chat:a.osx", "Xchat:a.os")
NOTES = Table("notes", "(package TEXT, note TEXT)", "package", "LENGTH({row}.note)")
"""What a module that nobody here knows would keep."""
EVERY = (*TABLES, *KERNEL_TABLES)
OF_PACKAGES = [table.name for table in (*EVERY, NOTES) if table.owner is not None]


def fill(database: sqlite3.Connection) -> None:
    """A row of each package in each table: 1 in all columns but the owner's."""
    for table in (*EVERY, NOTES):
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table.name})")]
        for package in (GOES, *STAYS):
            owner = f"p:{package}" if table.owner == "process" else package
            marks = ", ".join("?" * len(columns))
            values = (owner, *(1 for _ in columns[1:]))
            database.execute(f"INSERT INTO {table.name} VALUES ({marks})", values)  # noqa: S608


def owners(database: sqlite3.Connection) -> dict[str, set[str]]:
    """Whose rows are in which table that has an owner."""
    found = {}
    for table in (*EVERY, NOTES):
        if table.owner is not None:
            rows = database.execute(f"SELECT {table.owner} FROM {table.name}")  # noqa: S608
            found[table.name] = {row[0].removeprefix("p:") for row in rows}
    return found


def all_tables(database: sqlite3.Connection) -> set[str]:
    return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


async def test_all_that_a_package_stored_goes_and_nothing_of_another(tmp_path: Path) -> None:
    state = State(tmp_path / "s", 100, Lines(), (*TABLES, NOTES))
    await state.executed(fill, None)
    assert await purge(state, [GOES])
    assert await state.executed(owners, {}) == {table: set(STAYS) for table in OF_PACKAGES}
    await state.close()


async def test_who_has_rights_is_who_saved_gave_up_or_handed_out_on_this_node(tmp_path: Path) -> None:
    state = State(tmp_path / "s", 100, Lines(), TABLES)
    rows = (
        ("p:saved:a.os", "n.os@q:handed:a.os", 1),
        ("p:dropped:a.os", "n.os@http-server:distro:sys", 0),
        ("p:saved:a.os", "other.os@q:elsewhere:a.os", 1),
    )

    def store(database: sqlite3.Connection) -> None:
        insert = "INSERT INTO capabilities (process, issuer, params, kept) VALUES (?, ?, '\"x\"', ?)"
        database.executemany(insert, rows)

    await state.executed(store, None)
    assert await with_rights(state, "n.os") == {"saved:a.os", "handed:a.os", "dropped:a.os"}
    await state.close()


async def test_all_that_a_process_stored_goes_and_nothing_of_another(tmp_path: Path) -> None:
    state = State(tmp_path / "s", 100, Lines(), TABLES)
    await state.executed(lambda database: [database.execute(f"DELETE FROM {t.name}") for t in EVERY], None)  # noqa: S608
    state.set(ProcessId.parse(f"p:{GOES}"), b"", lambda _: None)
    state.set(ProcessId.parse(f"pp:{GOES}"), b"", lambda _: None)
    forget_process(state, ProcessId.parse(f"p:{GOES}"))
    assert await state.read("SELECT process FROM state") == [(f"pp:{GOES}",)]
    await state.close()


async def test_there_is_no_table_but_those_that_are_declared(tmp_path: Path) -> None:
    state = State(tmp_path / "s", 100, Lines(), TABLES)
    assert await state.executed(all_tables, set()) == {table.name for table in EVERY}
    await state.close()


@pytest.mark.parametrize("table", EVERY, ids=lambda table: table.name)
def test_the_owner_of_a_table_is_its_first_column(table: Table) -> None:
    if table.owner is not None:
        assert table.columns.startswith(f"({table.owner} TEXT")


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_what_a_module_keeps_belongs_to_a_package_or_process_that_can_be_purged(table: Table) -> None:
    assert table.owner in ("package", "process")
    assert table.name in OF_PACKAGES


def test_no_module_makes_or_purges_a_table_by_itself() -> None:
    host = Path(__file__).parents[3] / "host/guesthouse"
    making = {path.name for path in host.rglob("*.py") if "CREATE TABLE" in path.read_text()}
    assert making == {"tables.py"}
