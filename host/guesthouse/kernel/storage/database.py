"""Durable state of processes, in SQLite.

The database is in WAL mode with `synchronous=FULL`: with NORMAL, WAL is not synced at each commit and what a guest was
told is stored could be lost on a power failure. Since each commit costs a sync, the one thread that owns the database
commits all queued jobs together, and only then answers. If that fails, each job is tried alone, so that one that fails
does not affect the others.

Nothing here blocks the event loop: a locked database or a slow disk delays only those who use it.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

from msgspec import Struct

from guesthouse.core import private
from guesthouse.core.address import ProcessId
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.ports import LogPort
from guesthouse.core.throttled_log import ThrottledLog
from guesthouse.kernel.storage.tables import KERNEL_TABLES, NewerSchema, Table, prepare, usage_of

TOO_BIG: Final = "too-big"
STORAGE: Final = "storage"
"""Names of `state-error` cases in `wit/system.wit`."""

LOCK_SECONDS: Final = 5.0
"""Seconds to wait for another program's lock on the database before jobs fail."""

MOST_WAITING: Final = 64 * 1024 * 1024
"""Maximum bytes of one package's queued jobs."""
JOB_OVERHEAD: Final = 1024
"""Bytes counted for a job besides what it stores."""
MOST_KEPT: Final = 1024
"""Maximum processes of one package, running or not, with stored state."""

_BATCH: Final = 256
_ANSWER_BYTES: Final = 16 * 1024 * 1024
"""A batch is split once its answers are larger."""
_TRY_SECONDS: Final = 0.25
"""Seconds that one attempt waits for the lock; a node that is stopping makes one more."""
_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


_T = TypeVar("_T")
_F = TypeVar("_F")


class StateError(GuesthouseError):
    """The node's database cannot be opened, read or written."""


class _Job(Struct, frozen=True):
    work: Callable[[sqlite3.Connection], Any]
    failed: Any
    answer: Callable[[Any], None]


