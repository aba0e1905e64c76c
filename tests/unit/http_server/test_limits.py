"""Every limit on connections at its edge: one less, the limit, one more. Time is driven, not waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from tests.patience import PATIENCE
from tests.unit.driven import MOMENT, SECONDS, DrivenLoop, in_driven_time, settled
from websockets.asyncio.client import connect

from guesthouse.core.config import ConnectionLimits, Settings
from guesthouse.http_server.server import HttpServer
from guesthouse.http_server.state.partial_messages import FREE
from guesthouse.http_server.websocket.protocol import MAX_HEAD
from guesthouse.link.credit import PUSH_OVERHEAD

from .conftest import (
    CHAT,
    NODE,
    FakeLog,
    FakeProcess,
    FakeRouter,
    House,
    Start,
    http_path,
    masked,
    read_close,
    until,
)
from .test_channels import closed_with
from .test_encrypted import closed, encrypted
from .test_http import asked, bind
from .test_json_form import ask, push
from .test_register import changed
from .test_resume import away as gone
from .test_resume import client_of, resumable

LIMIT: Final = 1000
"""Of what is counted in bytes."""

OVERS: Final = (-1, 0, 1)

Edge = Callable[[Start, Path, int], Awaitable[None]]


@dataclass
class Clock:
    """The time of one server's deadlines, which stands still until it is told to go on."""

    house: House
    now: float = 1024.0

    def __post_init__(self) -> None:
        self.house.server._context.monotonic = lambda: self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.house.server._context.deadlines.run(self.now)


def is_late(over: int) -> bool:
    return over >= 0


async def with_clock(start: Start, **limits: float) -> tuple[House, Clock]:
    house: House = await start(ConnectionLimits(**limits))  # type: ignore[arg-type] # all of them are numbers
    return house, Clock(house)


async def status_of(house: House, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    writer.write(b"GET /our.js HTTP/1.1\r\nHost: a\r\n\r\n")
    return int((await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)).split(b" ")[1])


async def sockets_at_once(start: Start, over: int, status: int, **limits: int) -> None:
    house: House = await start(ConnectionLimits(**limits))
    idle = [await asyncio.open_connection("127.0.0.1", house.server.port) for _ in range(2 + over)]
    async with house.raw() as (reader, writer):
        assert await status_of(house, reader, writer) == (status if over > 0 else 200)
    for _, writer in idle:
        writer.close()


async def total(start: Start, _: Path, over: int) -> None:
    await sockets_at_once(start, over, 503, total=3)


async def per_address(start: Start, _: Path, over: int) -> None:
    await sockets_at_once(start, over, 429, per_address=3)


async def handshake_seconds(start: Start, home: Path, over: int) -> None:
    house, clock = await with_clock(start, handshake_seconds=SECONDS)
    async with house.raw() as (reader, writer):
        await until(lambda: len(house.server._context.deadlines) == 1)
        clock.pass_by(SECONDS + over * MOMENT)
        if is_late(over):
            assert (await asyncio.wait_for(reader.read(), PATIENCE)).startswith(b"HTTP/1.1 408 ")
        else:
            assert await status_of(house, reader, writer) == 200
    waits = SECONDS + over * MOMENT
    status = await driven(home, waits, ConnectionLimits(handshake_seconds=SECONDS), body_comes=False)
    assert status == (408 if is_late(over) else 200)


async def register_seconds(start: Start, _: Path, over: int) -> None:
    house, clock = await with_clock(start, register_seconds=SECONDS)
    async with connect(house.ws_url + "/", ping_interval=None) as client:
        clock.pass_by(SECONDS + over * MOMENT)
        if is_late(over):
            assert (await closed_with(client))[0] == 4001
        else:
            await client.send(changed(house))
            assert "channel_id" in str(await client.recv())


async def register_bytes(start: Start, _: Path, over: int) -> None:
    house: House = await start(ConnectionLimits(register_bytes=LIMIT))
    message = changed(house, pad="")
    async with connect(house.ws_url + "/", ping_interval=None) as client:
        await client.send(changed(house, pad="x" * (LIMIT + over - len(message))))
        if over > 0:
            assert await closed_with(client) == (1009, "register message too big")
        else:
            assert "channel_id" in str(await client.recv())


