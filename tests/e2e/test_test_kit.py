"""The test kit `guesthouse.testing`, with real nodes; and that nothing of its clock is in any other node."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from guesthouse.control.control_client import CommandRefused
from guesthouse.testing import ChannelClosed, NodeFailed, NothingCame, Refused, TestNode

from .conftest import StartNode
from .packages import ROOT, package

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLOCKS, MUTE = (f"{name}:clocks:test.os" for name in ("clocks", "mute"))
RECORDER = "recorder:recorder:test.os"
NOW = datetime(2030, 1, 31, 23, 59, 59, tzinfo=UTC)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[TestNode]:
    async with TestNode(package("clocks"), package("echo-c"), package("recorder"), now=NOW) as node:
        yield node


async def test_its_processes_are_those_of_the_manifests(node: TestNode) -> None:
    assert node.processes == (CLOCKS, MUTE, "echo-c:echo-c:guesthouse.os", RECORDER)
    with pytest.raises(ValueError, match="several processes"):
        await node.connect()


async def test_clocks_of_guests_stand_still_until_they_are_moved(node: TestNode) -> None:
    async with node.connect(CLOCKS) as channel:
        await channel.receive()
        seen = []
        for seconds in (0, 86_400.5):
            await node.advance(seconds)
            await channel.send("time")
            seen.append(float(await channel.receive()))
        assert seen[1] - seen[0] == 86_400.5
        assert seen[1] == round(node.now.timestamp(), 3)


async def test_each_run_of_a_process_draws_other_numbers(node: TestNode) -> None:
    drawn = set[str | bytes]()
    for process in (CLOCKS, MUTE, CLOCKS):
        async with node.connect(process) as channel:
            await channel.receive()
            await channel.send("draw")
            drawn.add(await channel.receive())
        await node.restart(process)
    assert len(drawn) == 3


async def test_a_guest_sleeps_until_its_time_has_come(node: TestNode) -> None:
    async with node.connect(CLOCKS) as channel:
        await channel.receive()
        await channel.send("pause 3")
        await node.advance(2.9)
        assert await channel.receive_all() == []
        await node.advance(0.1)
        assert await channel.receive() == "paused 3.000"
    await node.restart(CLOCKS)


@pytest.mark.thorough
async def test_what_does_not_come_is_said_at_once_with_the_log(node: TestNode) -> None:
    async with node.connect(CLOCKS) as channel:
        await channel.receive()
        await channel.send("fail for a reason")
        with pytest.raises(
            NothingCame, match=r"(?s)no message came.*advance.*error.*LookupError: for a reason"
        ):
            await channel.receive()
        with pytest.raises(NothingCame, match="still open"):
            await channel.closed()


async def test_pings_of_a_process_are_no_messages_and_are_not_taken_for_some(node: TestNode) -> None:
    async with node.connect(RECORDER) as channel:
        await channel.send_json({"push": "Ping", "payload": "ff"})
        assert await channel.receive_all() == []
        assert channel.controls == [("Ping", b"\xff")]
        await channel.send_json({"push": "Pong", "payload": ""})
        await channel.send_json({"push": "Text", "payload": "61"})
        assert await channel.receive() == "a"
        with pytest.raises(NothingCame):
            await channel.receive()
        assert channel.controls == [("Ping", b"\xff"), ("Pong", b"")]


async def test_another_task_of_the_test_may_do_what_is_awaited(node: TestNode) -> None:
    async with node.connect("echo-c:echo-c:guesthouse.os/public") as channel:

        async def send_late() -> None:
            await node.settle()
            await channel.send("late")

        received, _ = await asyncio.gather(channel.receive(), send_late())
        assert received == "late"


async def test_a_process_that_ends_says_why(node: TestNode) -> None:
    async with node.connect(CLOCKS) as channel:
        await channel.receive()
        await channel.send("exit with a word")
        assert await channel.receive() == "again"  # it is started again, with the channel
        await channel.send("close now")
        with pytest.raises(
            ChannelClosed, match=r"(?s)closed with 4001 \(now\).*The log of its process:.*runs on"
        ):
            await channel.receive()
        assert channel.left
        with pytest.raises(ChannelClosed):
            await channel.send("more")


async def test_a_killed_process_runs_again_with_its_channels(node: TestNode) -> None:
    async with node.connect(CLOCKS) as channel:
        await node.kill(CLOCKS)
        assert await channel.receive_all() == ["hello", "again"]
        assert any("killed" in line for line in await node.logs(CLOCKS))


async def test_requests_and_refusals(node: TestNode) -> None:
    answer = await node.http("GET", f"{CLOCKS}/hours/1")
    assert (answer.status, answer.text, answer.headers["content-type"]) == (
        200,
        "3600 s",
        "text/plain; charset=utf-8",
    )
    assert await node.request("?", CLOCKS) == b"answer"
    assert await node.request("?", CLOCKS, seconds=None) is None
    assert (await node.http("HEAD", f"{CLOCKS}/hours/1")).body == b""
    with pytest.raises(Refused, match="404"):
        await node.connect(f"{CLOCKS}/nowhere")
    with pytest.raises(ChannelClosed, match="4002"):
        await node.connect(CLOCKS, logged_in=False)


@pytest.mark.thorough
async def test_a_component_that_cannot_run_is_no_upgrade_and_another_version_is(tmp_path: Path) -> None:
    folder = tmp_path / "echo-c"
    shutil.copytree(package("echo-c"), folder)
    async with TestNode(folder) as node:
        channel = await node.connect()
        (folder / "src/echo.c").write_text("int x = ;")
        with pytest.raises(NodeFailed, match=r"(?s)echo-c cannot be built: .*echo\.c:1"):
            await node.upgrade(folder)
        await channel.send("as before")
        assert await channel.receive() == "as before"
        source = (ROOT / "sample_processes/echo-c/src/echo.c").read_text()
        assert "text.value)" in source
        (folder / "src/echo.c").write_text(source.replace("text.value)", 'gh_text("new"))'))
        await node.upgrade(folder)
        await channel.send("?")
        assert await channel.receive() == "new"
        await node.crash()
        assert await channel.closed() == (1006, "")
        async with node.connect("/public", logged_in=False) as again:
            await again.send("?")
            assert await again.receive() == "new"
    assert not node.home.exists()


@pytest.mark.thorough
async def test_what_cannot_be_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(NodeFailed, match=r"package\.toml"):
        async with TestNode(tmp_path):
            pass
    (tmp_path / "x.wasm").write_bytes(b"\0asm")
    with pytest.raises(NodeFailed, match=r"(?s)did not start.*x\.wasm"):
        async with TestNode(tmp_path / "x.wasm"):
            pass
    with pytest.raises(ValueError, match="at least one"):
        TestNode()


@pytest.mark.thorough
async def test_the_clock_of_other_nodes_cannot_be_moved(shared: StartNode) -> None:
    node = await shared("echo-c")
    for command in ("advance", "settle", "replace"):
        with pytest.raises(CommandRefused, match="no command"):
            await node.ask(command, seconds=1)