class State:
    """The database of a node.

    `answer` callbacks run on the event loop, in the order of the calls. `close` first finishes all queued jobs.
    """

    def __init__(self, path: Path, quota: int, log: LogPort, tables: Iterable[Table] = ()) -> None:
        """Open or create the database.

        Args:
            path: its file.
            quota: bytes of state that a process may keep.
            log: for errors.
            tables: those of runtime modules, in addition to the kernel's.

        Raises:
            StateError: the file cannot be opened, is not a database, or is of a later version.
        """
        self.tables: Final = (*tables, *KERNEL_TABLES)
        self._path = path
        self._quota = quota
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._throttled_log = ThrottledLog(log)
        self._waiting: dict[str, int] = {}  # bytes by package
        self._closing = False
        self.commits = 0
        self.commit_seconds = 0.0
        """How long all of them took together."""
        self._database = _open(path, self.tables)
        self._thread = threading.Thread(target=self._work, name="state", daemon=True)
        self._thread.start()

    def get(self, process: ProcessId, answer: Callable[[bytes | str | None], None]) -> None:
        """Answers the process's state; None if it has none; `storage` if it cannot be read. These differ: a process
        without state starts afresh, and would overwrite what could not be read.
        """
        self.execute(lambda database: _read(database, str(process)), STORAGE, answer)

    def set(
        self,
        process: ProcessId,
        data: bytes,
        answer: Callable[[bytes | str | None], None],
        quota: int | None = None,
    ) -> None:
        """Answers None once `data` is durable; on `too-big` or `storage` the old state is kept.

        Args:
            process: whose state it is.
            data: the state.
            answer: called with the outcome.
            quota: in bytes, if it differs from the default.
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
        text = f"the state of {process} was not stored: {package} has state of {MOST_KEPT} processes already"
        self._loop.call_soon_threadsafe(self._throttled_log.say, "state", package, text)
        return STORAGE

    def clear(self, process: ProcessId, answer: Callable[[bytes | str | None], None]) -> None:
        """Answers None once the state is durably deleted, or `storage`."""
        self.execute(lambda database: _clear(database, str(process)), STORAGE, answer)

    def execute_for(
        self,
        package: str,
        size: int,
        work: Callable[[sqlite3.Connection], _T],
        failed: _F,
        answer: Callable[[_T | _F], None],
    ) -> None:
        """`execute` on behalf of a package. Answers `failed` at once if too much of the package is queued.

        Args:
            package: `package:publisher`.
            size: bytes that the job holds in memory.
            work: see `execute`.
            failed: see `execute`.
            answer: see `execute`.
        """
        cost = JOB_OVERHEAD + size
        held = self._waiting.get(package, 0)
        if held + cost > MOST_WAITING:
            text = f"{package} sends faster than the disk can store: over {MOST_WAITING} queued bytes are refused"
            self._throttled_log.say("state", package, text)
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
        """Queue a job for the database thread.

        Args:
            work: called in a transaction, again after a rollback; must have no other side effects.
            failed: the answer if the database cannot be read or written; `work` is then rolled back.
            answer: called with what `work` returned, once that is durable.
        """
        self._jobs.put(_Job(work, failed, answer))

    async def executed(self, work: Callable[[sqlite3.Connection], _T], failed: _F) -> _T | _F:
        """`execute`, awaited."""
        done: asyncio.Future[_T | _F] = self._loop.create_future()
        self.execute(work, failed, lambda value: None if done.cancelled() else done.set_result(value))
        return await done

    async def read(self, query: str, *values: str) -> list[Any]:
        """Rows of a query.

        Raises:
            StateError: the database cannot be read.
        """
        rows = await self.executed(lambda database: database.execute(query, values).fetchall(), None)
        if rows is None:
            raise StateError(f"{self._path} cannot be read: the log says why; fix that and try again")
        return rows

    async def close(self) -> None:
        """Finish queued jobs and close the database. Does not wait for another program's lock."""
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
                if len(answers) < len(batch):  # large answers: read no more until these were delivered
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
        """Run the first jobs of a batch, at least one, and return their answers."""
        try:
            return self._together(batch, time.monotonic() + LOCK_SECONDS)
        except Exception as error:  # the thread must survive
            fault = error
        answers: list[Any] = []
        failed = size = 0
        for job in batch:
            if size > _ANSWER_BYTES:
                break
            try:
                answers += self._together([job], 0.0)
            except Exception as error:
                answers.append(job.failed)
                fault, failed = error, failed + 1
            size += _size_of(answers[-1])
        if failed:
            what = "an operation" if failed == 1 else f"{failed} operations"
            text = f"{self._path}: {_reason(fault)}: {what} failed; {_remedy(fault)}"
            self._loop.call_soon_threadsafe(self._log.write, "state", "error", text)
        return answers

    def _together(self, batch: list[_Job], until: float) -> list[Any]:
        """Run a batch in one transaction. Retries until `until` if the database is locked."""
        while True:
            began = time.monotonic()
            try:
                with self._database:
                    return self._answers(batch)
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or self._closing or time.monotonic() >= until:
                    raise
            finally:
                self.commits += 1
                self.commit_seconds += time.monotonic() - began

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
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY  # the primary result code


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, sqlite3.Error) else f"{type(error).__name__}: {error}"


def _remedy(error: BaseException) -> str:
    if not isinstance(error, sqlite3.Error):
        return "this is a bug in Guesthouse: please report it"
    if _is_busy(error):
        return "another program has locked it: close that program"
    return "check that the disk is writable and has space"


def _read(database: sqlite3.Connection, process: str) -> bytes | None:
    row = database.execute("SELECT bytes FROM state WHERE process = ?", (process,)).fetchone()
    return None if row is None else bytes(row[0])


def _set(database: sqlite3.Connection, process: str, package: str, data: bytes) -> bool:
    """Store a process's state. Returns False when the package's limit is reached."""
    if database.execute("UPDATE state SET bytes = ? WHERE process = ?", (data, process)).rowcount:
        return True
    if usage_of(database, package, "state") >= MOST_KEPT:
        return False
    database.execute("INSERT INTO state VALUES (?, ?)", (process, data))
    return True


def _clear(database: sqlite3.Connection, process: str) -> None:
    database.execute("DELETE FROM state WHERE process = ?", (process,))


def _open(path: Path, tables: Iterable[Table]) -> sqlite3.Connection:
    try:
        private.make(path)  # SQLite gives the WAL the same mode
        database = sqlite3.connect(path, timeout=LOCK_SECONDS, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            with database:
                database.execute("BEGIN IMMEDIATE")
                prepare(database, tables)
            database.execute(f"PRAGMA busy_timeout={round(1000 * _TRY_SECONDS)}")
        except (sqlite3.Error, NewerSchema):
            database.close()
            raise
    except NewerSchema as error:
        raise StateError(
            f"{path}: {error}: run the version of Guesthouse that wrote it, or move it away to start afresh"
        ) from None
    except (sqlite3.Error, OSError) as error:
        raise StateError(
            f"{path}: {error}: make it readable and writable, or move it away to start afresh"
        ) from None
    return database
