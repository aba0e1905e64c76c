"""`guesthouse run --gateways N`: clients notice nothing of gateways, nor of one that is killed but that it closes."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from tests.certificates import self_signed
from tests.patience import PATIENCE
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from .clients import ECHO_C, PAGES, RECORDER, Client, close_of, register_message, registered
from .conftest import StartNode
from .daemon import Daemon
from .dashboard import SERVED, dashboard_url
from .test_channels import events_of
from .test_confinement import descriptors, of_proc, status, variables
from .test_monitoring import MONITORED, listener
from .test_resume import resumable
from .waiting import Subprocess, alive, all_gone, command_line, descendants, until

TWO: Final = ("--gateways", "2")
BIG: Final = "Grüße, 世界: " * 20_000


def subprocesses(daemon: Daemon) -> set[Subprocess]:
    """The node's gateways, as the operating system knows them."""
    found = descendants(daemon.pid)
    return {child for child in found if b"guesthouse.local_gateway" in command_line(child.pid)}


async def gateways(daemon: Daemon) -> list[dict[str, Any]]:
    """The same, as the node does."""
    (node,) = await daemon.ask("node")
    listed: list[dict[str, Any]] = node["gateways"]
    return listed


async def ready(daemon: Daemon) -> list[dict[str, Any]]:
    return await until(
        lambda: gateways(daemon),
        lambda listed: [item["state"] for item in listed] == ["ready", "ready"],
        "both gateways are ready",
    )


async def test_many_clients_are_served_by_all_gateways(start: StartNode) -> None:
    daemon = await start("echo-c", flags=TWO)
    token = await daemon.token()
    before = await ready(daemon)
    assert {item["pid"] for item in before} == {each.pid for each in subprocesses(daemon)}
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                registered(daemon, ECHO_C, token, compression=None if number % 4 == 3 else "deflate")
            )
            for number in range(40)
        ]
        shares = [item["connections"] for item in await gateways(daemon)]
        assert sum(shares) == 40
        assert min(shares) >= 10

        async def talk(client: Client, number: int) -> None:
            for message in (f"{number}", "", BIG, os.urandom(100_000), BIG.encode(), "last"):
                assert await client.ask(message) == message

        await asyncio.gather(*(talk(client, number) for number, client in enumerate(clients)))
    await daemon.no_channels()
    await until(
        lambda: gateways(daemon),
        lambda listed: [item["connections"] for item in listed] == [0, 0],
        "no gateway has a client",
    )
    shown = (await daemon.cli("ps")).stdout
    assert all(f"gateway-{number}" in shown for number in range(2))


async def test_a_gateway_that_is_killed_costs_its_clients_their_channels_and_is_replaced(
    start: StartNode,
) -> None:
    daemon = await start("recorder", "echo-c", flags=TWO)
    token = await daemon.token()
    (first, second) = await ready(daemon)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(registered(daemon, RECORDER, token)) for _ in range(20)]
        lost: set[int] = set()

        async def send_on(client: Client) -> None:
            try:
                while len(lost) < 5:
                    await client.send("news " * 20)
                    await asyncio.sleep(0.05)
            except ConnectionClosed:
                lost.add(client.channel_id)

        async with asyncio.TaskGroup() as tasks:
            for client in clients:
                tasks.create_task(send_on(client))
            os.kill(first["pid"], signal.SIGKILL)
        left = await until(
            lambda: daemon.channels(RECORDER), lambda items: len(items) == 10, "half of the channels are open"
        )
        kept = {item["channel_id"] for item in left}
        assert not kept & lost
        events = await until(
            lambda: events_of(daemon, token),
            lambda events: sum(event["event"] == "close" for event in events) == 10,
            "each lost channel was closed",
        )
        closed = [event["channel"] for event in events if event["event"] == "close"]
        assert sorted(closed) == sorted({client.channel_id for client in clients} - kept)
        again = await ready(daemon)
        assert {item["gateway"]: item["restarts"] for item in again} == {"gateway-0": 1, "gateway-1": 0}
        assert second["pid"] in {item["pid"] for item in again}
        async with registered(daemon, ECHO_C, token) as later, registered(daemon, ECHO_C, token) as last:
            assert [await each.ask(BIG) for each in (later, last)] == [BIG, BIG]
    (line,) = [
        each for each in await daemon.logs() if each["source"] == "gateway-0" and each["level"] == "error"
    ]
    assert "was killed by signal 9" in line["text"]


@pytest.mark.thorough
async def test_a_session_outlives_the_gateway_of_its_socket(start: StartNode) -> None:
    daemon = await start("echo-c", flags=TWO)
    token = await daemon.token()
    listed = await ready(daemon)
    async with resumable(daemon, ECHO_C, token, compression="deflate") as client:
        await client.send("before")
        assert await client.receive() == "before"
        (holder,) = (item for item in await gateways(daemon) if item["connections"])
        os.kill(holder["pid"], signal.SIGKILL)
        await until(
            lambda: daemon.channels(ECHO_C), lambda found: found[0]["away"], "the client is away, and no more"
        )
        await client.resume()
        await client.send(BIG)
        assert await client.receive() == BIG
    assert holder["pid"] in {item["pid"] for item in listed}


@pytest.mark.thorough
async def test_a_gateway_that_hangs_is_replaced(start: StartNode) -> None:
    daemon = await start("echo-c", flags=TWO, settings={"worker_silence_seconds": 2})
    (first, _) = await ready(daemon)
    os.kill(first["pid"], signal.SIGSTOP)
    await daemon.log_line("gateway-0", "was silent for 2 s")
    assert first["pid"] not in {item["pid"] for item in await ready(daemon)}
    async with registered(daemon, ECHO_C, await daemon.token()) as client:
        assert await client.ask("hello") == "hello"


