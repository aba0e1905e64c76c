"""The full handler example of the WebSocket API, as the package `seed-chat`, with real clients."""

from __future__ import annotations

import json

from .clients import SEED_CHAT, bound, registered
from .conftest import StartNode
from .daemon import NODE
from .waiting import until


def send(content: str, target: str = NODE) -> str:
    return json.dumps({"Send": {"target": target, "message": content}})


async def test_what_one_client_sends_is_archived_and_shown_to_all(start: StartNode) -> None:
    daemon = await start("seed-chat")
    token = await daemon.token()
    async with registered(daemon, SEED_CHAT, token) as one, bound(daemon, SEED_CHAT, "/", token) as two:
        await until(daemon.channels, lambda items: len(items) == 2, "two channels")
        await one.send(send("hello"))
        told = {"NewMessage": {"author": NODE, "content": "hello"}}
        assert await one.json() == await two.json() == told
        await two.send(send("hello back").encode())
        assert (await one.json())["NewMessage"]["content"] == "hello back"
        assert (await two.json())["NewMessage"]["content"] == "hello back"
        await one.send(json.dumps("History"))
        assert [item["content"] for item in (await one.json())["History"]] == ["hello", "hello back"]
        response = await daemon.get(f"/{SEED_CHAT}/messages", token)
        assert [item["content"] for item in response.json()] == ["hello", "hello back"]


async def test_a_client_that_left_is_pushed_nothing_more(start: StartNode) -> None:
    daemon = await start("seed-chat")
    token = await daemon.token()
    async with registered(daemon, SEED_CHAT, token) as stays:
        async with registered(daemon, SEED_CHAT, token) as leaves:
            await leaves.send(send("I was here"))
            assert "NewMessage" in await stays.json()
        await until(daemon.channels, lambda items: len(items) == 1, "one channel")
        await stays.send(send("alone"))
        assert (await stays.json())["NewMessage"]["content"] == "alone"
    await daemon.no_channels()
    lines = [line for line in await daemon.logs() if line["source"] == SEED_CHAT]
    assert [line["text"] for line in lines if line["level"] in ("error", "warning")] == []


async def test_what_cannot_be_parsed_fails_silently(start: StartNode) -> None:
    daemon = await start("seed-chat")
    async with registered(daemon, SEED_CHAT, await daemon.token()) as client:
        for nonsense in ("hello", b"\xff\x00", "", "[" * 3000, '{"Send": 1}', "7", "null"):
            await client.send(nonsense)
        await client.send(send("sense"))
        assert (await client.json())["NewMessage"]["content"] == "sense"


async def test_a_message_for_another_node_is_not_shown_as_sent(start: StartNode) -> None:
    daemon = await start("seed-chat")
    async with registered(daemon, SEED_CHAT, await daemon.token()) as client:
        await client.send(send("far", target="elsewhere.os"))
        line = await daemon.log_line(SEED_CHAT, "elsewhere.os")
        assert line["level"] == "warning"
        await client.send(json.dumps("History"))
        assert await client.json() == {"History": []}
