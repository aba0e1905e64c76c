from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

from guesthouse.control.control_client import CommandRefused, NoNode, ask
from guesthouse.control.control_server import REQUEST_BYTES, BadCommand, ControlServer
from guesthouse.core.home import Home


class Commands:
    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def count(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        for number in range(request["to"]):
            yield number

    async def refuse(self, _: Mapping[str, Any]) -> AsyncIterator[Any]:
        yield "first"
        raise BadCommand("not today")

    async def break_down(self, _: Mapping[str, Any]) -> AsyncIterator[Any]:
        yield "first"
        raise ValueError("a defect")

    async def endless(self, _: Mapping[str, Any]) -> AsyncIterator[Any]:
        try:
            yield "begun"
            await asyncio.get_running_loop().create_future()
        finally:
            self.ended.set()


@pytest.fixture
async def commands(tmp_path: Path) -> AsyncIterator[Commands]:
    (tmp_path / "control.sock").write_text("left by a node that was killed")
    commands = Commands()
    by_name = {
        "count": commands.count,
        "refuse": commands.refuse,
        "break": commands.break_down,
        "endless": commands.endless,
    }
    async with ControlServer(Home(tmp_path), by_name):
        yield commands
    assert not (tmp_path / "control.sock").exists()


def asked(tmp_path: Path, command: str, **arguments: Any) -> list[Any]:
    return list(ask(tmp_path, command, **arguments))


async def test_items_come_in_order(commands: Commands, tmp_path: Path) -> None:
    assert await asyncio.to_thread(asked, tmp_path, "count", to=1000) == list(range(1000))


async def test_a_refusal_reaches_the_client_as_its_error(commands: Commands, tmp_path: Path) -> None:
    with pytest.raises(CommandRefused, match="not today"):
        await asyncio.to_thread(asked, tmp_path, "refuse")
    with pytest.raises(CommandRefused, match="has no command 'fly'"):
        await asyncio.to_thread(asked, tmp_path, "fly")


async def test_a_defect_is_told_as_one_and_not_as_the_end_of_the_node(
    commands: Commands, tmp_path: Path
) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    with pytest.raises(CommandRefused, match=r"a bug .*a defect"):
        await asyncio.to_thread(asked, tmp_path, "break")
    assert [str(context["exception"]) for context in told] == ["a defect"]


async def test_an_answer_that_no_node_gives_is_told_as_that(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_unix_server(answer, tmp_path / "control.sock"):
        with pytest.raises(NoNode, match="is not a node of this version"):
            await asyncio.to_thread(asked, tmp_path, "count", to=1)


@pytest.mark.parametrize("reads", [False, True])
async def test_a_node_that_ends_at_once_is_told_as_that(tmp_path: Path, reads: bool) -> None:
    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if reads:
            await reader.read(1)
        writer.transport.abort()  # what was not read resets the connection

    async with await asyncio.start_unix_server(end, tmp_path / "control.sock"):
        with pytest.raises(NoNode, match="stopped before it had answered"):
            await asyncio.to_thread(asked, tmp_path, "count", to=1, padding="x" * 1_000_000)


async def test_a_command_ends_when_its_client_leaves(commands: Commands, tmp_path: Path) -> None:
    def begin_and_leave() -> None:
        items = ask(tmp_path, "endless")
        assert next(items) == "begun"
        items.close()  # type: ignore[attr-defined]

    await asyncio.to_thread(begin_and_leave)
    await commands.ended.wait()


async def leave_in_the_middle(tmp_path: Path) -> list[dict[str, Any]]:
    """What the loop is told while clients leave servers that still have much to say, or fail, or refuse."""
    left, told = asyncio.Event(), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    async def goes_on(_: Mapping[str, Any]) -> AsyncIterator[Any]:
        yield "begun"
        await left.wait()
        for number in range(3):
            yield number

    async def fails(_: Mapping[str, Any]) -> AsyncIterator[Any]:
        yield "begun"
        await left.wait()
        raise BadCommand("not today")

    async with ControlServer(Home(tmp_path), {"goes-on": goes_on, "fails": fails}):
        for command in ("goes-on", "fails"):
            left.clear()
            reader, writer = await asyncio.open_unix_connection(tmp_path / "control.sock")
            writer.write(json.dumps({"command": command}).encode() + b"\n")
            assert json.loads(await reader.readline()) == {"item": "begun"}
            # The turn of the loop that sees the client leave is the one in which its command goes on.
            writer.transport.abort()
            left.set()
            for _ in range(10):
                await asyncio.sleep(0)
    return told


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_client_that_leaves_in_the_middle_of_an_answer_troubles_nobody(
    run: Callable[[Coroutine[Any, Any, list[Any]]], list[Any]], tmp_path: Path
) -> None:
    assert run(leave_in_the_middle(tmp_path)) == []


@pytest.mark.parametrize(
    "sent",
    [
        b"not json\n",
        b"[]\n",
        b"{}\n",
        b"x" * (REQUEST_BYTES + 10) + b"\n",
        b'{"command": 1}\n',
        b"[" * 60_000 + b"\n",
    ],
)
async def test_what_is_no_request_is_answered_and_harms_nobody(
    commands: Commands, tmp_path: Path, sent: bytes
) -> None:
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "control.sock"))
    writer.write(sent)
    answer = json.loads(await reader.readline())
    assert "a control request is" in answer["error"]
    writer.close()
    assert await asyncio.to_thread(asked, tmp_path, "count", to=2) == [0, 1]


async def test_only_the_nodes_user_may_ask(commands: Commands, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "control.sock").stat().st_mode) == 0o600


async def test_a_server_that_ends_ends_its_answers(tmp_path: Path) -> None:
    commands = Commands()
    async with ControlServer(Home(tmp_path), {"endless": commands.endless}):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "control.sock"))
        writer.write(b'{"command": "endless"}\n')
        await reader.readline()
    assert commands.ended.is_set()
    writer.close()


def test_without_a_node_the_client_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(
        NoNode, match=f"no node runs on {tmp_path}: start it with 'guesthouse run --home {tmp_path}'"
    ):
        list(ask(tmp_path, "ps"))
