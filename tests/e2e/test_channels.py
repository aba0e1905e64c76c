"""Channels of both forms, with every kind of message, one client and many."""

from __future__ import annotations

import asyncio
import json
import struct
from collections import defaultdict
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.frames import Opcode

from .clients import CHAT, ECHO, ECHO_C, RECORDER, FrameClient, bound, registered
from .conftest import StartNode
from .daemon import Daemon
from .waiting import until

MANY = 200
MESSAGES = 25


async def events_of(daemon: Daemon, token: str) -> list[dict[str, Any]]:
    """All that the recorder was told."""
    response = await daemon.get(f"/{RECORDER}/events", token)
    assert response.status_code == 200, response.text
    events: list[dict[str, Any]] = response.json()
    return events


@pytest.mark.parametrize("process", [ECHO, ECHO_C])
async def test_echo_answers_each_message_with_its_payload_and_type(start: StartNode, process: str) -> None:
    daemon = await start("echo", "echo-c")
    token = await daemon.token()
    async with registered(daemon, process, token) as client:
        for message in ("text", "", "Grüße, 世界 🌍", b"binary", b"", bytes(range(256)), "x" * 100_000):
            assert await client.ask(message) == message
    await daemon.no_channels()


async def test_a_register_message_may_be_binary(start: StartNode) -> None:
    daemon = await start("echo-c")
    async with registered(daemon, ECHO_C, await daemon.token(), binary=True) as client:
        assert await client.ask("hello") == "hello"


async def test_both_forms_reach_the_same_process(start: StartNode) -> None:
    daemon = await start("recorder")
    token = await daemon.token()
    async with registered(daemon, RECORDER, token) as first, bound(daemon, RECORDER, "/", token) as second:
        await first.send("by register")
        await second.send("by path")
        (one, two) = await until(
            lambda: daemon.channels(RECORDER),
            lambda items: [item["messages_in"] for item in items] == [1, 1],
            "two channels with a message each",
        )
    assert (one["channel_id"], one["path"], two["path"]) == (first.channel_id, "/", "/")
    assert one["channel_id"] != two["channel_id"]
    await daemon.no_channels()


async def test_a_bound_path_delivers_its_parameters_and_those_of_the_query(start: StartNode) -> None:
    daemon = await start("recorder")
    async with bound(daemon, RECORDER, "/items/a%20b?color=red&size=2") as client:
        await client.send("here")
        (open_event, _) = await until(
            lambda: events_of_now(daemon), lambda events: len(events) == 2, "an open and a push"
        )
    assert open_event["path"] == "/items/a b"
    assert open_event["url_params"] == {"id": "a b"}
    assert open_event["query_params"] == {"color": "red", "size": "2"}
    assert open_event["source"].startswith("127.0.0.1:")


async def events_of_now(daemon: Daemon) -> list[dict[str, Any]]:
    return await events_of(daemon, await daemon.token())


async def test_an_authenticated_path_wants_the_cookie_and_its_own_origin(start: StartNode) -> None:
    daemon = await start("recorder")
    token = await daemon.token()
    own = daemon.url
    for path, cookie, origin, status in (
        ("/", None, None, 401),
        ("/", "not.a.token", None, 401),
        ("/", token, "https://evil.example", 403),
        ("/", token, "null", 403),
        ("/", token, own.replace("http:", "https:"), 403),
        ("/nowhere", token, own, 404),
    ):
        headers = {} if origin is None else {"Origin": origin}
        with pytest.raises(InvalidStatus) as refused:
            async with bound(daemon, RECORDER, path, cookie, **headers):
                pass
        assert refused.value.response.status_code == status, (path, origin)
        assert refused.value.response.body
    async with bound(daemon, RECORDER, "/", token, Origin=own), bound(daemon, RECORDER, "/open"):
        await until(daemon.channels, lambda items: len(items) == 2, "two channels")
    await daemon.no_channels()
    assert [event["event"] for event in await events_of(daemon, token)].count("open") == 2


async def test_all_five_message_types_go_both_ways(start: StartNode) -> None:
    daemon = await start("recorder")
    token = await daemon.token()
    async with FrameClient(daemon) as client:
        channel = await client.register(RECORDER, token)
        for opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.PING, Opcode.PONG):
            await client.send(opcode, b"in")
        pong = await client.next()
        assert (pong.opcode, pong.data) == (Opcode.PONG, b"in")  # the node answers a ping itself
        for kind in ("Text", "Binary", "Ping", "Pong"):
            await client.send(Opcode.TEXT, json.dumps({"push": kind, "payload": b"out".hex()}).encode())
            frame = await client.next()
            assert (frame.opcode.name.title(), frame.data) == (kind, b"out")
        close = struct.pack("!H", 4321) + b"enough"
        await client.send(Opcode.TEXT, json.dumps({"push": "Close", "payload": close.hex()}).encode())
        frame = await client.next()
        assert (frame.opcode, frame.data) == (Opcode.CLOSE, close)
    events = await events_of(daemon, token)
    came = [(event["type"], event["payload"]) for event in events if event["event"] == "push"]
    assert came[:4] == [(kind, b"in".hex()) for kind in ("Text", "Binary", "Ping", "Pong")]
    # The answer to the process's own ping is its to see.
    assert ("Pong", b"out".hex()) in came
    # The process closed the channel itself, so it is told of no closing.
    assert [event for event in events if event["event"] == "close"] == []
    assert all(event["channel"] == channel for event in events)
    await daemon.no_channels()


