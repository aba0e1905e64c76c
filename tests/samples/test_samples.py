"""The samples as a client sees them, all in one real node."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.e2e.packages import ROOT, package
from tests.rust import missing_rust, needs_cargo

from guesthouse.testing import Refused, TestChannel, TestNode

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAMPLES = ROOT / "sample_processes"
CHATS = sorted(
    folder.name
    for folder in SAMPLES.glob("chat*")
    if (folder / "package.toml").is_file() and (folder.name != "chat-go" or shutil.which("go"))
)
"""One chat in every language whose tool chain is there: the same page is for all of them."""
OTHERS = ("counter", "duo", "echo", "extension-demo", "notes", "seed-chat")
NOW = 1_900_000_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[TestNode]:
    built = (name for name in (*CHATS, *OTHERS) if not (is_rust(name) and missing_rust()))
    async with TestNode(*(package(name) for name in built), now=NOW) as node:
        yield node


def is_rust(name: str) -> bool:
    return (SAMPLES / name / "Cargo.toml").is_file()


def of(name: str) -> str:
    return f"{name}:{name}:guesthouse.os"


@pytest.fixture(params=CHATS)
async def chat(request: pytest.FixtureRequest, node: TestNode) -> str:
    """The process of a chat, with nobody in it and nothing said."""
    if is_rust(request.param):
        needs_cargo()
    process = of(request.param)
    await node.restart(process)
    return process


async def told(channel: TestChannel, *types: str) -> list[dict[str, Any]]:
    """What it was told of these types since the last time."""
    messages = [json.loads(message) for message in await channel.receive_all()]
    return [message for message in messages if not types or message["type"] in types]


async def enter(node: TestNode, chat: str, name: str) -> TestChannel:
    channel = await node.connect(chat)
    await channel.send_json({"type": "name", "name": name})
    return channel


async def test_everyone_hears_what_anyone_says_and_newcomers_what_was_said(node: TestNode, chat: str) -> None:
    async with await enter(node, chat, "Ada") as ada, await enter(node, chat, "Ben") as ben:
        for person, text in ((ada, "one"), (ben, "two")):
            await person.send_json({"type": "say", "text": text})
            await node.settle()
        for person in (ada, ben):
            said = await told(person, "said")
            assert [(each["name"], each["text"]) for each in said] == [("Ada", "one"), ("Ben", "two")]
            assert all(abs(each["at"] - node.now.timestamp()) <= 1 for each in said)
        async with node.connect(f"{chat}/") as cleo:
            (welcome,) = await told(cleo)
            assert (welcome["type"], welcome["name"], welcome["people"]) == (
                "welcome",
                "guest",
                ["Ada", "Ben"],
            )
            assert [each["text"] for each in welcome["history"]] == ["one", "two"]


async def test_names_are_unique_and_who_comes_and_goes_is_told(node: TestNode, chat: str) -> None:
    async with await enter(node, chat, "Ada") as ada:
        assert [each["name"] for each in await told(ada) if each["type"] in ("named", "joined")] == [
            "Ada",
            "Ada",
        ]
        async with await enter(node, chat, "ada") as other:
            assert [each["name"] for each in await told(other, "named")] == ["ada 2"]
            await other.send_json({"type": "name", "name": "Ben"})
            await node.settle()
        changes = [(each["type"], each["people"]) for each in await told(ada, "joined", "renamed", "left")]
        assert changes == [
            ("joined", ["Ada", "ada 2"]),
            ("renamed", ["Ada", "Ben"]),
            ("left", ["Ada"]),
        ]


async def test_what_breaks_a_rule_is_told_to_its_sender_alone(node: TestNode, chat: str) -> None:
    async with await enter(node, chat, "Ada") as ada, await enter(node, chat, "Ben") as ben:
        await told(ben)
        for message in (
            "{",
            "[]",
            '" "',
            json.dumps("x" * 2001),
            '{"type": "name", "name": "a\\u202eb"}',
            b"\xff",
        ):
            await ada.send(message)
        assert len(await told(ada, "error")) == 6
        assert await told(ben) == []
        assert await node.logs(chat, level="error") == []


@pytest.mark.parametrize("message", ["hi", "", "grüß dich 🌍", b"", b"\x00\xff", "x" * 100_000])
async def test_echo_gives_back_what_it_is_sent(node: TestNode, message: str | bytes) -> None:
    async with node.connect(f"{of('echo')}/public", logged_in=False) as channel:
        await channel.send(message)
        assert await channel.receive() == message
    with pytest.raises(Refused, match="401"):
        await node.connect(f"{of('echo')}/", logged_in=False)


async def test_the_counter_tells_all_and_is_restarted_with_its_count(node: TestNode) -> None:
    counter = of("counter")
    async with node.connect(counter) as one, node.connect(counter) as other:
        before = int(await one.receive())
        await one.send("+")
        await node.settle()
        await node.kill(counter)
        await one.send("+")
        expected = [str(before + step) for step in (1, 1, 2)]
        assert await one.receive_all() == expected
        assert await other.receive_all() == [str(before), *expected]
        assert (await node.http("GET", f"{counter}/count")).text == f"{before + 2}\n"


async def test_a_note_vanishes_when_its_time_has_passed(node: TestNode) -> None:
    notes = of("notes")
    async with node.connect(notes) as watcher:
        await watcher.send_json({"type": "watch", "name": "a"})
        for note in ({"text": "é"}, {"text": "short", "seconds": 60}):
            assert (await node.http("PUT", f"{notes}/notes/a", json=note)).status == 200
        assert [each["text"] for each in await told(watcher)] == [None, "é", "short"]
        assert (await node.http("GET", f"{notes}/notes")).json() == ["a"]
        await node.restart(notes)  # its timer outlives it
        await watcher.send_json({"type": "watch", "name": "a"})
        await node.advance(59)
        assert [each["text"] for each in await told(watcher)] == ["short"]
        await node.advance(1)
        assert [each["text"] for each in await told(watcher)] == [None]
        assert (await node.http("GET", f"{notes}/notes/a")).status == 404
        wrong = await node.http("PUT", f"{notes}/notes/a", json={"txt": 1})
        assert wrong.json() == {"error": "txt: there is no such field"}
        answer = await node.http("POST", f"{notes}/notes/a")
        assert (answer.status, answer.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS, PUT")


async def test_duo_shows_who_is_here_and_that_the_other_node_is_not_there(node: TestNode) -> None:
    async with node.connect(of("duo")) as ada, node.connect(f"{of('duo')}/") as ben:
        await ada.send_json({"type": "meet", "node": "two.os"})
        await ada.send_json({"type": "name", "name": "Ada"})
        await ben.send_json({"type": "name", "name": "Ben"})
        for channel in (ada, ben):
            shown = (await told(channel, "people"))[-1]
            assert (shown["here"]["names"], shown["there"]) == (
                ["Ada", "Ben"],
                {"node": "two.os", "names": None},
            )
        assert (await node.http("GET", f"{of('duo')}/")).status == 200


async def test_the_seed_chat_pushes_to_all(node: TestNode) -> None:
    seed = of("seed-chat")
    async with node.connect(seed) as one, node.connect(f"{seed}/") as other:
        name = "guesthouse.os"
        await one.send(json.dumps({"Send": {"target": name, "message": "hi"}}).encode())
        for channel in (one, other):
            assert await channel.receive_json() == {"NewMessage": {"author": name, "content": "hi"}}


@pytest.mark.thorough
async def test_the_side_car_answers_what_no_component_can_know(node: TestNode) -> None:
    demo = of("extension-demo")
    sidecar = [sys.executable, str(SAMPLES / "extension-demo/sidecar.py"), node.url.replace("http", "ws", 1)]
    async with node.connect(f"{demo}/") as client:
        await client.send("machine")
        assert await client.receive_json() == {"error": "the side-car is not connected"}
        process = await _started(*sidecar, "--home", str(node.home), "--seconds", "3600")
        try:
            await client.send("machine")
            answers = [await client.receive_json() for _ in range(2)]  # and the first report
            assert {"machine": os.uname().machine, "pid": process.pid} in answers
        finally:
            process.terminate()
            await process.wait()


async def _started(*command: str | Path) -> Any:
    """The side-car, once it is connected."""
    from asyncio import create_subprocess_exec, subprocess

    process = await create_subprocess_exec(*map(str, command), stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"connected\n"
    return process
