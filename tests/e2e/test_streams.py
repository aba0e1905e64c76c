"""Whatever whoever starts it has done with the standard streams, a command and a node do what they are for."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from tests.patience import PATIENCE
from tests.tiers import thorough_but

from .daemon import environment, run_command
from .waiting import until

CLOSED = ("<&-", ">&-", "2>&-")
SOME = [" ".join(CLOSED[place] for place in range(3) if mask >> place & 1) for mask in (3, 5, 6, 7)]
COMMAND = f"exec {sys.executable} -m guesthouse"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


async def shell(home: Path, text: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *("sh", "-c", text), stdout=pipe, stderr=pipe, env=environment(home), cwd=home.parent
    )


@pytest.mark.thorough
@pytest.mark.parametrize("closed", thorough_but(SOME, SOME[-1]))
async def test_a_node_runs_with_closed_streams(home: Path, closed: str) -> None:
    node = await shell(home, f"{COMMAND} run --home {home} --port 0 {closed}")
    try:

        async def listed() -> int:
            assert node.returncode is None, await node.communicate()
            return (await run_command(home, "ps", "--home", home)).code

        await until(listed, lambda code: code == 0, "the node answers", 60.0)
        node.send_signal(signal.SIGTERM)
        out, err = await asyncio.wait_for(node.communicate(), PATIENCE)
        assert node.returncode == 0
        assert b"Traceback" not in out + err
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()


@pytest.mark.parametrize("closed", thorough_but(SOME, SOME[-1]))
async def test_a_command_ends_with_closed_streams_as_with_open_ones(home: Path, closed: str) -> None:
    ran = await shell(home, f"{COMMAND} ps --home {home} {closed}")
    out, err = await ran.communicate()
    assert ran.returncode == 1
    assert b"Traceback" not in out + err
    shown = await shell(home, f"{COMMAND} --version {closed}")
    await shown.communicate()
    assert shown.returncode == 0


@pytest.mark.parametrize("arguments", ["--version", "--help", "run --help"])
async def test_a_full_disk_under_standard_output_is_one_line_of_error(home: Path, arguments: str) -> None:
    ran = await shell(home, f"{COMMAND} {arguments} > /dev/full")
    _, err = await ran.communicate()
    assert ran.returncode == 1
    assert err == (
        b"guesthouse: standard output cannot be written (No space left on device): "
        b"make room, or redirect it\n"
    )


async def test_a_full_disk_under_both_outputs_is_an_exit_code(home: Path) -> None:
    ran = await shell(home, f"{COMMAND} --version > /dev/full 2> /dev/full")
    await ran.communicate()
    assert ran.returncode == 1


async def test_a_node_runs_with_standard_output_on_a_full_disk(home: Path) -> None:
    node = await shell(home, f"{COMMAND} run --home {home} --port 0 > /dev/full")
    try:

        async def listed() -> int:
            return (await run_command(home, "ps", "--home", home)).code

        await until(listed, lambda code: code == 0, "the node answers", 60.0)
        node.send_signal(signal.SIGTERM)
        _, err = await asyncio.wait_for(node.communicate(), PATIENCE)
        assert node.returncode == 0
        assert b"Traceback" not in err
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()