@pytest.mark.thorough
async def test_gateways_end_with_the_node_and_clients_are_told(start: StartNode) -> None:
    daemon = await start("echo-c", flags=TWO)
    token = await daemon.token()
    async with registered(daemon, ECHO_C, token) as one, registered(daemon, ECHO_C, token) as other:
        _, code = await asyncio.gather(
            asyncio.gather(close_of(one.socket), close_of(other.socket)), daemon.terminate()
        )
        assert code == 0
    assert one.socket.close_code == other.socket.close_code == 1001


async def test_gateways_end_with_a_node_that_is_killed(start: StartNode) -> None:
    daemon = await start("echo-c", flags=TWO)
    found = subprocesses(daemon)
    assert len(alive(found)) == 2
    await daemon.kill()
    await all_gone(found)


@pytest.mark.thorough
async def test_clients_of_gateways_are_drained(start: StartNode) -> None:
    daemon = await start("echo-c", flags=TWO)
    token = await daemon.token()
    async with registered(daemon, ECHO_C, token) as one, registered(daemon, ECHO_C, token) as other:
        await daemon.ask("drain", stay=True, rate=100)
        assert {(await each.closed())[0] for each in (one, other)} == {1012}
        with pytest.raises(InvalidStatus, match="503"):
            async with registered(daemon, ECHO_C, token):
                pass


async def test_pages_logins_and_files_are_the_nodes_own(start: StartNode, tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    flags = (*TWO, "--tls-cert", str(cert), "--tls-key", str(key))
    daemon = await start("pages", "echo-c", flags=flags, settings={**MONITORED, **SERVED})
    assert (await daemon.cli("passwd", stdin="correct horse\n")).code == 0
    trust = ssl.create_default_context(cafile=cert)
    token = await daemon.token()
    for _ in range(4):  # by each gateway
        async with httpx.AsyncClient(
            base_url=daemon.url, verify=trust, trust_env=False, timeout=PATIENCE
        ) as client:
            assert (await client.get("/login")).status_code == 200
            login = await client.post("/login", data={"password": "correct horse"})
            assert login.headers["set-cookie"].startswith(f"{daemon.cookie_name}=")
            assert "secure" in login.headers["set-cookie"].lower()
            page = await client.get(f"/{PAGES}/", headers={"Cookie": f"{daemon.cookie_name}={token}"})
            assert page.status_code in (200, 307)
            assert page.headers["strict-transport-security"]
        async with connect(daemon.ws_url, ssl=trust, proxy=None) as socket:
            await socket.send(register_message(token, ECHO_C))
            assert "channel_id" in str(await socket.recv())
            await socket.send(BIG)
            assert await socket.recv() == BIG
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE, verify=trust) as client:
        metrics = (await client.get(f"{await listener(daemon)}/metrics")).text
        assert 'guesthouse_gateway_connections{gateway="gateway-1"}' in metrics
        assert (await client.get(await dashboard_url(daemon))).status_code == 200


@pytest.mark.thorough
async def test_a_new_certificate_is_taken_up(start: StartNode, tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    daemon = await start("echo-c", flags=(*TWO, "--tls-cert", str(cert), "--tls-key", str(key)))
    (tmp_path / "new").mkdir()
    for old, new in zip((cert, key), self_signed(tmp_path / "new"), strict=True):
        new.replace(old)
    os.kill(daemon.pid, signal.SIGHUP)
    trust = ssl.create_default_context(cafile=cert)

    async def taken_up() -> list[bool]:
        found = []
        for _ in range(4):
            try:
                async with connect(daemon.ws_url, ssl=trust, proxy=None):
                    found.append(True)
            except ssl.SSLError:
                found.append(False)
        return found

    await until(taken_up, all, "all gateways have the new certificate")
    cert.write_text("nothing")  # the next is only half written
    killed = {each.pid for each in subprocesses(daemon)}
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    await until(
        lambda: gateways(daemon),
        lambda listed: [each["state"] for each in listed if each["pid"] not in killed] == ["ready"] * 2,
        "the killed gateways are replaced",
    )
    assert all(await taken_up())


async def test_gateways_are_confined_and_have_no_files_but_sockets(start: StartNode) -> None:
    daemon = await start("echo-c", flags=TWO)
    await ready(daemon)
    for each in subprocesses(daemon):
        found = status(each.pid)
        assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
        assert of_proc(each.pid, "oom_score_adj") == "250\n"
        opened = set(descriptors(each.pid))
        assert opened <= {
            "/dev/null",
            "pipe:[N]",
            "socket:[N]",
            "anon_inode:[eventpoll]",
            "anon_inode:[eventfd]",
        }
        assert variables(each.pid) <= {"PYTHONPATH", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONHOME", "TMPDIR"}


@pytest.mark.thorough
async def test_addresses_are_counted_over_all_gateways(start: StartNode) -> None:
    daemon = await start("echo-c", flags=TWO, settings={"connections_per_address": 4})
    token = await daemon.token()
    async with AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(registered(daemon, ECHO_C, token))
        with pytest.raises(InvalidStatus, match="429"):
            await stack.enter_async_context(registered(daemon, ECHO_C, token))


async def test_a_revoked_token_closes_channels_at_all_gateways(start: StartNode) -> None:
    daemon = await start("echo-c", flags=TWO)
    token = await daemon.token()
    async with registered(daemon, ECHO_C, token) as one, registered(daemon, ECHO_C, token) as other:
        await daemon.ask("revoke", token=token)
        assert {(await each.closed())[0] for each in (one, other)} == {1008}
