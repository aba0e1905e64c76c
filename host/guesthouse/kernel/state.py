"""What processes keep, in SQLite, durable when the call returns.

The database is in WAL mode with `synchronous=FULL`. In WAL mode a commit is atomic whatever happens to
this process, but only FULL also syncs the log at each commit: with NORMAL, what a guest was told is
stored could be lost with the machine's power. That costs one sync a commit, so the one thread that
owns the database commits everything that waits together, and only then answers. When that fails, each
piece of work is tried alone, so that one that the database refuses takes no other with it.

Nothing here waits on the event loop: a database that another program holds, or a disk that hangs, costs
those their time who asked for what is stored, and nobody else.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from guesthouse import private
from guesthouse.address import ProcessId
from guesthouse.errors import GuesthouseError
from guesthouse.kernel.notices import Notices
from guesthouse.ports import LogPort

TOO_BIG: Final = "too-big"
STORAGE: Final = "storage"
"""Names of `state-error` cases in `wit/system.wit`."""

LOCK_SECONDS: Final = 5.0
"""How long to wait for another program to let go of the database before what is asked fails."""

MOST_WAITING: Final = 64 * 1024 * 1024
"""Bytes of what one package asked for and that is not done yet."""
JOB_OVERHEAD: Final = 1024
"""What each piece of work costs beside the bytes that it stores."""
MOST_KEPT: Final = 1024
"""Processes of one package, whether there or not, whose state is kept."""

_BATCH: Final = 256
_ANSWER_BYTES: Final = 16 * 1024 * 1024
"""Once what was read is so much, it is handed over before more is read."""
_TRY_SECONDS: Final = 0.25
"""How long one attempt waits for it; a node that stops makes one more."""
_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
# The latter two: what SQLite cannot hold.
_FAULTS: Final = (sqlite3.Error, ValueError, OverflowError)


_PACKAGE_OF: Final = "substr({row}process, instr({row}process, ':') + 1)"
"""The package of a process, in SQL."""


def _counted(table: str, size: str, package: str = "{row}package") -> tuple[str, ...]:
    """Triggers that keep in `used` how much each package has in a table, so that a quota costs one look. A row is
    replaced by an upsert: `INSERT OR REPLACE` takes the old one away without its trigger.
    """

    def trigger(event: str, change: str) -> str:
        owner = package.format(row="old." if event == "delete" else "new.")
        return (
            f"CREATE TRIGGER IF NOT EXISTS {table}_{event} AFTER {event} ON {table} BEGIN INSERT INTO used VALUES "  # noqa: S608 - the names are this module's own
            f"({owner}, '{table}', {change}) "
            "ON CONFLICT (package, what) DO UPDATE SET bytes = bytes + excluded.bytes; END"
        )

    new, old = f"({size.format(row='new')})", f"({size.format(row='old')})"
    return trigger("insert", new), trigger("delete", f"-{old}"), trigger("update", f"{new} - {old}")


def usage_of(database: sqlite3.Connection, package: str, table: str) -> int:
    """What a package has in `kv` or `files`, in bytes, names and a fixed cost each included; in `state` or
    `capabilities`, in rows.
    """
    row = database.execute(
        "SELECT bytes FROM used WHERE package = ? AND what = ?", (package, table)
    ).fetchone()
    return 0 if row is None else int(row[0])


_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS state (process TEXT PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS kv (package TEXT, db TEXT, key BLOB, value BLOB NOT NULL, expires REAL, "
    "PRIMARY KEY (package, db, key)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS timers (process TEXT, id TEXT, due REAL NOT NULL, "
    "PRIMARY KEY (process, id)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS files (package TEXT, path TEXT, folder INTEGER NOT NULL, bytes BLOB NOT NULL, "
    "PRIMARY KEY (package, path))",
    "CREATE INDEX IF NOT EXISTS kv_expires ON kv (package, expires) WHERE expires IS NOT NULL",
    "CREATE TABLE IF NOT EXISTS used (package TEXT, what TEXT, bytes INTEGER NOT NULL, "
    "PRIMARY KEY (package, what)) WITHOUT ROWID",
    *_counted("kv", "LENGTH({row}.key) + LENGTH({row}.value) + 64"),
    *_counted("files", "LENGTH({row}.path) + LENGTH({row}.bytes) + 128"),
    "CREATE TABLE IF NOT EXISTS capabilities (process TEXT, issuer TEXT, params TEXT, kept INTEGER NOT NULL, "
    "giver TEXT, PRIMARY KEY (process, issuer, params)) WITHOUT ROWID",
    *_counted("state", "1", _PACKAGE_OF),
    *_counted("capabilities", "1", _PACKAGE_OF),
    "CREATE TABLE IF NOT EXISTS void (package TEXT PRIMARY KEY, uninstalled REAL NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS children (process TEXT PRIMARY KEY, wasm_path TEXT NOT NULL, "
    "capabilities TEXT NOT NULL, grants TEXT NOT NULL, public INTEGER NOT NULL) WITHOUT ROWID",
)
_COUNT: Final = (
    f"INSERT OR REPLACE INTO used SELECT {_PACKAGE_OF.format(row='')}, '{{table}}', COUNT(*) "  # noqa: S608
    "FROM {table} GROUP BY 1"
)

_T = TypeVar("_T")
_F = TypeVar("_F")


class StateError(GuesthouseError):
    """The node's state cannot be opened."""


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    failed: Any
    answer: Callable[[Any], None]


