"""Applications of the Kinode OS, of every version of its interface, on a real node."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.certificates import TRUSTS_NOBODY
from tests.tiers import thorough_but
from websockets.asyncio.client import connect

from .clients import SECONDS, Client, bound, registered
from .conftest import StartNode
from .daemon import NODE, Daemon
from .kinode_guests import ERAS, Era, build_package
from .waiting import until

pytestmark = pytest.mark.parametrize("era", thorough_but(ERAS, ERAS[-1]), ids=[era.name for era in ERAS])


@pytest.fixture(scope="session")
def package_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Era], Path]:
    """Builds the application of an era, once."""
    built: dict[Era, Path] = {}

    def package_of(era: Era) -> Path:
        if era not in built:
            built[era] = build_package(era, tmp_path_factory.mktemp(era.name))
        return built[era]

    return package_of


async def welcome(client: Client) -> dict[str, Any]:
    """What the game says first to a channel."""
    said: dict[str, Any] = await client.json()
    assert said["kind"] == "welcome", said
    return said


async def test_a_game_runs_as_it_is(start: StartNode, package_of: Callable[[Era], Path], era: Era) -> None:
    node = await start(package_of(era))
    token = await node.token()
    assert set(await node.ps()) == {era.process, era.process.replace("game:", "referee:", 1)}
    async with bound(node, era.process, "/", token) as one, registered(node, era.process, token) as two:
        said = await welcome(one)
        event = said["event"]["WebSocketOpen"]
        assert (said["moves"], event["path"]) == (0, "/")
        assert set(event) == {"path", "channel_id", "source_socket_addr", "forwarded_for"}
        assert (await welcome(two))["event"]["WebSocketOpen"]["channel_id"] == two.channel_id
        await two.send("e4")
        update = {"kind": "game_update", "data": {"move": "e4", "moves": 1}}
        assert [await one.json(), await two.json()] == [update, update]
        await one.send(b"e5")
        assert (await one.json())["data"] == (await two.json())["data"] == {"move": "e5", "moves": 2}
        await one.send("cheat")
        assert await one.json() == await two.json() == {"kind": "refused"}
    await node.no_channels()
    assert await moves(node, era, token) == 2


async def test_a_game_hears_of_its_channels_in_json(
    start: StartNode, package_of: Callable[[Era], Path], era: Era
) -> None:
    node = await start(package_of(era), settings={"http_trusted_proxies": "127.0.0.1"})
    token = await node.token()
    async with bound(node, era.process, "/", token) as stays:
        await welcome(stays)
        forwarded = {"X-Forwarded-For": "203.0.113.9"}
        async with bound(node, era.process, "/tables/7?side=white", token, **forwarded) as client:
            opened = (await welcome(client))["event"]["WebSocketOpen"]
            channel = opened["channel_id"]
            assert (opened["path"], opened["forwarded_for"]) == ("/tables/7", "203.0.113.9")
            assert (opened["url_params"], opened["query_params"]) == ({"table": "7"}, {"side": "white"})
            await client.send("event")
            await client.send(b"event")
            await client.socket.ping(b"event")
            await client.socket.pong(b"event")
            for kind in ("Text", "Binary", "Ping", "Pong"):
                event = {"WebSocketPush": {"channel_id": channel, "message_type": kind}}
                assert await client.json() == {"kind": "event", "event": event}
            await client.socket.close(4001, "bye")
        frame = {"WebSocketPush": {"channel_id": channel, "message_type": "Close"}}
        assert await stays.json() == {"kind": "said bye", "event": frame}
        assert await stays.json() == {"kind": "left", "event": {"WebSocketClose": channel}}
        async with bound(node, era.process, "/", token) as client:
            gone = (await welcome(client))["event"]["WebSocketOpen"]["channel_id"]
            client.socket.transport.abort()
        assert await stays.json() == {"kind": "left", "event": {"WebSocketClose": gone}}
    url = f"{node.ws_url}/{era.process}/tables/8"
    cookie = {"Cookie": f"{node.cookie_name}={token}"}
    async with connect(url, subprotocols=["v2", "v1"], additional_headers=cookie, proxy=None) as socket:  # type: ignore[list-item] # plain text
        assert json.loads(await socket.recv())["event"]["WebSocketOpen"]["subprotocol"] == "v1"


async def moves(node: Daemon, era: Era, token: str) -> int:
    """How many moves the game says there were, over HTTP."""
    answer = await node.get(f"/{era.process}/moves/anna", token)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    count: int = answer.json()["moves"]
    return count


async def test_a_game_answers_http(start: StartNode, package_of: Callable[[Era], Path], era: Era) -> None:
    node = await start(package_of(era))
    token = await node.token()
    answer = await node.get(f"/{era.process}/moves/anna/?side=white&side=black", token, accept="text/x-moves")
    event = answer.json()["event"]["Http"]
    assert event["method"] == "GET"
    assert event["url"] == f"http://127.0.0.1/{era.process}/moves/anna"
    assert event["bound_path"] == f"/{era.process}/moves/:player"
    assert event["url_params"] == {"player": "anna"}
    assert event["query_params"] == {"side": "black"}
    assert event["headers"]["accept"] == "text/x-moves"
    assert "cookie" not in event["headers"]
    assert event["source_socket_addr"].startswith("127.0.0.1:")

    async with bound(node, era.process, "/", token) as client:
        await welcome(client)
        assert await post(node, era, token, "d4") == (201, {"legal": True})
        assert (await client.json())["data"] == {"move": "d4", "moves": 1}
        assert await post(node, era, token, "cheat") == (400, {"legal": False})
    handed_on = await ask(node, era, token, "PUT", "the body")
    assert (handed_on.status_code, handed_on.headers["x-answered-by"]) == (203, "referee")
    assert handed_on.text == "the body"
    assert (await node.get(f"/{era.process}/moves/anna")).status_code in (302, 303, 401, 403)


async def post(node: Daemon, era: Era, token: str, move: str) -> tuple[int, Any]:
    """Make a move over HTTP."""
    answer = await ask(node, era, token, "POST", move)
    return answer.status_code, answer.json()


async def ask(node: Daemon, era: Era, token: str, method: str, body: str) -> httpx.Response:
    """Ask something of the game's path over HTTP."""
    headers = {"Cookie": f"{node.cookie_name}={token}", "Origin": node.url}
    url = f"{node.url}/{era.process}/moves/anna"
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY, trust_env=False, timeout=SECONDS) as client:
        return await client.request(method, url, content=body, headers=headers)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_game_serves_its_pages(
    shared: StartNode, package_of: Callable[[Era], Path], era: Era
) -> None:
    node = await shared(package_of(era))
    token = await node.token()
    page = await node.get(f"/{era.process}/", token)
    assert (page.status_code, "<title>Game</title>" in page.text) == (200, True)
    script = await node.get(f"/{era.process}/game.js", token)
    assert (script.status_code, script.text) == (200, "// the page's own script\n")
    rules = await node.get(f"/{era.process}/rules", token)
    assert (rules.status_code, rules.text) == (200, "<h1>One move each</h1>")
    assert rules.headers["content-type"].startswith("text/html")
    read = await node.get(f"/{era.process}/page", token)
    assert (read.status_code, read.text) == (200, page.text)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_game_knows_time_randomness_and_itself(
    shared: StartNode, package_of: Callable[[Era], Path], era: Era
) -> None:
    node = await shared(package_of(era))
    async with bound(node, era.process, "/", await node.token()) as client:
        await welcome(client)
        await client.send("about")
        first = await client.json()
        await client.send("about")
        second = await client.json()
    assert first["our"] == f"{NODE}@{era.process}"
    assert first["seconds"] > 1_700_000_000
    assert first["random"] != second["random"]
    assert first["clock"] < second["clock"]
    assert (first["random_bytes"], first["on_exit"]) == (16, 1)
    for held in (["http-server", "messaging"], ["vfs", "messaging"], ["vfs", {"root": True}]):
        assert held in first["capabilities"]
    await node.log_line(era.process, f"begin as {NODE}@{era.process}")


