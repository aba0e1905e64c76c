"""Schema of the node's database: tables, their owners, quotas and migrations.

A table is declared once, here or in the runtime module that owns it. Creating, counting and purging follow from the
declaration.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

from msgspec import Struct


class Table(Struct, frozen=True):
    """A table."""

    name: str
    columns: str
    """Columns and keys in SQL, with brackets."""
    owner: Literal["process", "package"] | None
    """Column with the owner of a row, with which it is purged; None if rows have none."""
    counted: str = ""
    """What a row adds to the owner's usage, in SQL with `{row}.` before columns; empty if not counted."""
    indexes: tuple[str, ...] = ()

    @property
    def package(self) -> str:
        """Package of a row, in SQL with `{row}` before the column."""
        return (
            "{row}package"
            if self.owner == "package"
            else "substr({row}process, instr({row}process, ':') + 1)"
        )

    def make(self, database: sqlite3.Connection) -> None:
        """Create the table if it does not exist."""
        database.execute(f"CREATE TABLE IF NOT EXISTS {self.name} {self.columns}")
        for statement in (*self.indexes, *self._triggers()):
            database.execute(statement)

    def purge(self, database: sqlite3.Connection, package: str) -> None:
        """Delete all rows of a package and its processes."""
        if self.owner == "package":
            database.execute(f"DELETE FROM {self.name} WHERE package = ?", (package,))  # noqa: S608
        elif self.owner == "process":
            ending = f":{package}"
            row = (len(ending), ending)
            database.execute(f"DELETE FROM {self.name} WHERE substr(process, -?) = ?", row)  # noqa: S608

    def keeps(self, database: sqlite3.Connection, package: str) -> bool:
        """Whether there are rows of a package or its processes."""
        if self.owner is None:
            return False
        query = f"SELECT 1 FROM {self.name} WHERE {self.package.format(row='')} = ? LIMIT 1"  # noqa: S608
        return database.execute(query, (package,)).fetchone() is not None

    def forget(self, database: sqlite3.Connection, process: str) -> None:
        """Delete the rows of one process, but not those of its package."""
        if self.owner == "process":
            database.execute(f"DELETE FROM {self.name} WHERE process = ?", (process,))  # noqa: S608

    def recount(self, database: sqlite3.Connection) -> None:
        """Recompute the usage of all packages."""
        if self.counted:
            database.execute(
                f"INSERT OR REPLACE INTO used SELECT {self.package.format(row='')}, '{self.name}', "  # noqa: S608
                f"SUM({self.counted.replace('{row}.', '')}) FROM {self.name} GROUP BY 1"
            )

    def _triggers(self) -> list[str]:
        """Triggers that maintain the usage of each package in `used`, so that checking a quota is one lookup. Rows must
        be replaced by an upsert: `INSERT OR REPLACE` does not fire the delete trigger.
        """
        if not self.counted:
            return []
        new, old = (f"({self.counted.format(row=row)})" for row in ("new", "old"))
        changes = {"insert": new, "delete": f"-{old}", "update": f"{new} - {old}"}
        return [
            f"CREATE TRIGGER IF NOT EXISTS {self.name}_{event} AFTER {event} ON {self.name} BEGIN "  # noqa: S608
            f"INSERT INTO used VALUES ({self.package.format(row='old.' if event == 'delete' else 'new.')}, "
            f"'{self.name}', {change}) ON CONFLICT (package, what) DO UPDATE SET bytes = bytes + excluded.bytes; END"
            for event, change in changes.items()
        ]


STATE: Final = Table("state", "(process TEXT PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID", "process", "1")
CAPABILITIES: Final = Table(
    "capabilities",
    "(process TEXT, issuer TEXT, params TEXT, kept INTEGER NOT NULL, giver TEXT, "
    "PRIMARY KEY (process, issuer, params)) WITHOUT ROWID",
    "process",
    "1",
)
CHILDREN: Final = Table(
    "children",
    "(process TEXT PRIMARY KEY, wasm_path TEXT NOT NULL, capabilities TEXT NOT NULL, grants TEXT NOT NULL, "
    "public INTEGER NOT NULL) WITHOUT ROWID",
    "process",
)
VOID: Final = Table("void", "(package TEXT PRIMARY KEY, uninstalled REAL NOT NULL) WITHOUT ROWID", None)
USED: Final = Table(
    "used",
    "(package TEXT, what TEXT, bytes INTEGER NOT NULL, PRIMARY KEY (package, what)) WITHOUT ROWID",
    "package",
)
KERNEL_TABLES: Final = (STATE, CAPABILITIES, CHILDREN, VOID, USED)
"""`used` must be last: purging the others writes to it."""


def usage_of(database: sqlite3.Connection, package: str, table: str) -> int:
    """Usage of a package in a counted table: bytes, including names and a fixed overhead, in `kv` and `files`; rows in
    `state` and `capabilities`.
    """
    row = database.execute(
        "SELECT bytes FROM used WHERE package = ? AND what = ?", (package, table)
    ).fetchone()
    return 0 if row is None else int(row[0])


class NewerSchema(Exception):
    """The database was written by a later version of Guesthouse."""


def prepare(database: sqlite3.Connection, tables: Iterable[Table]) -> None:
    """Create missing tables and migrate existing ones, in the current transaction.

    Raises:
        NewerSchema: the database is of a later version; nothing was changed.
    """
    tables = tuple(tables)
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(_MIGRATIONS):
        raise NewerSchema(f"its schema version is {version}, but this Guesthouse supports {len(_MIGRATIONS)}")
    for table in tables:
        table.make(database)
    for migrate in _MIGRATIONS[version:]:
        migrate(database, tables)
    if version < len(_MIGRATIONS):
        database.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")


def _from_0_1_0(database: sqlite3.Connection, tables: Iterable[Table]) -> None:
    """0.1.0 had no schema version, no `giver`, and did not count state and capabilities."""
    if "giver" not in {row[1] for row in database.execute("PRAGMA table_info(capabilities)")}:
        database.execute("ALTER TABLE capabilities ADD COLUMN giver TEXT")
    for table in tables:
        table.recount(database)


Migration = Callable[[sqlite3.Connection, Iterable[Table]], None]
_MIGRATIONS: Final[Sequence[Migration]] = (_from_0_1_0,)
"""Migrations from each schema version to the next. Never remove one; they also run on a new database."""
SCHEMA_VERSION: Final = len(_MIGRATIONS)
"""`user_version` of databases that this version writes."""