class State:
    """The state of all processes of a node.

    `answer` callbacks are called on the event loop, in the order of the calls. Closed by `close`, which
    first carries out everything that was asked.
    """

    def __init__(self, path: Path, quota: int, log: LogPort) -> None:
        """Open or make the database.

        Raises:
            StateError: the file cannot be opened, or is not a database.
        """
        self._path = path
        self._quota = quota
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._notices = Notices(log)
        self._waiting: dict[str, int] = {}  # bytes by package
        self._closing = False
        self._database = _open(path)
        self._thread = threading.Thread(target=self._work, name="state", daemon=True)
        self._thread.start()

    def get(self, process: ProcessId, answer: Callable[[bytes | str | None], None]) -> None:
        """Answers the stored bytes; None when there are none; `storage` when they cannot be read: that is not the
        same, for whoever takes it for the same begins anew, and stores that.
        """
        self.execute(lambda database: _read(database, str(process)), STORAGE, answer)

    def set(
        self,
        process: ProcessId,
        data: bytes,
        answer: Callable[[bytes | str | None], None],
        quota: int | None = None,
    ) -> None:
        """Answers None once `data` is durable, or `too-big` or `storage`, with what was there untouched.
        `quota` is that of this process, when it is not the same as all others'.
        """
        if len(data) > (self._quota if quota is None else quota):
            answer(TOO_BIG)
            return
        name, package = str(process), process.package_id
        self.execute(lambda database: self._write(database, name, package, data), STORAGE, answer)

    def _write(
        self, database: sqlite3.Connection, process: str, package: str, data: bytes
    ) -> bytes | str | None:
        if _set(database, process, package, data):
            return None
        text = f"the state of {process} is not kept: that of {MOST_KEPT} processes of {package} is already"
        self._loop.call_soon_threadsafe(self._notices.say, "state", package, text)
        return STORAGE

    def clear(self, process: ProcessId, answer: Callable[[bytes | str | None], None]) -> None:
        """Answers None once the bytes are durably gone, or `storage`."""
        self.execute(lambda database: _clear(database, str(process)), STORAGE, answer)

    def execute_for(
        self,
        package: str,
        size: int,
        work: Callable[[sqlite3.Connection], _T],
        failed: _F,
        answer: Callable[[_T | _F], None],
    ) -> None:
        """`execute` for a package, which holds `size` bytes for it until it is done. Answers `failed` at once when as
        much of the package's waits as may.
        """
        cost = JOB_OVERHEAD + size
        held = self._waiting.get(package, 0)
        if held + cost > MOST_WAITING:
            text = f"{package} asks faster than the disk stores: beyond {MOST_WAITING} bytes it is refused"
            self._notices.say("state", package, text)
            answer(failed)
            return
        self._waiting[package] = held + cost

        def done(value: _T | _F) -> None:
            self._waiting[package] -= cost
            if not self._waiting[package]:
                del self._waiting[package]
            answer(value)

        self.execute(work, failed, done)

    def execute(
        self, work: Callable[[sqlite3.Connection], _T], failed: _F, answer: Callable[[_T | _F], None]
    ) -> None:
        """Do `work` on the database, in the state's thread, and answer what it returns once that is durable; or
        `failed` when the database cannot be read or written, with nothing of it done. It may be called more
        than once, when what it did was undone, so it has no effect but on the database.
        """
        self._jobs.put(_Job(work, failed, answer))

    async def executed(self, work: Callable[[sqlite3.Connection], _T], failed: _F) -> _T | _F:
        """The same, awaited."""
        done: asyncio.Future[_T | _F] = self._loop.create_future()
        self.execute(work, failed, lambda value: None if done.cancelled() else done.set_result(value))
        return await done

    async def read(self, query: str, *values: str) -> list[Any]:
        """The rows of a query without which the node, or a process, must not go on.

        Raises:
            StateError: they cannot be read.
        """
        rows = await self.executed(lambda database: database.execute(query, values).fetchall(), None)
        if rows is None:
            raise StateError(
                f"{self._path} cannot be read now: the log says why; try again once that is mended"
            )
        return rows

    async def close(self) -> None:
        """Finish what was asked and close the database. A database that another program holds is not waited for."""
        self._closing = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        stopping = False
        while not stopping:
            batch, stopping = self._batch()
            while batch:
                answers = self._carry_out(batch)
                for job, answer in zip(batch, answers, strict=False):
                    self._loop.call_soon_threadsafe(job.answer, answer)
                if len(answers) < len(batch):  # until these are taken, no more is read
                    taken = threading.Event()
                    self._loop.call_soon_threadsafe(taken.set)
                    taken.wait()
                batch = batch[len(answers) :]
        self._database.close()

    def _batch(self) -> tuple[list[_Job], bool]:
        batch: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            batch.append(job)
            if len(batch) == _BATCH:
                return batch, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _carry_out(self, batch: list[_Job]) -> list[Any]:
        """Do the first pieces of work of a batch, one at least, and return their answers."""
        try:
            return self._together(batch, time.monotonic() + LOCK_SECONDS)
        except _FAULTS as error:
            fault: Exception = error
        answers: list[Any] = []
        failed = size = 0
        for job in batch:
            if size > _ANSWER_BYTES:
                break
            try:
                answers += self._together([job], 0.0)
            except _FAULTS as error:
                answers.append(job.failed)
                fault, failed = error, failed + 1
            size += _size_of(answers[-1])
        if failed:
            what = "a change or question" if failed == 1 else f"{failed} changes and questions"
            text = f"{self._path}: {fault}: {what} failed; {_remedy(fault)}"
            self._loop.call_soon_threadsafe(self._log.write, "state", "error", text)
        return answers

    def _together(self, batch: list[_Job], until: float) -> list[Any]:
        """Do a batch in one commit; waits for another program's lock until then, and tries once at least."""
        while True:
            try:
                with self._database:
                    return self._answers(batch)
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or self._closing or time.monotonic() >= until:
                    raise

    def _answers(self, batch: list[_Job]) -> list[Any]:
        answers: list[Any] = []
        size = 0
        for job in batch:
            answers.append(job.work(self._database))
            size += _size_of(answers[-1])
            if size > _ANSWER_BYTES:
                break
        return answers


