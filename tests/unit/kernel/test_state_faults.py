"""What is stored when another program holds the database, the disk fails, or one piece of work is bad."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.patience import PATIENCE

from guesthouse.kernel.storage import database as state_module
from guesthouse.kernel.storage.database import STORAGE, State, StateError

from .test_state import CHAT, OTHER, Lines, asked


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[tuple[State, Lines]]:
    log = Lines()
    state = State(path, 100, log)
    yield state, log
    await state.close()


@contextmanager
def held(path: Path, *, reads_too: bool = False) -> Iterator[sqlite3.Connection]:
    """Another program has the database to itself."""
    other = sqlite3.connect(path, isolation_level=None)
    if reads_too:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("PRAGMA journal_mode=DELETE")
    other.execute("BEGIN EXCLUSIVE")
    yield other
    if other.in_transaction:
        other.execute("ROLLBACK")
    other.close()


TURNS = 200
"""Of the event loop: it had none if it waited for the lock itself."""


async def turns_until(work: asyncio.Future[Any]) -> int:
    """How often the event loop came round until `work` was done."""
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    return turns


async def test_a_lock_that_is_let_go_is_waited_for_and_holds_up_nobody_but_who_stores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the event loop that lets it go."""
    monkeypatch.setattr(state_module, "LOCK_SECONDS", PATIENCE)
    async with opened(tmp_path / "s") as (state, log):
        with held(tmp_path / "s") as other:
            storing = asyncio.ensure_future(asked(state.set, CHAT, b"one"))
            for _ in range(TURNS):
                await asyncio.sleep(0.002)
                assert not storing.done()
            other.execute("ROLLBACK")
            assert await storing is None
        assert await asked(state.get, CHAT) == b"one"
        assert log.lines == []


@pytest.mark.slow
async def test_a_lock_for_ever_fails_what_stores_names_the_remedy_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_module, "LOCK_SECONDS", 1.5)
    async with opened(tmp_path / "s") as (state, log):
        assert await asked(state.set, CHAT, b"one") is None
        with held(tmp_path / "s"):
            storing = asyncio.ensure_future(asked(state.set, CHAT, b"two"))
            reading = asyncio.ensure_future(asked(state.get, CHAT))  # together with what cannot be done
            assert await turns_until(storing) > TURNS
            assert (await storing, await reading) == (STORAGE, b"one")
        assert "database is locked" in log.lines[0]
        assert "another program has locked it: close that program" in log.lines[0]
        assert await asked(state.set, CHAT, b"three") is None
        assert await asked(state.get, CHAT) == b"three"


async def test_state_that_cannot_be_read_is_not_told_as_none_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_module, "LOCK_SECONDS", 0.1)
    path = tmp_path / "s"
    setting_up = State(path, 100, Lines())
    assert await asked(setting_up.set, CHAT, b"one") is None
    await setting_up.close()
    with held(path, reads_too=True), pytest.raises(StateError, match="locked"):
        State(path, 100, Lines())
    async with opened(path) as (state, _):
        await asked(state.get, CHAT)
        state._database.execute("PRAGMA journal_mode=DELETE")  # so that a reader can be shut out at all
        with held(path, reads_too=True):
            assert await asked(state.get, CHAT) == STORAGE
            with pytest.raises(StateError, match="cannot be read: the log says why"):
                await state.read("SELECT process, id, due FROM timers")
        assert await asked(state.get, CHAT) == b"one"


async def test_work_that_the_database_refuses_takes_no_other_with_it(tmp_path: Path) -> None:
    async with opened(tmp_path / "s") as (state, log):
        # All of these are carried out together: the thread is busy with the first.
        busy = state.executed(lambda _: time.sleep(0.2), None)
        good = [asked(state.set, process, b"kept") for process in (CHAT, OTHER)]
        bad = state.executed(lambda database: database.execute("SELECT ?", (2**70,)), STORAGE)
        answers: list[object] = await asyncio.gather(busy, good[0], bad, good[1])
        assert answers == [None, None, STORAGE, None]
        assert await asked(state.get, CHAT) == await asked(state.get, OTHER) == b"kept"
        assert len(log.lines) == 1


def defective(_: sqlite3.Connection) -> None:
    raise RuntimeError("a defect")


async def test_work_with_a_defect_fails_alone_and_the_node_stores_on(tmp_path: Path) -> None:
    async with opened(tmp_path / "s") as (state, log):
        assert await state.executed(defective, STORAGE) == STORAGE
        assert await asked(state.set, CHAT, b"kept") is None
        assert await asked(state.get, CHAT) == b"kept"
        assert len(log.lines) == 1
        assert "RuntimeError: a defect" in log.lines[0]


async def test_closing_does_not_wait_for_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "LOCK_SECONDS", 10 * PATIENCE)
    state = State(tmp_path / "s", 100, Lines())
    with held(tmp_path / "s"):
        storing = asyncio.ensure_future(asked(state.set, CHAT, b"one"))
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE):
            await state.close()
            assert await storing == STORAGE