async def message_bytes(start: Start, _: Path, over: int) -> None:
    house: House = await start(ConnectionLimits(message_bytes=LIMIT))
    async with house.bound() as (client, event):
        refused = {"Err": "WsMessageTooBig"} if over > 0 else {"Ok": None}
        assert ask(house, push(event.channel_id, "Binary"), b"x" * (LIMIT + over)) == refused
        await client.send(b"x" * (LIMIT + over))
        if over > 0:
            assert await closed_with(client) == (1009, "message too big")
        else:
            assert len((await house.chat.next())[3]) == LIMIT + over


async def fragments(start: Start, _: Path, over: int) -> None:
    house: House = await start(ConnectionLimits(fragments=4))
    async with house.raw_channel() as (reader, writer, _channel):
        writer.write(masked(0x02, b"x") + masked(0x00, b"x") * (2 + over) + masked(0x80, b"x"))
        if over > 0:
            assert await read_close(reader) == (1009, "message has too many fragments")
        else:
            assert (await house.chat.next())[3] == b"x" * (4 + over)


async def outbox_bytes(start: Start, _: Path, over: int) -> None:
    house: House = await start(ConnectionLimits(outbox_bytes=LIMIT))
    async with house.raw_channel() as (_reader, _writer, channel):
        payload = b"x" * (LIMIT - PUSH_OVERHEAD + over)
        refused = {"Err": "WsChannelFull"} if over > 0 else {"Ok": None}
        assert ask(house, push(channel, "Binary"), payload) == refused
        house.server.push(CHAT, channel, 1, payload)
        assert house.log.mentions("WsChannelFull") is (over > 0)


async def ping_seconds(start: Start, _: Path, over: int) -> None:
    house, clock = await with_clock(start, ping_seconds=SECONDS)
    async with house.raw_channel() as (reader, writer, _channel):
        clock.pass_by(SECONDS + over * MOMENT)
        writer.write(masked(0x89, b"mine"))
        first = await asyncio.wait_for(reader.readexactly(2), PATIENCE)
        assert first == (b"\x89\x08" if is_late(over) else b"\x8a\x04")


async def pong_seconds(start: Start, _: Path, over: int) -> None:
    house, clock = await with_clock(start, ping_seconds=SECONDS, pong_seconds=SECONDS)
    async with house.raw_channel() as (reader, writer, channel):
        clock.pass_by(SECONDS)
        assert (await asyncio.wait_for(reader.readexactly(10), PATIENCE))[:2] == b"\x89\x08"
        clock.pass_by(SECONDS + over * MOMENT)
        if is_late(over):
            assert await read_close(reader) == (1011, "no pong within the deadline")
        else:
            writer.write(masked(0x81, b"alive"))
            assert await house.chat.next() == ("push", channel, 0, b"alive")


async def close_seconds(start: Start, _: Path, over: int) -> None:
    house, clock = await with_clock(start, close_seconds=SECONDS)
    async with house.raw_channel() as (reader, _writer, channel):
        (connection,) = house.server._context.connections
        house.server.close_channel(CHAT, channel, 1000, "")
        assert (await read_close(reader))[0] == 1000
        clock.pass_by(SECONDS + over * MOMENT)
        assert connection.transport.is_closing() is is_late(over)
        if is_late(over):
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""


async def http_body_bytes(start: Start, _: Path, over: int) -> None:
    house: House = await start(ConnectionLimits(http_body_bytes=LIMIT))
    bind(house, "/")
    if over > 0:
        async with house.http() as client:
            assert (await client.post(f"/{CHAT}/", content=b"x" * (LIMIT + 1))).status_code == 413
        return
    async with asked(house, "POST", "/", content=b"x" * (LIMIT + over)) as (
        http_id,
        _request,
        _mime,
        body,
        _pending,
    ):
        assert len(body) == LIMIT + over
        house.server.http_response(CHAT, http_id, 200, (), None, b"")


async def http_response_seconds(_: Start, home: Path, over: int) -> None:
    limits = ConnectionLimits(http_response_seconds=SECONDS)
    assert await driven(home, SECONDS + over * MOMENT, limits) == (408 if is_late(over) else 200)