async def test_a_close_of_the_client_reaches_the_process_once_and_is_answered(start: StartNode) -> None:
    daemon = await start("recorder")
    token = await daemon.token()
    async with FrameClient(daemon) as client:
        channel = await client.register(RECORDER, token)
        await client.send(Opcode.CLOSE, struct.pack("!H", 1000) + b"bye")
        frame = await client.next()
        assert frame.opcode is Opcode.CLOSE
        assert frame.data[:2] == struct.pack("!H", 1000)
    await daemon.no_channels()
    events = await events_of(daemon, token)
    assert [event["event"] for event in events] == ["open", "close"]
    assert events[1]["channel"] == channel


async def test_pushes_that_cannot_be_are_refused_to_the_process(start: StartNode) -> None:
    daemon = await start("recorder")
    async with registered(daemon, RECORDER, await daemon.token()) as client:
        for push, error in (
            ({"push": "Text", "payload": "ff"}, "NotUtf8"),
            ({"push": "Ping", "payload": "00" * 126}, "PingPongTooLong"),
            ({"push": "Binary", "size": 2**20 + 1}, "MessageTooBig"),
            ({"push": "Text", "payload": "00", "channel": client.channel_id + 1}, "ChannelNotFound"),
            ({"close": 1005, "reason": ""}, "BadCloseCode"),
            ({"close": 1000, "reason": "x" * 124}, "CloseReasonTooLong"),
        ):
            assert await client.ask(json.dumps(push)) == error
        await client.send(json.dumps({"close": 4000, "reason": "done"}))
        assert await client.closed() == (4000, "done")


async def test_what_breaks_the_websocket_protocol_closes_that_channel_alone(start: StartNode) -> None:
    daemon = await start("recorder", settings={"connections_message_bytes": 4096})
    token = await daemon.token()
    async with registered(daemon, RECORDER, token) as bystander:
        async with registered(daemon, RECORDER, token) as client:
            await client.send("x" * 4096)
            await client.send("x" * 4097)
            assert (await client.closed())[0] == 1009
        async with FrameClient(daemon) as raw:
            await raw.register(RECORDER, token)
            await raw.send(Opcode.TEXT, b"\xff\xfe")
            frame = await raw.next()
            assert frame.data[:2] == struct.pack("!H", 1007)
        assert await bystander.ask(json.dumps({"push": "Text", "payload": b"ok".hex()})) == "ok"
    await daemon.no_channels()


@pytest.mark.thorough
async def test_200_channels_at_once_lose_and_repeat_nothing_and_keep_their_order(start: StartNode) -> None:
    daemon = await start("recorder")
    token = await daemon.token()

    async def chatter(number: int, all_open: asyncio.Barrier) -> int:
        async with registered(daemon, RECORDER, token) as client:
            await all_open.wait()
            for message in range(MESSAGES):
                await client.send(f"{number}:{message}")
            answer = await client.ask(json.dumps({"push": "Text", "payload": b"last".hex()}))
            assert answer == "last"
            return client.channel_id

    all_open = asyncio.Barrier(MANY)
    async with asyncio.TaskGroup() as tasks:
        clients = [tasks.create_task(chatter(number, all_open)) for number in range(MANY)]
    await daemon.no_channels()
    by_channel: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for event in await events_of(daemon, token):
        by_channel[event["channel"]].append(event)
    assert set(by_channel) == {client.result() for client in clients}
    for number, client in enumerate(clients):
        opened, *pushes, asked, closed = by_channel[client.result()]
        assert (opened["event"], closed["event"]) == ("open", "close")
        said = [bytes.fromhex(push["payload"]).decode() for push in pushes]
        assert said == [f"{number}:{message}" for message in range(MESSAGES)]
        assert asked["payload"].startswith(b"{".hex())


@pytest.mark.thorough
async def test_200_people_in_one_chat_hear_everything_once_and_each_speaker_in_order(
    start: StartNode,
) -> None:
    # One process has all the clients: on a busy machine it comes late to their pings.
    settings = {"connections_outbox_bytes": 32 * 2**20, "connections_pong_seconds": 200}
    daemon = await start("chat", settings=settings)
    token = await daemon.token()
    each = 3

    async def person(number: int, all_open: asyncio.Barrier) -> list[str]:
        async with registered(daemon, CHAT, token) as client:
            assert (await client.json())["type"] == "welcome"
            await all_open.wait()
            for message in range(each):
                await client.send(json.dumps({"type": "say", "text": f"{number}:{message}"}))
            heard: list[str] = []
            while len(heard) < each * MANY:
                told = await client.json()
                if told["type"] == "said":
                    heard.append(told["text"])
            await all_open.wait()
            return heard

    all_open = asyncio.Barrier(MANY)
    async with asyncio.TaskGroup() as tasks:
        people = [tasks.create_task(person(number, all_open)) for number in range(MANY)]
    (heard, *others) = [task.result() for task in people]
    assert all(other == heard for other in others)
    assert len(set(heard)) == each * MANY
    for number in range(MANY):
        own = [text for text in heard if text.startswith(f"{number}:")]
        assert own == [f"{number}:{message}" for message in range(each)]
    await daemon.no_channels()
