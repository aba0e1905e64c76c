"""`guesthouse doctor` beside a running node."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from .conftest import StartNode
from .daemon import run_command
from .packages import package


async def test_a_node_that_runs_is_found_and_left_as_it_is(start: StartNode) -> None:
    node = await start(package("puppet"))
    ran = await node.cli("doctor", "--json")
    found = {item["check"]: item for item in ran.json()}
    assert f"{node.node} runs on {node.home} (pid {node.pid})" in found["node"]["text"]
    assert found["port"] == {
        "check": "port",
        "status": "ok",
        "text": f"{node.url} accepts connections",
        "remedy": "",
    }
    assert found["database"]["status"] == "ok"
    assert "the node's limit" in found["open files"]["text"]
    assert len(await node.ps()) == 3


@pytest.mark.thorough
async def test_a_node_that_does_not_answer_is_found(start: StartNode) -> None:
    node = await start(package("puppet"))
    os.kill(node.pid, signal.SIGSTOP)
    try:
        ran = await node.cli("doctor")
    finally:
        os.kill(node.pid, signal.SIGCONT)
    assert ran.code == 1
    assert f"pid {node.pid} runs on {node.home}, and does not answer" in ran.stdout


async def test_faults_end_it_with_1_and_say_what_to_do(tmp_path: Path) -> None:
    home = tmp_path / "home"
    await asyncio.to_thread(home.mkdir, 0o700)
    await asyncio.to_thread((home / "guesthouse.toml").write_text, "[http]\nprot = 1\n")
    ran = await run_command(home, "doctor", "--home", home)
    assert ran.code == 1
    assert "did you mean http.port?" in ran.stdout
    assert "→ fix it" in ran.stdout
    assert "\x1b" not in ran.stdout