@pytest.mark.asyncio(loop_scope="module")
async def test_what_cannot_be_sent_comes_back_whole(
    shared: StartNode, package_of: Callable[[Era], Path], era: Era
) -> None:
    node = await shared(package_of(era))
    async with bound(node, era.process, "/", await node.token()) as client:
        await welcome(client)
        await client.send("nobody")
        failure = await client.json()
    expected = {"kind": "failure", "timeout": 1, "context": "nobody", "sent": "nobody", "blob": "nobody"}
    assert failure == expected | ({"target": "nobody"} if era.order >= 10 else {})


async def test_a_game_that_crashes_goes_on_with_its_state_and_its_channels(
    start: StartNode, package_of: Callable[[Era], Path], era: Era
) -> None:
    node = await start(package_of(era))
    token = await node.token()
    async with bound(node, era.process, "/", token) as client:
        await welcome(client)
        await client.send("e4")
        assert (await client.json())["data"]["moves"] == 1
        await client.send("crash")
        again = await welcome(client)
        assert (again["moves"], again["event"]["WebSocketOpen"]["resumed"]) == (1, True)
        await client.send("e5")
        assert (await client.json())["data"] == {"move": "e5", "moves": 2}
        await client.send("bye")
        assert (await client.closed())[0] == 1000
    assert (await node.ps())[era.process]["state"] == "running"


async def test_state_outlives_the_node_until_it_is_cleared(
    start: StartNode, package_of: Callable[[Era], Path], era: Era, new_home: Callable[[], Path]
) -> None:
    home = new_home()
    node = await start(package_of(era), home=home)
    token = await node.token()
    assert (await post(node, era, token, "e4"))[0] == 201
    await node.terminate()

    node = await start(package_of(era), home=home)
    token = await node.token()
    assert await moves(node, era, token) == 1
    async with bound(node, era.process, "/", token) as client:
        await welcome(client)
        await client.send("forget")

        async def count() -> int:
            return await moves(node, era, token)

        await until(count, lambda left: left == 0, "the state was not cleared")


async def test_a_zip_of_the_package_runs_too(
    start: StartNode, package_of: Callable[[Era], Path], era: Era, tmp_path: Path
) -> None:
    archive = shutil.make_archive(str(tmp_path / era.name), "zip", package_of(era))
    node = await start(Path(archive))
    async with bound(node, era.process, "/", await node.token()) as client:
        await welcome(client)
        await client.send("e4")
        assert (await client.json())["kind"] == "game_update"


async def test_a_game_spawns_a_process_from_its_package(
    start: StartNode, package_of: Callable[[Era], Path], era: Era
) -> None:
    node = await start(package_of(era))
    async with bound(node, era.process, "/", await node.token()) as client:
        await welcome(client)
        await client.send("hire")
        assert await client.json() == {"kind": "hired", "error": 0, "answer": {"legal": True}}
        assert await client.json() == {"kind": "hired", "error": 1}  # name-taken
        assert await client.json() == {"kind": "hired", "error": 2}  # no-file-at-path
    assert f"second-referee:{era.name}:test.os" in await node.ps()
