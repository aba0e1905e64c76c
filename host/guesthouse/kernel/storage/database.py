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


_T = TypeVar("_T")
_F = TypeVar("_F")


class StateError(GuesthouseError):
    """The node's state cannot be opened."""


class _Job(Struct, frozen=True):
    work: Callable[[sqlite3.Connection], Any]
    failed: Any
    answer: Callable[[Any], None]


class State:
    """The state of all processes of a node.

    `answer` callbacks are called on the event loop, in the order of the calls. Closed by `close`, which
    first carries out everything that was asked.
    """

    def __init__(self, path: Path, quota: int, log: LogPort, tables: Iterable[Table] = ()) -> None:
        """Open or make the database.

        Args:
            path: its file.
            quota: bytes of state that a process may keep.
            log: where faults go.
            tables: those of runtime modules, beside the kernel's own.

        Raises:
            StateError: the file cannot be opened, is not a database, or one of a later version.
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
        self._database = _open(path, self.tables)
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
        self._loop.call_soon_threadsafe(self._throttled_log.say, "state", package, text)
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
                f"{self._path} cannot be read now: the log says why; try again once that is fixed"
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
        except Exception as error:  # whatever it is: without this thread nothing is stored any more
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
            what = "a change or question" if failed == 1 else f"{failed} changes and questions"
            text = f"{self._path}: {_reason(fault)}: {what} failed; {_remedy(fault)}"
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


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, sqlite3.Error) else f"{type(error).__name__}: {error}"


def _remedy(error: BaseException) -> str:
    if not isinstance(error, sqlite3.Error):
        return "this is a defect of Guesthouse: please report it"
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


def _open(path: Path, tables: Iterable[Table]) -> sqlite3.Connection:
    try:
        private.make(path)  # what is made beside it has its mode
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
            f"{path}: {error}: run the version of Guesthouse that made it, or move it away to start afresh"
        ) from None
    except (sqlite3.Error, OSError) as error:
        raise StateError(
            f"{path}: {error}: make it readable and writable, or move it away to start afresh"
        ) from None
    return database
