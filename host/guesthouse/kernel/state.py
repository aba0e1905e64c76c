"""What processes keep: one byte string each, in SQLite, durable when the call returns.

The database is in WAL mode with `synchronous=FULL`. In WAL mode a commit is atomic whatever happens to
this process, but only FULL also syncs the log at each commit: with NORMAL, what a guest was told is
stored could be lost with the machine's power. That costs one sync a commit, so the one thread that
owns the database commits everything that waits together, and only then answers.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final

from guesthouse.address import ProcessId
from guesthouse.errors import GuesthouseError
from guesthouse.ports import LogPort

TOO_BIG: Final = "too-big"
STORAGE: Final = "storage"
"""Names of `state-error` cases in `wit/system.wit`."""

_BATCH: Final = 256
_LOCK_SECONDS: Final = 5.0
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS state (process TEXT PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID"
)


class StateError(GuesthouseError):
    """The node's state cannot be opened."""


class _Verb(Enum):
    GET = auto()
    SET = auto()
    CLEAR = auto()


@dataclass(frozen=True, slots=True)
class _Job:
    verb: _Verb
    process: str
    data: bytes
    answer: Callable[[bytes | str | None], None]


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
        self._database = _open(path)
        self._thread = threading.Thread(target=self._work, name="state", daemon=True)
        self._thread.start()

    def get(self, process: ProcessId, answer: Callable[[bytes | str | None], None]) -> None:
        """Answers the stored bytes, or None. Storage that cannot be read answers None and is logged."""
        self._jobs.put(_Job(_Verb.GET, str(process), b"", answer))

    def set(self, process: ProcessId, data: bytes, answer: Callable[[bytes | str | None], None]) -> None:
        """Answers None once `data` is durable, or `too-big` or `storage`, with what was there untouched."""
        if len(data) > self._quota:
            answer(TOO_BIG)
            return
        self._jobs.put(_Job(_Verb.SET, str(process), data, answer))

    def clear(self, process: ProcessId, answer: Callable[[bytes | str | None], None]) -> None:
        """Answers None once the bytes are durably gone, or `storage`."""
        self._jobs.put(_Job(_Verb.CLEAR, str(process), b"", answer))

    async def close(self) -> None:
        """Finish what was asked and close the database."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        stopping = False
        while not stopping:
            batch, stopping = self._batch()
            answers = self._carry_out(batch)
            for job, answer in zip(batch, answers, strict=True):
                self._loop.call_soon_threadsafe(job.answer, answer)
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

    def _carry_out(self, batch: list[_Job]) -> list[bytes | str | None]:
        try:
            with self._database:
                return [self._do(job) for job in batch]
        except sqlite3.Error as error:
            text = f"{self._path}: {error}: see that the disk has room and is writable"
            self._loop.call_soon_threadsafe(self._log.write, "state", "error", text)
            return [None if job.verb is _Verb.GET else STORAGE for job in batch]

    def _do(self, job: _Job) -> bytes | None:
        if job.verb is _Verb.SET:
            self._database.execute(
                "INSERT INTO state VALUES (?, ?) ON CONFLICT (process) DO UPDATE SET bytes = excluded.bytes",
                (job.process, job.data),
            )
        elif job.verb is _Verb.CLEAR:
            self._database.execute("DELETE FROM state WHERE process = ?", (job.process,))
        else:
            row = self._database.execute(
                "SELECT bytes FROM state WHERE process = ?", (job.process,)
            ).fetchone()
            return None if row is None else bytes(row[0])
        return None


def _open(path: Path) -> sqlite3.Connection:
    try:
        database = sqlite3.connect(path, timeout=_LOCK_SECONDS, check_same_thread=False)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        with database:
            database.execute(_SCHEMA)
    except sqlite3.Error as error:
        raise StateError(
            f"{path}: {error}: make it readable and writable, or move it away to start afresh"
        ) from None
    return database
