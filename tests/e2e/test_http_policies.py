"""What a guest can do about clients that do not read; rooms, subprotocols, sub-domains. A real node and component."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import pytest
from tests.patience import Disturbed, tried_again
from tests.tiers import thorough_after
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from .clients import SECONDS, Client, bound
from .conftest import StartNode
from .daemon import Daemon
from .protocol_forms import FORMS, PUSHER, TYPED_ERRORS, Form, Speaker, do

WINDOW = 256 * 1024
SIZE = 8000
MOST = 1000
"""Messages of that size that no outbox and no socket holds."""
SETTINGS = {"connections_outbox_bytes": WINDOW, "connections_close_seconds": 1}


class Idle:
    """A client of a room that reads only when it is told to, with a small receive buffer."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def message(self) -> tuple[int, bytes]:
        async with asyncio.timeout(SECONDS):
            first, second = await self._reader.readexactly(2)
            extra = {126: 2, 127: 8}.get(second, 0)
            size = int.from_bytes(await self._reader.readexactly(extra), "big") if extra else second
            return first & 0x0F, await self._reader.readexactly(size)

    async def number(self) -> int:
        opcode, payload = await self.message()
        assert opcode == 2, (opcode, payload)
        return int.from_bytes(payload[:4], "big")


@asynccontextmanager
async def idle(daemon: Daemon) -> AsyncIterator[tuple[Idle, int]]:
    parts = urlsplit(daemon.url)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (parts.hostname, parts.port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=4096)
    try:
        lines = (
            f"GET /{PUSHER}/rooms/1 HTTP/1.1",
            f"Host: {parts.netloc}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        )
        writer.write("\r\n".join((*lines, "", "")).encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        client = Idle(reader)
        _, channel_id = await client.message()
        yield client, int(channel_id)
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("form", thorough_after(1, FORMS))
async def test_each_policy_does_what_it_says(start: StartNode, form: Form) -> None:
    daemon = await start("pusher", settings=SETTINGS)
    async with bound(daemon, PUSHER, "/control") as control:
        speaker = Speaker(control, form)
        async with idle(daemon) as (_, channel):
            answer = await do(control, "fill", channel=channel, most=10_000, size=SIZE, form=form)
            assert TYPED_ERRORS.get(answer["error"], answer["error"]) == "WsChannelFull"
            assert answer["pushed"] >= WINDOW // (SIZE + 64)
        async with idle(daemon) as (client, channel):
            assert await speaker.policy(channel, "drop-oldest") is None
            answer = await do(control, "fill", channel=channel, most=MOST, size=SIZE, form=form)
            assert answer == {"pushed": MOST, "error": None}
            numbers = [await client.number()]
            while numbers[-1] != MOST - 1:
                numbers.append(await client.number())
            assert numbers == sorted(set(numbers))
            assert len(numbers) < MOST
        async with idle(daemon) as (client, channel):
            assert await speaker.policy(channel, "close") is None
            await do(control, "fill", channel=channel, most=MOST, size=SIZE, form=form)
            while (message := await client.message())[0] == 2:
                pass
            assert message == (8, (1013).to_bytes(2, "big") + b"the client reads too slowly")


@pytest.mark.parametrize(
    ("form", "gone"),
    thorough_after(1, [("wait", "ChannelNotFound"), ("wait_json", "WsChannelNotFound")], names=2),
)
async def test_a_push_that_waits_loses_nothing(start: StartNode, form: str, gone: str) -> None:
    daemon = await start("pusher", settings=SETTINGS)
    async with bound(daemon, PUSHER, "/control") as control, idle(daemon) as (client, channel):
        assert await do(control, "policy", channel=channel, policy="WAIT") == "ok"
        await control.send(json.dumps({"do": form, "channel": channel, "count": 600, "size": SIZE}))
        assert [await client.number() for _ in range(600)] == list(range(600))
        assert await control.json() == "ok"
    async with bound(daemon, PUSHER, "/control") as control:
        async with idle(daemon) as (_, channel):
            await do(control, "policy", channel=channel, policy="WAIT")
            await control.send(json.dumps({"do": form, "channel": channel, "count": 600, "size": SIZE}))
        assert gone in await control.json()


OTHERS = 100
ROUNDS = 20
NOISE = 10.0
"""How much longer something may take than when all is quiet, on a machine that others use too."""


@tried_again
async def test_a_client_that_does_not_read_slows_no_other_channel(start: StartNode) -> None:
    daemon = await start("pusher", settings=SETTINGS)
    async with AsyncExitStack() as stack:
        control = await stack.enter_async_context(bound(daemon, PUSHER, "/control"))
        others = [
            await stack.enter_async_context(bound(daemon, PUSHER, f"/rooms/r{number}"))
            for number in range(OTHERS)
        ]
        for client in others:
            await client.receive()
        quiet = await pace(others)
        _, channel = await stack.enter_async_context(idle(daemon))
        assert await fill(control, channel) == "ChannelFull"
        refused = 0
        async with asyncio.TaskGroup() as tasks:
            talking = tasks.create_task(pace(others))
            while not talking.done():
                assert await fill(control, channel) == "ChannelFull"
                refused += 1
        assert refused > 0
        if talking.result() > NOISE * quiet:
            raise Disturbed(f"they took {talking.result():.2f} s, and {quiet:.2f} s when all was quiet")


async def fill(control: Client, channel: int) -> str | None:
    """Push to a channel until a push is refused; why it was."""
    answer = await do(control, "fill", channel=channel, most=10_000, size=SIZE)
    error: str | None = answer["error"]
    return error


async def pace(clients: Sequence[Client]) -> float:
    """Have all of them talk at once, each in its own time; how many seconds they took."""

    async def talk(number: int, client: Client) -> None:
        for count in range(ROUNDS):
            assert await client.ask(f"{number} {count}") == f"{number} {count}"

    began = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as tasks:
        for number, client in enumerate(clients):
            tasks.create_task(talk(number, client))
    return asyncio.get_running_loop().time() - began


async def test_a_room_is_told_in_one_push_and_subprotocols_are_agreed(start: StartNode) -> None:
    daemon = await start("pusher")
    url = f"{daemon.ws_url}/{PUSHER}/rooms"
    async with (
        bound(daemon, PUSHER, "/control") as control,
        connect(f"{url}/a", subprotocols=["v1", "v2"], proxy=None) as first,  # type: ignore[list-item] # plain text
        connect(f"{url}/b", proxy=None) as second,
    ):
        await first.recv()
        await second.recv()
        assert (first.subprotocol, second.subprotocol) == ("v2", None)
        assert await do(control, "room", path="/rooms/a", text="one") == {}
        assert await do(control, "room", path="/rooms/:room", text="all") == {}
        assert [await first.recv(), await first.recv(), await second.recv()] == ["one", "all", "all"]


async def test_a_secure_path_needs_a_login_on_the_subdomain(start: StartNode) -> None:
    daemon = await start("pusher")
    secure = (await daemon.cli("token", "--process", PUSHER, "--secure")).stdout.strip()
    port = urlsplit(daemon.url).port
    cookie = {"Cookie": f"{daemon.cookie_name}@{PUSHER}={secure}"}

    def opening(host: str) -> connect:
        url = f"ws://{host}:{port}/{PUSHER}/secure"
        return connect(url, host="127.0.0.1", port=port, additional_headers=cookie, proxy=None)

    async with opening("pusher-test-os.localhost"):
        pass
    for host in ("localhost", "echo-guesthouse-os.localhost"):
        with pytest.raises(InvalidStatus) as refused:
            async with opening(host):
                pass
        assert refused.value.response.status_code == 403


async def test_an_http_binding_has_a_time_of_its_own(start: StartNode) -> None:
    daemon = await start("pusher")
    response = await daemon.get(f"/{PUSHER}/slow")
    assert response.status_code == 408
