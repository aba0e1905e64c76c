"""The register form: a WebSocket on `/` whose first message names its process."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

import pytest
from tests.patience import PATIENCE
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from guesthouse.core.config import ConnectionLimits, HttpSettings
from guesthouse.http_server.auth.tokens import Tokens

from .conftest import CHAT, NODE, House, Start, masked, read_close, upgrade_request


@pytest.fixture
def limits() -> ConnectionLimits:
    return ConnectionLimits(register_bytes=1024, message_bytes=4096, register_seconds=30)


async def refused(house: House, message: str | bytes) -> tuple[int, str]:
    async with connect(house.ws_url + "/", compression=None) as client:
        await client.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(client.recv(), PATIENCE)
    assert house.server.open_channels() == []
    assert house.chat.quiet
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


def changed(house: House, **fields: Any) -> str:
    return json.dumps({**house.register, **fields})


@pytest.mark.parametrize("binary", [False, True])
async def test_a_register_message_opens_a_channel_and_is_answered_with_its_id(
    house: House, binary: bool
) -> None:
    async with connect(house.ws_url + "/") as client:
        message = json.dumps(house.register)
        await client.send(message.encode() if binary else message)
        answer = await client.recv()
        event = await house.chat.opened()
        assert answer == f'{{"channel_id": {event.channel_id}}}'
        assert event.path == "/"
        assert event.source_socket_addr == f"127.0.0.1:{client.local_address[1]}"
        assert event.forwarded_for is None
        await client.send("hello")
        assert await house.chat.next() == ("push", event.channel_id, 0, b"hello")
        assert [channel.channel_id for channel in house.server.open_channels()] == [event.channel_id]
    assert await house.chat.next() == ("close", event.channel_id)
    assert house.server.open_channels() == []


async def test_encrypted_may_be_absent(house: House) -> None:
    fields = house.register
    del fields["encrypted"]
    async with connect(house.ws_url + "/") as client:
        await client.send(json.dumps(fields))
        assert json.loads(await client.recv())["channel_id"] == (await house.chat.opened()).channel_id


async def test_messages_sent_right_behind_the_register_message_are_delivered_even_when_longer(
    house: House,
) -> None:
    async with house.raw() as (reader, writer):
        await house.upgraded("/", reader, writer)
        register = json.dumps(house.register).encode()
        writer.write(masked(0x81, register) + masked(0x82, b"x" * 3000) + masked(0x81, b"second"))
        channel_id = (await house.chat.opened()).channel_id
        assert await house.chat.next() == ("push", channel_id, 1, b"x" * 3000)
        assert await house.chat.next() == ("push", channel_id, 0, b"second")


async def test_frames_sent_behind_the_upgrade_request_itself_are_not_lost(house: House) -> None:

    async with house.raw() as (_, writer):
        register = masked(0x81, json.dumps(house.register).encode())
        writer.write(upgrade_request("/", house.server.port) + register)
        assert (await house.chat.opened()).path == "/"


@pytest.mark.parametrize(
    "message", ["", "hello", "[1]", "7", "{}", "[" * 900, '{"auth_token": 1}', b"\xff\xfe"]
)
async def test_a_first_message_that_is_no_register_message_is_refused_with_4000(
    house: House, message: str | bytes
) -> None:
    code, reason = await refused(house, message)
    assert (code, reason[:41]) == (4000, "the first message is not a register messa")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"auth_token": "x"}, 4002),
        ({"auth_token": ""}, 4002),
        ({"auth_token": "\ud800"}, 4000),
        ({"target_process": "chat"}, 4003),
        ({"target_process": "chat:chat:guesthouse.os/../x"}, 4003),
        ({"target_process": "none:none:none"}, 4004),
        ({"encrypted": "yes"}, 4000),
        ({"target_process": ["chat"]}, 4000),
        ({"auth_token": None}, 4000),
    ],
)
async def test_every_refusal_has_its_code_and_leaves_no_channel(
    house: House, fields: dict[str, Any], code: int
) -> None:
    assert (await refused(house, changed(house, **fields)))[0] == code


async def test_a_token_of_another_node_or_key_or_time_is_refused_with_4002(house: House) -> None:
    from guesthouse.http_server.auth.credentials import load_secret

    secret, now = load_secret(house.home), time.time()
    strangers = {
        "another node": Tokens("stranger.os", secret).issue(60, now),
        "another key": Tokens(NODE, b"k" * 32).issue(60, now),
        "expired": Tokens(NODE, secret).issue(60, now - 61),
    }
    for why, token in strangers.items():
        assert (await refused(house, changed(house, auth_token=token)))[0] == 4002, why


async def test_a_process_that_ended_is_refused_with_4004(house: House) -> None:
    house.chat.gone = True
    assert await refused(house, changed(house)) == (4004, "no such process")


async def test_a_client_of_a_process_that_is_not_there_yet_is_asked_to_come_again(house: House) -> None:
    house.server.starts(True)
    nobody = "none:none:none"
    assert await refused(house, changed(house, target_process=nobody)) == (
        1013,
        "the node is starting: connect again",
    )
    upgrade = upgrade_request(f"/{nobody}/room", house.server.port)
    plain = upgrade.replace(b"Connection: Upgrade", b"Connection: close").replace(
        b"Upgrade: websocket\r\n", b""
    )
    for request in (upgrade, plain):
        reader, writer = await asyncio.open_connection("127.0.0.1", house.server.port)
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
        await writer.wait_closed()
        assert answer.startswith(b"HTTP/1.1 503 "), answer
        assert answer.endswith(b"the node is starting: try again\n"), answer
        assert b"retry-after: 5\r\n" in answer.lower()
    assert not house.log.lines  # no fault of the client
    house.server.starts(False)
    assert (await refused(house, changed(house, target_process=nobody)))[0] == 4004


async def test_the_log_names_the_process_that_is_not_there(house: House) -> None:
    for target in ("none:none:none", "other:other:other"):
        assert (await refused(house, changed(house, target_process=target)))[0] == 4004
    fault = "127.0.0.1: a WebSocket was closed with 4004: no such process"
    assert [text for *_, text in house.log.lines] == [f"{fault} (to none:none:none)"], (
        "one a second, whatever it names"
    )


async def test_the_log_names_the_setting_that_a_register_message_is_over(house: House) -> None:
    assert (await refused(house, changed(house, pad="x" * 2000)))[0] == 1009
    (text,) = (text for *_, text in house.log.lines)
    fault = "127.0.0.1: a WebSocket was closed with 1009: register message too big"
    assert re.fullmatch(re.escape(fault) + r" \(2\d\d\d bytes; connections.register_bytes is 1024\)", text)


@pytest.mark.parametrize("size", [1023, 1024, 1025])
async def test_the_size_of_a_register_message_is_limited(house: House, size: int) -> None:
    message = changed(house, pad="")
    message = changed(house, pad="x" * (size - len(message)))
    assert len(message) == size
    if size > 1024:
        assert await refused(house, message) == (1009, "register message too big")
        return
    async with connect(house.ws_url + "/") as client:
        await client.send(message)
        assert "channel_id" in str(await client.recv())


async def test_a_register_message_that_is_announced_too_big_is_refused_from_its_header(house: House) -> None:
    async with house.raw() as (reader, writer):
        await house.upgraded("/", reader, writer)
        writer.write(masked(0x81, b"", announce=1025))
        assert await read_close(reader) == (1009, "register message too big")


async def test_pings_before_the_register_message_are_answered_and_delivered_to_nobody(house: House) -> None:
    async with connect(house.ws_url + "/") as client:
        await (await client.ping(b"hi"))
        await client.send(changed(house))
        await client.recv()
        await house.chat.opened()
        assert house.chat.quiet


async def test_a_client_that_does_not_register_is_closed_with_4001(start: Start) -> None:
    house: House = await start(ConnectionLimits(register_seconds=0.05))
    async with connect(house.ws_url + "/") as client:
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(client.recv(), PATIENCE)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (
        4001,
        "no register message within the deadline",
    )


async def test_without_the_register_form_a_socket_on_the_main_route_is_closed_with_4006(start: Start) -> None:
    house: House = await start(None, HttpSettings(register_form=False))
    async with connect(house.ws_url + "/") as client:
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(client.recv(), PATIENCE)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4006


async def test_channel_ids_are_all_different(house: House) -> None:
    async with connect(house.ws_url + "/") as one, connect(house.ws_url + "/") as two:
        for client in (one, two):
            await client.send(changed(house))
        ids = {json.loads(await client.recv())["channel_id"] for client in (one, two)}
    assert len(ids) == 2
    assert all(0 < channel_id < 2**32 for channel_id in ids)
    assert house.server.open_channels(CHAT) == []