async def http_longest_response_seconds(_: Start, home: Path, over: int) -> None:
    limits = ConnectionLimits(http_longest_response_seconds=SECONDS)
    asks_for = [(b"guesthouse-timeout", b"900")]
    status = await driven(home, SECONDS + over * MOMENT, limits, headers=asks_for)
    assert status == (408 if is_late(over) else 200)


async def encrypted_messages(start: Start, _: Path, over: int) -> None:
    house: House = await start(ConnectionLimits(encrypted_messages=3))
    async with encrypted(house) as client:
        await house.chat.opened()
        for _number in range(3 + over):
            await client.socket.send(client.encrypted(b"x"))
        for _number in range(min(3 + over, 3)):
            assert (await house.chat.next())[0] == "push"
        if over > 0:
            assert (await closed(client.socket))[0] == 1008
        else:
            assert house.server.open_channels() != []


async def unfinished_bytes(start: Start, _: Path, over: int) -> None:
    house: House = await start(ConnectionLimits(unfinished_bytes=4 * FREE))
    async with house.raw_channel() as (reader, writer, channel):
        writer.write(masked(0x02, bytes(4 * FREE + over)) + (masked(0x89, b"here") if over <= 0 else b""))
        if over > 0:
            assert (await asyncio.wait_for(reader.read(), PATIENCE))[2:4] == (1013).to_bytes(2, "big")
        else:
            assert (await house.chat.next())[1:] == (channel, 2, b"here")


async def bindings_per_process(start: Start, _: Path, over: int) -> None:
    house: House = await start(ConnectionLimits(bindings_per_process=3))
    answers = [ask(house, {"WebSocketBind": {"path": f"/{number}"}}) for number in range(3 + over)]
    assert answers == ([{"Ok": None}] * 3 + [{"Err": "TooManyBindings"}])[: 3 + over]


# Resumable channels.


async def resume_seconds(start: Start, _: Path, over: int) -> None:
    house, clock = await with_clock(start, resume_seconds=SECONDS)
    async with resumable(house) as (client, event):
        client.cut()
        await gone(house)
        clock.pass_by(SECONDS + over * MOMENT)
        if is_late(over):
            assert await house.chat.next() == ("close", event.channel_id)
        else:
            await client.resume()


async def acknowledge_messages(start: Start, _: Path, over: int) -> None:
    house: House = await start(ConnectionLimits(acknowledge_messages=3))
    async with resumable(house) as (client, _event):
        for _number in range(3 + over):
            await client.send("x")
        await client.say(type="ping")
        await client.hear("pong")
        assert client.acknowledged == ([] if over < 0 else [3])


async def acknowledge_seconds(start: Start, _: Path, over: int) -> None:
    house, clock = await with_clock(start, acknowledge_seconds=SECONDS)
    async with resumable(house) as (client, _event):
        await client.send("x")
        await house.chat.next()
        clock.pass_by(SECONDS + over * MOMENT)
        await client.say(type="ping")
        await client.hear("pong")
        assert client.acknowledged == ([1] if is_late(over) else [])


async def leave_one_by_one(house: House, count: int) -> list[tuple[Any, ...]]:
    """Have clients leave; which ends of channels the process was told."""
    for _ in range(count):
        client = client_of(house)
        await client.open()
        before = house.server._context.sessions.away
        client.cut()
        ended = len(house.chat.close_reasons)
        await until(
            lambda before=before, ended=ended: (  # type: ignore[misc] # mypy infers no types of such defaults
                house.server._context.sessions.away != before or len(house.chat.close_reasons) != ended
            )
        )
    return list(house.chat.close_reasons.items())


async def away(start: Start, _: Path, over: int) -> None:
    house: House = await start(ConnectionLimits(away=3))
    assert len(await leave_one_by_one(house, 3 + over)) == max(over, 0)


async def away_per_user(start: Start, _: Path, over: int) -> None:
    house: House = await start(ConnectionLimits(away_per_user=3))
    assert len(await leave_one_by_one(house, 3 + over)) == max(over, 0)


