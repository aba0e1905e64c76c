"""Rooms and requests over channels: the Python SDK in real nodes, real components."""

from __future__ import annotations

import json
import shutil
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from tests.clients.javascript_runs import run_script
from tests.resume_client import ResumableClient

from guesthouse_client import RequestFailed, connect

from .clients import Client, bound
from .conftest import StartNode
from .daemon import Daemon
from .packages import package

LOUNGE = "lounge:lounge:test.os"


def entering(node: Daemon, name: str, room: str = "red") -> AbstractAsyncContextManager[Client]:
    return bound(node, LOUNGE, f"/rooms/{room}?name={name}")


async def ask(client: Client, number: int, body: object) -> object:
    """The answer to a request that is the next message."""
    await client.send(json.dumps({"request": number, "body": body}, separators=(",", ":")))
    return await client.json()


async def test_members_of_a_room_hear_what_others_say_and_who_comes_and_goes(start: StartNode) -> None:
    node = await start("lounge")
    async with entering(node, "Ada") as ada, entering(node, "Zoe", "blue") as zoe:
        assert await ada.json() == {"joined": ["Ada"]}
        assert await zoe.json() == {"joined": ["Zoe"]}
        async with entering(node, "Ben") as ben, entering(node, "Cy") as cy:
            for client in (ada, ben):
                assert await client.json() == {"joined": ["Ben"]}
                assert await client.json() == {"joined": ["Cy"]}
            assert await cy.json() == {"joined": ["Cy"]}
            await ben.send("hello")
            await cy.send(b"\xff")
            assert (await ada.receive(), await ada.receive()) == ("hello", b"\xff")
            assert (await ben.receive(), await cy.receive()) == (b"\xff", "hello")
            await ben.send(json.dumps({"request": 1, "body": {"name": "Bea"}}, separators=(",", ":")))
            assert await ben.json() == {"updated": [["Ben", "Bea"]]}
            assert await ben.json() == {"response": 1, "body": False}
            assert await ada.json() == {"updated": [["Ben", "Bea"]]}
        left = [*(await ada.json())["left"], *(await ada.json())["left"]]
        assert sorted(left) == ["Bea", "Cy"]
        assert await ask(ada, 2, "people") == {"response": 2, "body": ["Ada"]}
        assert await ask(zoe, 1, "people") == {"response": 1, "body": ["Zoe"]}


async def test_members_hear_who_is_away_and_back_also_after_a_restart(start: StartNode) -> None:
    node = await start("lounge", settings={"restart_first_delay": 0})
    url = f"{node.ws_url}/{LOUNGE}/rooms/red?name=Ben"
    async with entering(node, "Ada") as ada:
        assert await ada.json() == {"joined": ["Ada"]}
        async with ResumableClient(url) as ben:
            assert await ada.json() == {"joined": ["Ben"]}
            for _ in range(2):
                ben.cut()
                assert await ada.json() == {"away": "Ben"}
                assert (await ask(ada, 1, "people")) == {"response": 1, "body": ["Ada"]}
                await ben.resume()
                assert await ada.json() == {"back": "Ben"}
            ben.cut()
            assert await ada.json() == {"away": "Ben"}
            await node.ask("restart", process=LOUNGE)
            joined = [await ada.json(), await ada.json(), await ada.json()]
            assert joined == [{"joined": ["Ada"]}, {"joined": ["Ben"]}, {"away": "Ben"}]
            await ben.resume()
            assert await ada.json() == {"back": "Ben"}
        assert await ada.json() == {"left": ["Ben"]}


async def test_those_whom_the_process_closes_leave_by_one_change(start: StartNode) -> None:
    node = await start("lounge")
    async with entering(node, "Ada") as ada, entering(node, "Ben") as ben, entering(node, "Cy") as cy:
        for name in ("Ada", "Ben", "Cy"):
            assert await ada.json() == {"joined": [name]}
        await ada.send('{"request":1,"body":{"close":["Ben","Cy"]}}')
        assert await ada.json() == {"left": ["Ben", "Cy"]}
        assert await ada.json() == {"response": 1, "body": 2}
        assert await ben.closed() == (4000, "asked for")
        assert await cy.closed() == (4000, "asked for")


@pytest.mark.thorough
async def test_a_restarted_process_and_another_version_have_those_who_are_still_there(
    start: StartNode, tmp_path: Path
) -> None:
    node = await start()
    await node.install(package("lounge"), yes=True)
    async with entering(node, "Ada") as ada, entering(node, "Ben") as ben:
        assert await ada.json() == {"joined": ["Ada"]}
        for client in (ada, ben):
            assert await client.json() == {"joined": ["Ben"]}
        await ben.send('{"request":1,"body":"end"}')
        await joined_again(ada, ben)

        folder = shutil.copytree(package("lounge"), tmp_path / "lounge")
        manifest = folder / "package.toml"
        manifest.write_text(manifest.read_text().replace('version = "0.1.0"', 'version = "0.2.0"'))
        upgraded = await node.cli("install", folder, "--yes")
        assert upgraded.code == 0, upgraded.stderr
        (listed,) = await node.ask("ps")
        assert listed["version"] == "0.2.0"
        await joined_again(ada, ben)

        await ada.socket.close()
        assert await ben.json() == {"left": ["Ada"]}
        assert await ask(ben, 2, "people") == {"response": 2, "body": ["Ben"]}


async def joined_again(ada: Client, ben: Client) -> None:
    """Both joined the room of a new run, before anything else."""
    for name, client in (("Ada", ada), ("Ben", ben)):
        await client.send('{"request":9,"body":"people"}')
        joined: list[str] = []
        while "response" not in (message := await client.json()):
            joined += message["joined"]
        assert name in joined
        assert sorted(message["body"]) == ["Ada", "Ben"]


async def test_both_clients_are_answered_by_the_python_sdk(start: StartNode) -> None:
    node = await start("lounge")
    options = {"url": node.url, "process": LOUNGE, "path": "/rooms/red?name=js"}
    questions = ["people", "refuse", "fail", {"name": "other"}, "people"]
    assert await run_script("asks.mjs", {"options": options, "questions": questions}) == [
        {"body": ["js"]},
        {"error": "RequestFailed: as asked"},
        {"error": "RequestFailed: the process failed to answer"},
        {"body": False},
        {"body": ["other"]},
    ]
    await node.log_line(LOUNGE, "on_channel_request failed", "ValueError: no such request")
    async with connect(node.url, process=LOUNGE, path="/rooms/blue?name=py", proxy=None) as channel:
        assert await channel.request("people") == ["py"]
        with pytest.raises(RequestFailed, match="as asked"):
            await channel.request("refuse")
        assert json.loads(await channel.recv()) == {"joined": ["py"]}