def _size_of(answer: Any) -> int:
    if type(answer) is tuple:
        return sum(map(_size_of, answer))
    return len(answer) if type(answer) is bytes else 0


def _is_busy(error: BaseException) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY  # the rest of an extended code says why


def _remedy(error: BaseException) -> str:
    if _is_busy(error):
        return "another program holds it: end that program, or let it let go"
    return "see that the disk has room and is writable"


def _read(database: sqlite3.Connection, process: str) -> bytes | None:
    row = database.execute("SELECT bytes FROM state WHERE process = ?", (process,)).fetchone()
    return None if row is None else bytes(row[0])


def _set(database: sqlite3.Connection, process: str, package: str, data: bytes) -> bool:
    """Returns False when the package has as many kept as it may, and this would be one more."""
    if database.execute("UPDATE state SET bytes = ? WHERE process = ?", (data, process)).rowcount:
        return True
    if usage_of(database, package, "state") >= MOST_KEPT:
        return False
    database.execute("INSERT INTO state VALUES (?, ?)", (process, data))
    return True


def _clear(database: sqlite3.Connection, process: str) -> None:
    database.execute("DELETE FROM state WHERE process = ?", (process,))


def _open(path: Path) -> sqlite3.Connection:
    try:
        private.make(path)  # what is made beside it has its mode
        database = sqlite3.connect(path, timeout=LOCK_SECONDS, check_same_thread=False)
        try:
            _prepare(database)
        except sqlite3.Error:
            database.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise StateError(
            f"{path}: {error}: make it readable and writable, or move it away to start afresh"
        ) from None
    return database


def _prepare(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    with database:
        counting = {
            name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        }
        for table in _SCHEMA:
            database.execute(table)
        for table in ("state", "capabilities"):
            if f"{table}_insert" not in counting:  # of a node that did not count them
                database.execute(_COUNT.format(table=table))
        if "giver" not in {row[1] for row in database.execute("PRAGMA table_info(capabilities)")}:
            database.execute(
                "ALTER TABLE capabilities ADD COLUMN giver TEXT"
            )  # of a node before there was one
    database.execute(f"PRAGMA busy_timeout={round(1000 * _TRY_SECONDS)}")
