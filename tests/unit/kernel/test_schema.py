"""A database of an earlier version becomes today's, and one of a later version is left alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from guesthouse.kernel.storage.database import State, StateError
from guesthouse.kernel.storage.tables import usage_of
from guesthouse.modules.registry import TABLES

from .test_state import Lines

OF_0_1_0 = """
CREATE TABLE state (process TEXT PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE kv (package TEXT, db TEXT, key BLOB, value BLOB NOT NULL, expires REAL, PRIMARY KEY (package, db, key))
WITHOUT ROWID;
CREATE TABLE capabilities (process TEXT, issuer TEXT, params TEXT, kept INTEGER NOT NULL,
PRIMARY KEY (process, issuer, params)) WITHOUT ROWID;
INSERT INTO state VALUES ('a:chat:a.os', x'00'), ('b:chat:a.os', x'01'), ('a:other:a.os', x'02');
INSERT INTO kv VALUES ('chat:a.os', 'db', x'00', x'0102', NULL);
INSERT INTO capabilities VALUES ('a:chat:a.os', 'issuer', '1', 1);
"""


def user_version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute("PRAGMA user_version").fetchone()[0])


async def test_a_database_of_0_1_0_goes_on_and_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(OF_0_1_0)
    for _ in range(2):
        state = State(path, 100, Lines(), TABLES)
        assert await state.read("SELECT * FROM capabilities") == [("a:chat:a.os", "issuer", "1", 1, None)]
        for table, usage in (("state", 2), ("capabilities", 1), ("kv", 1 + 2 + 64), ("files", 0)):
            found = await state.executed(lambda database, t=table: usage_of(database, "chat:a.os", t), -1)  # type: ignore[misc]
            assert found == usage, table
        await state.close()
    assert user_version(path) == 1


async def test_a_new_database_is_of_this_version(tmp_path: Path) -> None:
    await State(tmp_path / "s", 100, Lines(), TABLES).close()
    assert user_version(tmp_path / "s") == 1


async def test_a_database_of_a_later_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with closing(sqlite3.connect(path)) as database:
        database.executescript("CREATE TABLE kv (whatever TEXT); PRAGMA user_version = 2")
    with pytest.raises(
        StateError, match="its schema version is 2, but this Guesthouse supports 1: run the version"
    ):
        State(path, 100, Lines(), TABLES)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("kv",)]


async def test_a_migration_that_is_cut_off_leaves_the_database_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(OF_0_1_0)

    def cut_off(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("guesthouse.kernel.storage.tables.Table.recount", cut_off)
        with pytest.raises(StateError, match="disk is full"):
            State(path, 100, Lines(), TABLES)
    assert user_version(path) == 0
    with closing(sqlite3.connect(path)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert tables == {"state", "kv", "capabilities"}
    state = State(path, 100, Lines(), TABLES)
    assert await state.read("SELECT COUNT(*) FROM state") == [(3,)]
    await state.close()
