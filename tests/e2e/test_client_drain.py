"""`guesthouse drain`: clients go elsewhere, a few at a time and each told so, and the node ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from tests.certificates import TRUSTS_NOBODY
from tests.patience import PATIENCE
from tests.resume_client import ResumableClient, control
from websockets.exceptions import InvalidStatus

from .clients import ECHO_C, RECORDER, bare, bound, close_of, register_message, registered
from .conftest import StartNode
from .daemon import Daemon, Ran
from .protocol_forms import PUSHER
from .test_monitoring import MONITORED, listener
from .test_resume import cut_and_be_away, resumable
from .waiting import until

CLIENTS = 200
RATE = 100.0
TOLD = (1012, "the node is being drained: connect again")
LATER = "the node is being drained: try another, or later"
MANY: dict[str, object] = {**MONITORED, "connections_per_address": 1024}


@asynccontextmanager
async def channels(daemon: Daemon, count: int) -> AsyncIterator[Sequence[Any]]:
    """So many open channels: every third is resumable, the others are not."""
    token = await daemon.token()
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                resumable(daemon, ECHO_C, token) if number % 3 == 0 else registered(daemon, ECHO_C, token)
            )
            for number in range(count)
        ]


async def drain_status(daemon: Daemon) -> dict[str, Any]:
    (node,) = await daemon.ask("node")
    status: dict[str, Any] = node["drain"]
    return status


async def in_state(daemon: Daemon, state: str) -> dict[str, Any]:
    return await until(
        lambda: drain_status(daemon), lambda status: status["state"] == state, f"the drain is {state}"
    )


async def readiness(url: str) -> tuple[int, list[str]]:
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY, trust_env=False) as http:
        answer = await http.get(f"{url}/readyz")
    return answer.status_code, answer.json()["reasons"]


async def refused_upgrade(daemon: Daemon) -> httpx.Response:
    """What a client meets that would open a WebSocket."""
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    upgrade["Sec-WebSocket-Key"] = "AAAAAAAAAAAAAAAAAAAAAA=="
    return await daemon.get("/", **upgrade)


async def test_all_clients_are_told_at_their_rate_and_no_new_one_is_let_in(start: StartNode) -> None:
    daemon = await start("echo-c", settings=MANY)
    url, loop = await listener(daemon), asyncio.get_running_loop()
    async with (
        channels(daemon, CLIENTS) as clients,
        httpx.AsyncClient(verify=TRUSTS_NOBODY, base_url=daemon.url) as kept_alive,
    ):
        assert "Connection" not in (await kept_alive.get("/login")).headers
        assert (await readiness(url))[0] == 200
        told: list[float] = []

        async def read_to_the_end(client: Any) -> None:
            assert await client.closed() == TOLD
            told.append(loop.time())

        async with asyncio.TaskGroup() as tasks:
            for client in clients:
                tasks.create_task(read_to_the_end(client))
            begun = loop.time()
            tasks.create_task(daemon.cli("drain", "--stay", "--rate", str(RATE)))
            await in_state(daemon, "draining")
            assert await readiness(url) == (503, ["it is being drained"])
            for _ in range(3):  # whoever comes back at once
                refused = await refused_upgrade(daemon)
                assert (refused.status_code, refused.text) == (503, LATER + "\n")
                assert refused.headers["Retry-After"] == "5"
            answered = await kept_alive.get("/login")
            drained = (await drain_status(daemon))["state"] == "drained"
            assert answered.status_code == 503 if drained else 200
            assert answered.headers["Connection"] == "close", "the next request may go elsewhere"
        for number, moment in enumerate(sorted(told)):
            assert number <= 1 + RATE * (moment - begun), "faster than it may be"
        assert (await drain_status(daemon)) | {"left_seconds": 0} == {
            "state": "drained",
            "channels": 0,
            "told": CLIENTS,
            "left_seconds": 0,
        }
        answer = await daemon.get("/login")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        shown = await daemon.cli("ps")
        assert f"is drained: 0 channels are open, {CLIENTS} clients were told to go" in shown.stderr
        assert (await daemon.ps())[ECHO_C]["state"] == "running", "processes go on"


@pytest.mark.thorough
async def test_a_drain_that_is_cancelled_leaves_the_others_where_they_are(start: StartNode) -> None:
    daemon = await start("echo-c", settings=MANY)
    url, token = await listener(daemon), await daemon.token()
    async with channels(daemon, CLIENTS) as clients:
        draining = asyncio.create_task(daemon.cli("drain", "--rate", "20"))
        await until(lambda: drain_status(daemon), lambda now: now["told"] >= 5, "some are told")
        cancelled = await daemon.cli("drain", "--cancel")
        assert "takes clients" in cancelled.stderr
        ended: Ran = await draining
        assert ended.code == 1
        assert "the drain was cancelled" in ended.stderr
        assert await readiness(url) == (200, [])
        left = await daemon.channels()
        assert 0 < len(left) < CLIENTS
        ids = {each["channel_id"] for each in left}
        told = 0
        for client in clients:
            channel_id = (
                client.session.channel_id if isinstance(client, ResumableClient) else client.channel_id
            )
            if channel_id in ids:
                await client.send("still here")
                assert await client.receive() == "still here"
            else:
                assert await client.closed() == TOLD
                told += 1
        assert told == CLIENTS - len(left)
        async with registered(daemon, ECHO_C, token) as newcomer:
            assert await newcomer.ask("hello") == "hello"
    again = await daemon.cli("drain", "--cancel")
    assert (again.code, "is not being drained" in again.stderr) == (1, True)


async def test_the_node_ends_once_it_is_empty(start: StartNode) -> None:
    daemon = await start("recorder")
    async with bound(daemon, RECORDER, "/open") as client:
        await client.send(json.dumps({"sleep": 0.3}))

        async def taken() -> bool:
            return bool((await daemon.channels())[0]["messages_in"] == 1)

        await until(taken, bool, "it is there")
        drained = await daemon.cli("drain", "--json")
        assert await client.closed() == TOLD
    assert drained.json() | {"left_seconds": 0} == {
        "state": "ended",
        "channels": 0,
        "told": 1,
        "left_seconds": 0,
    }
    assert await daemon.ended() == 0


@pytest.mark.thorough
async def test_at_the_deadline_the_rest_is_told_at_once_and_the_node_ends(start: StartNode) -> None:
    daemon = await start("echo-c", settings=MANY)
    async with channels(daemon, 40) as clients:
        async with asyncio.TaskGroup() as tasks:
            ends = [tasks.create_task(client.closed()) for client in clients]
            drained = tasks.create_task(daemon.cli("drain", "--rate", "1", "--seconds", "2"))
        assert {each.result() for each in ends} == {TOLD}
        assert drained.result().code == 0, drained.result().stderr
    assert await daemon.ended() == 0
    log = (daemon.home / "logs/node.jsonl").read_text()
    assert "clients were told at once" in log
    assert "is drained: 40 clients were told to go" in log


@pytest.mark.thorough
async def test_a_request_in_hand_is_answered_before_the_node_ends(start: StartNode) -> None:
    daemon = await start("pusher")
    async with httpx.AsyncClient(
        verify=TRUSTS_NOBODY, base_url=daemon.url, trust_env=False, timeout=PATIENCE
    ) as http:
        before = (await daemon.ps())[PUSHER]["host_calls"]
        async with asyncio.TaskGroup() as tasks:
            slow = tasks.create_task(http.get(f"/{PUSHER}/slow"))  # which is never answered: it has a second

            async def calls() -> object:
                return (await daemon.ps())[PUSHER]["host_calls"]

            await until(calls, lambda now: now != before, "the process has it")
            tasks.create_task(daemon.cli("drain"))
        assert slow.result().status_code == 408, "its own time-out, and not that the node ends"
    assert await daemon.ended() == 0


async def test_during_the_notice_only_readiness_changes(start: StartNode) -> None:
    daemon = await start("echo-c", settings=MANY)
    url, token = await listener(daemon), await daemon.token()
    async with registered(daemon, ECHO_C, token) as client:
        begun = await daemon.cli("drain", "--no-wait", "--notice", "100", "--json")
        assert begun.json()["state"] == "notice"
        assert await readiness(url) == (503, ["it is being drained"])
        async with registered(daemon, ECHO_C, token) as newcomer:
            assert await newcomer.ask("hello") == "hello"
        assert "Connection" not in (await daemon.get("/login")).headers
        assert await client.ask("still here") == "still here"
        await daemon.ask("drain", notice=0, stay=True)  # the same drain, now without
        assert await client.closed() == TOLD
    await in_state(daemon, "drained")
    ended = await daemon.cli("drain")
    assert ended.code == 0, ended.stderr
    assert await daemon.ended() == 0


async def test_who_has_no_channel_yet_is_refused_one(start: StartNode) -> None:
    daemon = await start("echo-c", settings=MANY)
    token = await daemon.token()
    async with (
        bare(daemon) as late,
        registered(daemon, ECHO_C, token),
        resumable(daemon, ECHO_C, token) as away,
    ):
        await cut_and_be_away(daemon, ECHO_C, away)
        opening = await ResumableClient(daemon.ws_url + "/").connect()
        await daemon.ask("drain", rate=0.001, stay=True)
        await in_state(daemon, "draining")
        await late.send(register_message(token, ECHO_C))
        assert await close_of(late) == (1013, LATER)
        await opening.send(control(type="open", auth_token=token, target_process=ECHO_C))
        assert await close_of(opening) == (1013, LATER)
        with pytest.raises(InvalidStatus) as refused:
            await away.resume()
        assert refused.value.response.status_code == 503
        await daemon.ask("drain", rate=10_000, stay=True)
        await in_state(daemon, "drained")
        await daemon.ask("drain", cancel=True)
        await away.resume()
        assert await away.closed() == TOLD, "who was away is told when it comes back"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"rate": 0}, "rate is over 0"),
        ({"rate": "fast"}, "Expected `float`"),
        ({"rate": float(10**9)}, "rate is over 0"),
        ({"seconds": 0}, "takes at most"),
        ({"seconds": 5, "notice": 5}, "leaves no time"),
        ({"notice": -1}, "takes at most"),
        ({"stay": 1}, "Expected `bool`"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_what_cannot_be_is_refused(shared: StartNode, given: dict[str, object], reason: str) -> None:
    daemon = await shared("echo-c")
    with pytest.raises(Exception, match=reason):
        await daemon.ask("drain", **given)
    assert (await drain_status(daemon))["state"] == "serving"
