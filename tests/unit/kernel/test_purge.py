from __future__ import annotations

import sqlite3
from pathlib import Path

from guesthouse.kernel.purge import purge
from guesthouse.kernel.state import State

from .test_state import Lines

ROWS = {
    "state": ("process", "bytes"),
    "timers": ("process", "id", "due"),
    "capabilities": ("process", "issuer", "params", "kept"),
    "children": ("process", "wasm_path", "capabilities", "grants", "public"),
    "kv": ("package", "db", "key", "value"),
    "files": ("package", "path", "folder", "bytes"),
    "used": ("package", "what", "bytes"),
}
GOES, STAYS = "chat:a.os", ("chat:aa.os", "my-chat:a.os", "chat:a.osx", "Xchat:a.os")


def fill(database: sqlite3.Connection) -> None:
    for table, columns in ROWS.items():
        for package in (GOES, *STAYS):
            owner = f"p:{package}" if columns[0] == "process" else package
            marks = ", ".join("?" * len(columns))
            values = (owner, *(1 for _ in columns[1:]))
            database.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", values)  # noqa: S608


def owners(database: sqlite3.Connection) -> dict[str, set[str]]:
    found = {}
    for table, columns in ROWS.items():
        rows = database.execute(f"SELECT {columns[0]} FROM {table}")  # noqa: S608
        found[table] = {row[0].removeprefix("p:") for row in rows}
    return found


async def test_all_that_a_package_stored_goes_and_nothing_of_another(tmp_path: Path) -> None:
    state = State(tmp_path / "s", 100, Lines())
    await state.executed(fill, None)
    assert await purge(state, [GOES])
    assert await state.executed(owners, {}) == {table: set(STAYS) for table in ROWS}
    await state.close()


async def test_no_table_is_forgotten(tmp_path: Path) -> None:
    state = State(tmp_path / "s", 100, Lines())
    rows: list[tuple[str]] = await state.executed(
        lambda database: database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall(),
        [],
    )
    assert {name for (name,) in rows} == set(ROWS)
    await state.close()
