from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from guesthouse.core.address import ProcessId
from guesthouse.core.capabilities import Capability, Holdings
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.storage import capability_store
from guesthouse.kernel.storage.capability_store import as_pairs
from guesthouse.kernel.storage.database import State, StateError
from guesthouse.link.calls import DropCapabilities, SaveCapabilities

CHAT, OTHER = ProcessId.parse("chat:chat:a.os"), ProcessId.parse("other:other:b.os")


class Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, source: str, level: str, text: str, *, stream: str = "host", channel_id: int = 0) -> None:
        self.lines.append(text)


async def asked(call: Any, *arguments: Any) -> Any:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    call(*arguments, future.set_result)
    return await future


async def test_state_survives_closing_and_is_each_process_own(tmp_path: Path) -> None:
    state = State(tmp_path / "s", 100, Lines())
    assert await asked(state.get, CHAT) is None
    assert await asked(state.set, CHAT, b"\x00one") is None
    assert await asked(state.set, OTHER, b"two") is None
    await state.close()
    state = State(tmp_path / "s", 100, Lines())
    assert await asked(state.get, CHAT) == b"\x00one"
    assert await asked(state.clear, CHAT) is None
    assert await asked(state.get, CHAT) is None
    assert await asked(state.get, OTHER) == b"two"
    await state.close()


async def test_keeping_state_and_capabilities_scans_no_table(tmp_path: Path) -> None:
    state = State(tmp_path / "s", 100, Lines())
    process = Process(
        *(CHAT, tmp_path / "none.cwasm"),
        public=True,
        on_exit="none",
        mailbox_bytes=100,
        holdings=Holdings(""),
    )
    door, other = Capability("home.os@chat:chat:a.os", '"door"'), Capability("home.os@other:other:b.os", "1")
    process.holdings.receive([door, other], "home.os@other:other:b.os")
    run: list[str] = []
    state._database.set_trace_callback(run.append)
    for wanted in ([door], [door, other], [door]):
        pairs = as_pairs(wanted)
        await asked(partial(capability_store.save, state, process), SaveCapabilities(pairs))
    assert await asked(state.set, CHAT, b"new") is None
    assert await asked(state.set, CHAT, b"another") is None
    counted = "SELECT what, bytes FROM used WHERE package = 'chat:a.os' ORDER BY what"
    assert await state.read(counted) == [("capabilities", 2), ("state", 1)], "what is saved again counts once"
    await asked(partial(capability_store.drop, state, process), DropCapabilities(as_pairs([door, other])))
    assert await asked(state.clear, CHAT) is None
    state._database.set_trace_callback(None)
    assert await state.read(counted) == [("capabilities", 0), ("state", 0)]
    asked_for = [each for each in run if each.startswith(("SELECT", "INSERT", "UPDATE", "DELETE"))]
    assert len(asked_for) > 10
    for statement in asked_for:
        plan = [row[3] for row in await state.read(f"EXPLAIN QUERY PLAN {statement}")]
        assert not any(step.startswith("SCAN") for step in plan), f"{statement}: {plan}"
    await state.close()


async def test_the_quota_holds_to_the_byte_and_leaves_what_was_there(tmp_path: Path) -> None:
    state = State(tmp_path / "s", 10, Lines())
    assert await asked(state.set, CHAT, b"x" * 10) is None
    assert await asked(state.set, CHAT, b"y" * 11) == "too-big"
    assert await asked(state.get, CHAT) == b"x" * 10
    await state.close()


async def test_a_commit_syncs_the_log_to_the_disk(tmp_path: Path) -> None:
    state = State(tmp_path / "s", 10, Lines())
    database = state._database
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    await state.close()


async def test_calls_are_answered_in_order(tmp_path: Path) -> None:
    state = State(tmp_path / "s", 10, Lines())
    answers: list[Any] = []
    for number in range(1000):
        state.set(CHAT, str(number).encode(), answers.append)
        state.get(CHAT, answers.append)
    await state.close()
    await asyncio.sleep(0)
    assert answers == [value for number in range(1000) for value in (None, str(number).encode())]


async def test_storage_that_fails_is_said_to_the_process_and_logged(tmp_path: Path) -> None:
    log = Lines()
    state = State(tmp_path / "s", 10, log)
    other = sqlite3.connect(tmp_path / "s")
    other.execute("DROP TABLE state")
    other.close()
    assert await asked(state.set, CHAT, b"x") == "storage"
    assert "no such table" in log.lines[0]
    await state.close()


async def test_what_is_no_database_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"this is not a database, and long enough to be seen as none" * 20)
    with pytest.raises(StateError, match="not a database: make it readable"):
        State(tmp_path / "s", 10, Lines())


@pytest.mark.thorough
@pytest.mark.slow
def test_what_was_acknowledged_survives_sigkill_at_five_hundred_random_moments(tmp_path: Path) -> None:
    script = Path(__file__).with_name("power_cut.py")
    ran = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "s"), "500"], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert int(ran.stdout) > 1000, "the writers were killed before they wrote anything"