async def away_bytes(start: Start, _: Path, over: int) -> None:
    house: House = await start(ConnectionLimits(away_bytes=LIMIT))
    async with resumable(house) as (client, event):
        client.cut()
        await gone(house)
        house.server.push(CHAT, event.channel_id, 1, bytes(LIMIT - PUSH_OVERHEAD + over))
        assert len(house.server._context.sessions) == (0 if over > 0 else 1)


EDGES: Final[dict[str, Edge]] = {
    edge.__name__: edge
    for edge in (
        total,
        per_address,
        handshake_seconds,
        register_seconds,
        register_bytes,
        message_bytes,
        fragments,
        unfinished_bytes,
        outbox_bytes,
        ping_seconds,
        pong_seconds,
        close_seconds,
        http_body_bytes,
        http_response_seconds,
        http_longest_response_seconds,
        encrypted_messages,
        bindings_per_process,
        resume_seconds,
        acknowledge_messages,
        acknowledge_seconds,
        away,
        away_per_user,
        away_bytes,
    )
}


def test_every_limit_on_connections_has_an_edge() -> None:
    assert list(ConnectionLimits.__struct_fields__) == list(EDGES)


@pytest.mark.slow
@pytest.mark.parametrize("over", OVERS)
@pytest.mark.parametrize("name", EDGES)
async def test_a_limit_holds_at_its_edge(start: Start, tmp_path: Path, name: str, over: int) -> None:
    await EDGES[name](start, tmp_path / "driven", over)


@pytest.mark.parametrize("over", OVERS)
@pytest.mark.parametrize("pieces", [1, 2, 5])
async def test_the_head_of_a_request_is_so_big(house: House, over: int, pieces: int) -> None:
    # Counted is what is kept: of the request line the target, of a header its name, its value and 4 bytes.
    fill = MAX_HEAD + over - len("/our.js") - len("Hosta") - len("X") - 8
    request = b"GET /our.js HTTP/1.1\r\nHost: a\r\nX: " + b"x" * fill + b"\r\n\r\n"
    size = len(request) // pieces + 1
    async with house.raw() as (reader, writer):
        for begin in range(0, len(request), size):
            writer.write(request[begin : begin + size])
            await writer.drain()
            await asyncio.sleep(0)
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
    assert answer.startswith(b"HTTP/1.1 431 " if over > 0 else b"HTTP/1.1 200 ")


# The application alone, in a loop whose time is driven.


async def driven(
    home: Path,
    seconds: float,
    limits: ConnectionLimits,
    *,
    headers: list[tuple[bytes, bytes]] | None = None,
    body_comes: bool = True,
) -> int:
    """The status of a request whose body, or else whose answer, comes after so many seconds."""

    await asyncio.to_thread(home.mkdir)
    return await in_driven_time(
        lambda loop: _asked(loop, home, seconds, limits, headers or [], body_comes=body_comes)
    )


async def _asked(
    loop: DrivenLoop,
    home: Path,
    seconds: float,
    limits: ConnectionLimits,
    headers: list[tuple[bytes, bytes]],
    *,
    body_comes: bool,
) -> int:
    process = FakeProcess(CHAT)
    server = HttpServer(
        FakeRouter(known={CHAT: process}), FakeLog(), Settings(node=NODE, connections=limits), home
    )
    options: dict[str, Any] = {"authenticated": False, "local_only": False, "secure": False, "static": None}
    server.bind_http_path(CHAT, http_path("/", **options))
    arrived: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    whole = {"type": "http.request", "body": b"whole", "more_body": False}
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    path = f"/{CHAT}/"
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(b"host", b"localhost"), *headers], "client": ("127.0.0.1", 1), "scheme": "http",
    }  # fmt: skip
    asking: Coroutine[Any, Any, None] = server._app(scope, arrived.get, send)  # type: ignore[arg-type] # of a test
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asking)
        if body_comes:
            arrived.put_nowait(whole)
        await loop.pass_by(seconds)
        arrived.put_nowait(whole)
        await settled()
        if not process.quiet:
            _, http_id, *_ = process.told.get_nowait()
            server.http_response(CHAT, http_id, 200, (), None, b"")
    return int(sent[0]["status"])
