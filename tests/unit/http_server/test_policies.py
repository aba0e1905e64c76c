"""What a full outbox means, as the process chose; and pushes to all channels of a path."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.patience import PATIENCE
from websockets.asyncio.client import connect

from guesthouse.core.address import Address
from guesthouse.core.config import ConnectionLimits
from guesthouse.core.messages import LazyLoadBlob
from guesthouse.http_server.channel.outbox import UNLIMITED
from guesthouse.link.calls import AwaitRoom, SetChannelPolicy
from guesthouse.link.credit import push_cost

from .conftest import CHAT, NODE, OTHER, House, read_close
from .test_json_form import ask

WINDOW = 64 * 1024
SIZE = 4000
BINARY = 1


@pytest.fixture
def limits() -> ConnectionLimits:
    return ConnectionLimits(outbox_bytes=WINDOW, message_bytes=WINDOW, close_seconds=PATIENCE)


def numbered(number: int) -> bytes:
    return number.to_bytes(4, "big") * (SIZE // 4)


async def read_message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(2)
    assert head[0] == 0x82, head
    size = head[1] if head[1] < 126 else int.from_bytes(await reader.readexactly(2), "big")
    return await reader.readexactly(size)


@asynccontextmanager
async def full(house: House, policy: str) -> AsyncIterator[tuple[asyncio.StreamReader, int, int]]:
    """A channel whose client does not read, with its outbox full; gives how many messages that took."""
    async with house.raw_channel() as (reader, _, channel_id):
        connection = house.server._channels.get(channel_id)
        assert connection is not None
        count = 0
        while connection.outgoing.push_unpaid(SIZE, connection.framed(BINARY, numbered(count))):
            count += 1
            await asyncio.sleep(0)
        assert house.server.set_channel_policy(CHAT, SetChannelPolicy(channel_id, policy)) is None
        yield reader, channel_id, count


def unread(house: House, channel_id: int) -> int:
    connection = house.server._channels.get(channel_id)
    assert connection is not None
    return connection.outgoing.waiting


async def test_drop_oldest_keeps_the_newest_in_order_and_within_the_window(house: House) -> None:
    async with full(house, "drop-oldest") as (reader, channel_id, count):
        for number in range(count, count + 100):
            house.server.push(CHAT, channel_id, BINARY, numbered(number))
            assert unread(house, channel_id) <= WINDOW + push_cost(SIZE)
        last = numbered(count + 99)
        seen: list[bytes] = []
        async with asyncio.timeout(PATIENCE):
            while not seen or seen[-1] != last:
                seen.append(await read_message(reader))
        numbers = [int.from_bytes(message[:4], "big") for message in seen]
        assert numbers == sorted(set(numbers))
        assert all(message == numbered(number) for message, number in zip(seen, numbers, strict=True))
        assert count < len(numbers) < count + 100
    assert house.log.mentions("a message was dropped for newer ones")


async def test_close_ends_the_channel_and_the_process_hears_of_it(house: House) -> None:
    async with full(house, "close") as (reader, channel_id, count):
        house.server.push(CHAT, channel_id, BINARY, numbered(count))
        assert await house.chat.next() == ("close", channel_id)
        async with asyncio.timeout(PATIENCE):
            for number in range(count):
                assert await read_message(reader) == numbered(number)
            assert await read_close(reader) == (1013, "the client reads too slowly")


@pytest.mark.parametrize("policy", ["refuse", "wait"])
async def test_a_push_that_cannot_wait_is_refused(house: House, policy: str) -> None:
    async with full(house, policy) as (_, channel_id, _):
        request = {"WebSocketPush": {"channel_id": channel_id, "message_type": "Binary"}}
        assert ask(house, request, numbered(0)) == {"Err": "WsChannelFull"}


async def test_a_push_that_waits_goes_on_when_the_client_reads(house: House) -> None:
    async with full(house, "wait") as (reader, channel_id, count):
        replies: list[str | None] = []
        came = asyncio.Event()

        def reply(refusal: str | None) -> None:
            replies.append(refusal)
            came.set()

        house.server.when_room(CHAT, AwaitRoom(channel_id, SIZE), reply)
        assert replies == []
        async with asyncio.timeout(PATIENCE):
            for _ in range(count):
                await read_message(reader)
            await came.wait()
        assert replies == [None]
        credit = WINDOW + sum(size for _, size in house.chat.granted)
        assert credit >= push_cost(SIZE)
        house.server.push(CHAT, channel_id, BINARY, numbered(7))
        assert await read_message(reader) == numbered(7)


def ask_later(house: House, channel_id: int, number: int, request_id: int) -> bytes | None:
    """A push in JSON whose response may come later, under that id."""
    body = json.dumps({"WebSocketPush": {"channel_id": channel_id, "message_type": "Binary"}}).encode()
    house.router.awaited.add(request_id)
    blob = LazyLoadBlob(None, numbered(number))
    return house.server.request(Address(NODE, CHAT), body, blob, lambda: request_id)


async def test_a_push_in_json_waits_and_is_answered_once_it_is_queued(house: House) -> None:
    async with full(house, "wait") as (reader, channel_id, count):
        assert ask_later(house, channel_id, count, 1) is None
        assert ask_later(house, channel_id, count + 1, 2) is None
        assert house.router.answers == []
        async with asyncio.timeout(PATIENCE):
            for number in range(count + 2):
                assert await read_message(reader) == numbered(number)
        assert house.router.answers == [(1, CHAT, b'{"Ok": null}', None), (2, CHAT, b'{"Ok": null}', None)]


async def test_a_push_in_json_whose_time_is_over_is_not_sent(house: House) -> None:
    async with full(house, "wait") as (reader, channel_id, count):
        assert ask_later(house, channel_id, 10_000, 1) is None
        assert ask_later(house, channel_id, count, 2) is None
        house.router.awaited.remove(1)
        async with asyncio.timeout(PATIENCE):
            for number in range(count + 1):
                assert await read_message(reader) == numbered(number)


@pytest.mark.parametrize(
    ("end", "error"), [("refuse", b"WsChannelFull"), (None, b"WsChannelNotFound")], ids=["policy", "close"]
)
async def test_a_push_in_json_that_waits_in_vain_says_why(
    house: House, end: str | None, error: bytes
) -> None:
    async with full(house, "wait") as (_, channel_id, count):
        assert ask_later(house, channel_id, count, 1) is None
        if end is None:
            house.server.close_channel(CHAT, channel_id, 1000, "")
        else:
            house.server.set_channel_policy(CHAT, SetChannelPolicy(channel_id, end))
        assert house.router.answers == [(1, CHAT, b'{"Err": "' + error + b'"}', None)]


async def test_no_more_waits_in_json_than_the_outbox_holds(house: House) -> None:
    async with full(house, "wait") as (_, channel_id, count):
        most = WINDOW // push_cost(SIZE)
        answers = [ask_later(house, channel_id, count, number) for number in range(1, most + 2)]
        assert answers == [None] * most + [b'{"Err": "WsChannelFull"}']


async def test_one_who_waits_learns_that_the_channel_is_gone(house: House) -> None:
    replies: list[str | None] = []
    async with full(house, "wait") as (_, channel_id, _):
        house.server.when_room(CHAT, AwaitRoom(channel_id, SIZE), replies.append)
        house.server.close_channel(CHAT, channel_id, 1000, "")
        assert replies == ["channel-not-found"]
        house.server.when_room(CHAT, AwaitRoom(channel_id, SIZE), replies.append)
    assert replies == ["channel-not-found"] * 2


@pytest.mark.parametrize(("over", "refusal"), [(-1, None), (0, None), (1, "channel-full")])
async def test_what_never_fits_does_not_wait(house: House, over: int, refusal: str | None) -> None:
    async with house.bound() as (_, event):
        replies: list[str | None] = []
        house.server.set_channel_policy(CHAT, SetChannelPolicy(event.channel_id, "wait"))
        house.server.when_room(
            CHAT, AwaitRoom(event.channel_id, WINDOW - push_cost(0) + over), replies.append
        )
        assert replies == [refusal]


async def test_without_the_policy_nobody_waits(house: House) -> None:
    async with full(house, "refuse") as (_, channel_id, _):
        replies: list[str | None] = []
        house.server.when_room(CHAT, AwaitRoom(channel_id, SIZE), replies.append)
        house.server.when_room(OTHER, AwaitRoom(channel_id, SIZE), replies.append)
        assert replies == ["channel-full", "channel-not-found"]


async def test_the_worker_stops_counting_while_the_node_decides_and_then_knows_what_is_left(
    house: House,
) -> None:
    async with house.raw_channel() as (reader, _, channel_id):
        house.server.push(CHAT, channel_id, BINARY, numbered(0))
        for policy in ("drop-oldest", "close", "wait"):
            assert house.server.set_channel_policy(CHAT, SetChannelPolicy(channel_id, policy)) is None
            house.server.push(CHAT, channel_id, BINARY, numbered(1))
        credit = WINDOW + sum(size for _, size in house.chat.granted) - 4 * push_cost(SIZE)
        assert house.chat.granted[0] == (channel_id, UNLIMITED)
        assert credit == WINDOW - unread(house, channel_id) or credit == WINDOW - push_cost(SIZE)
        for _ in range(4):
            await read_message(reader)


async def test_a_policy_is_for_ones_own_channel_and_has_a_name(house: House) -> None:
    async with house.bound() as (_, event):
        assert (
            house.server.set_channel_policy(OTHER, SetChannelPolicy(event.channel_id, "wait"))
            == "channel-not-found"
        )
        assert (
            house.server.set_channel_policy(CHAT, SetChannelPolicy(event.channel_id, "maybe"))
            == "no-such-policy"
        )
        for policy, answer in (("wait", {"Ok": None}), ("maybe", {"Err": "MalformedRequest"})):
            request = {"WebSocketPolicy": {"channel_id": event.channel_id, "policy": policy}}
            assert ask(house, request) == answer
        assert ask(house, request, source=OTHER) == {"Err": "WsChannelNotFound"}


async def test_a_process_that_is_started_again_begins_with_refusals(house: House) -> None:
    async with house.raw_channel() as (_, _, channel_id):
        house.server.set_channel_policy(CHAT, SetChannelPolicy(channel_id, "drop-oldest"))
        house.server.reopen(CHAT)
        kind, event, credit = await house.chat.next()
        assert (kind, event.resumed, credit) == ("open", True, WINDOW)
        connection = house.server._channels.get(channel_id)
        assert connection is not None
        assert connection.outgoing.policy == "refuse"


async def test_one_push_reaches_all_channels_of_a_path_and_no_other(house: House) -> None:
    async with house.bound("/rooms/:room") as _:
        pass
    await house.chat.next()
    url = f"{house.ws_url}/{CHAT}/rooms"
    async with connect(f"{url}/1", proxy=None) as first, connect(f"{url}/2", proxy=None) as second:
        await house.chat.opened()
        await house.chat.opened()
        one = {"WebSocketPushPath": {"path": "/rooms/1", "message_type": "Text"}}
        both = {"WebSocketPushPath": {"path": "/rooms/:room", "message_type": "Text"}}
        assert ask(house, one, b"one") == {"Ok": []}
        assert ask(house, both, b"both") == {"Ok": []}
        assert ask(house, both, b"none", source=OTHER) == {"Ok": []}
        assert [await first.recv(), await first.recv()] == ["one", "both"]
        assert await second.recv() == "both"


async def test_channels_that_a_push_to_many_does_not_reach_are_named(house: House) -> None:
    async with house.bound() as (client, event):
        request = {"WebSocketPushMany": {"channel_ids": [event.channel_id, 1], "message_type": "Text"}}
        assert ask(house, request, b"hi") == {"Ok": [[1, "WsChannelNotFound"]]}
        assert await client.recv() == "hi"
        assert ask(house, request) == {"Err": "NoBlob"}
        assert ask(house, request, b"\xff")["Ok"][0] == [event.channel_id, "WsTextNotUtf8"]
        wrong = {"WebSocketPushMany": {"channel_ids": 7, "message_type": "Text"}}
        assert ask(house, wrong, b"hi") == {"Err": "MalformedRequest"}


async def test_the_subprotocol_is_the_one_that_the_process_likes_best(house: House) -> None:
    bind = {"WebSocketBind": {"path": "/", "authenticated": False, "subprotocols": ["v2", "v1"]}}
    assert ask(house, bind) == {"Ok": None}
    cases: list[tuple[Any, str | None]] = [
        (["v1", "v2", "v3"], "v2"),
        (["v1"], "v1"),
        (["v3"], None),
        (None, None),
    ]
    for offer, agreed in cases:
        async with connect(f"{house.ws_url}/{CHAT}/", subprotocols=offer, proxy=None) as client:
            assert client.subprotocol == agreed
            assert (await house.chat.opened()).subprotocol == agreed
        assert (await house.chat.next())[0] == "close"


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (["a b"], "BadSubprotocol"),
        ([""], "BadSubprotocol"),
        ([f"v{number}" for number in range(17)], "BadSubprotocol"),
        ([f"v{number}" for number in range(16)], None),
        ([7], "MalformedRequest"),
        ("v1", "MalformedRequest"),
    ],
)
async def test_subprotocols_are_tokens_and_not_too_many(
    house: House, names: object, error: str | None
) -> None:
    answer = ask(house, {"WebSocketBind": {"path": "/", "subprotocols": names}})
    assert answer == ({"Ok": None} if error is None else {"Err": error}), json.dumps(names)


async def test_drop_oldest_from_the_start_keeps_what_the_window_holds(house: House) -> None:
    async with house.raw_channel() as (reader, _, channel_id):
        house.server.set_channel_policy(CHAT, SetChannelPolicy(channel_id, "drop-oldest"))
        for number in range(4000):
            house.server.push(CHAT, channel_id, BINARY, numbered(number))
            assert unread(house, channel_id) <= WINDOW
        numbers: list[int] = []
        async with asyncio.timeout(PATIENCE):
            while not numbers or numbers[-1] != 3999:
                numbers.append(int.from_bytes((await read_message(reader))[:4], "big"))
        assert numbers == sorted(set(numbers))
        assert numbers[-10:] == list(range(3990, 4000))
        assert len(numbers) < 4000
