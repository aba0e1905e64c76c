"""Requests to `http-server:distro:sys` with JSON bodies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from guesthouse.core.address import Address, ProcessId
from guesthouse.core.config import ConnectionLimits
from guesthouse.core.json_text import MOST_BYTES
from guesthouse.core.messages import LazyLoadBlob

from .conftest import CHAT, NODE, OTHER, House


@pytest.fixture
def limits() -> ConnectionLimits:
    return ConnectionLimits(message_bytes=4096, outbox_bytes=64 * 1024, bindings_per_process=2)


def ask(
    house: House, request: Any, blob: bytes | None = None, *, source: ProcessId = CHAT, node: str = NODE
) -> dict[str, Any]:
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    answer = house.server.request(
        Address(node, source), body, None if blob is None else LazyLoadBlob("text/plain", blob), lambda: 0
    )
    assert answer is not None
    parsed: dict[str, Any] = json.loads(answer)
    assert len(parsed) == 1
    return parsed


OK = {"Ok": None}


def push(channel_id: Any, message_type: Any = "Text") -> dict[str, Any]:
    return {"WebSocketPush": {"channel_id": channel_id, "message_type": message_type}}


async def test_every_message_type_is_pushed(house: House) -> None:
    async with house.raw_channel() as (reader, _, channel):
        assert ask(house, push(channel), b"text") == OK
        assert ask(house, push(channel, "Binary"), b"\xff") == OK
        assert ask(house, push(channel, "Ping"), b"i") == OK
        assert ask(house, push(channel, "Pong"), b"o") == OK
        assert ask(house, push(channel, "Close"), b"\x0f\xa1x") == OK
        assert (
            await reader.readexactly(20)
            == b"\x81\x04text\x82\x01\xff\x89\x01i\x8a\x01o\x88\x03\x0f\xa1x"[:20]
        )
        assert await house.chat.next() == ("gone", channel)


async def test_a_channel_is_closed_by_its_id(house: House) -> None:
    async with house.raw_channel() as (reader, _, channel):
        assert ask(house, {"WebSocketClose": channel}) == OK
        assert await reader.readexactly(4) == b"\x88\x02\x03\xe8"
        assert await house.chat.next() == ("gone", channel)
        assert ask(house, {"WebSocketClose": channel}) == OK


async def test_closing_what_is_not_there_is_done_whoever_asks(house: House) -> None:
    async with house.bound() as (client, event):
        mine = event.channel_id
        for channel in (mine, mine ^ 1):
            for body in ({"WebSocketClose": channel}, push(channel, "Close")):
                assert ask(house, body, source=OTHER) == OK
        assert ask(house, {"WebSocketClose": mine ^ 1}) == OK
        assert ask(house, push(mine ^ 1, "Close"), b"x") == OK
        assert ask(house, push(mine), b"still open") == OK
        assert await client.recv() == "still open"


async def test_what_is_wrong_with_a_push_is_said(house: House) -> None:
    async with house.bound() as (client, event):
        mine = event.channel_id
        assert ask(house, push(mine)) == {"Err": "NoBlob"}
        assert ask(house, push(mine, "Ping"), b"x" * 126) == {"Err": "WsPingPongTooLong"}
        assert ask(house, push(mine), b"\xff") == {"Err": "WsTextNotUtf8"}
        assert ask(house, push(mine), b"x" * 4097) == {"Err": "WsMessageTooBig"}
        assert ask(house, push(mine, "Close"), b"x") == {"Err": "WsBadClose"}
        unknown = ask(house, push(mine ^ 1), b"x")
        assert unknown == {"Err": "WsChannelNotFound"}
        assert ask(house, push(mine), b"x", source=OTHER) == unknown
        assert ask(house, push(mine), b"fine") == OK
        assert await client.recv() == "fine"


@pytest.mark.slow
async def test_a_client_that_does_not_read_fills_its_outbox_and_no_more(house: House) -> None:
    async with house.raw_channel() as (_, _, channel):
        answers = [ask(house, push(channel, "Binary"), b"x" * 4000) for _ in range(20_000)]
        assert answers[0] == OK
        assert answers[-1] == {"Err": "WsChannelFull"}
        (info,) = house.server.open_channels()
        assert info.outbox_bytes <= 64 * 1024


@pytest.mark.slow
@pytest.mark.parametrize(
    "request_body",
    [
        b"",
        b"\xff",
        b'{"WebSocketClose": 1}'.decode().encode("utf-16"),
        b'\xef\xbb\xbf{"WebSocketClose": 1}',
        b'{"WebSocketClose": 1} ' + b'{"WebSocketClose": 1}',
        b'{"Bind": {"path": "/", "response_seconds": NaN}}',
        b'{"Bind": {"path": "/", "response_seconds": Infinity}}',
        b'{"WebSocketClose": ' + b"1" * 5000 + b"}",
        b"[" * 100_000,
        [],
        7,
        "Bind",
        {},
        {"Nothing": {}},
        {"WebSocketClose": 1, "Bind": {}},
        {"WebSocketClose": None},
        {"WebSocketClose": -1},
        {"WebSocketClose": 2**32},
        {"WebSocketClose": True},
        {"WebSocketClose": "1"},
        {"WebSocketPush": []},
        push("1"),
        push(1, "text"),
        push(1, 0),
        push(1, ["Text"]),
        push(1.0),
        push(None),
        {"WebSocketPush": {"channel_id": 1}},
        {"WebSocketPush": {"message_type": "Text"}},
        {"WebSocketPushMany": {"channel_ids": 1, "message_type": "Text"}},
        {"WebSocketPushMany": {"channel_ids": [1, "2"], "message_type": "Text"}},
        {"WebSocketPushMany": {"channel_ids": [1]}},
        {"WebSocketPushPath": {"message_type": "Text"}},
        {"WebSocketPushPath": {"path": "/", "message_type": "text"}},
        {"WebSocketPresence": {"wanted": 1}},
        {"WebSocketPresence": True},
        {"WebSocketPolicy": {"channel_id": 1}},
        {"WebSocketPolicy": {"channel_id": "1", "policy": "wait"}},
        {"WebSocketExtPushOutgoing": {"channel_id": 1, "message_type": "Binary"}},
        {"WebSocketExtPushOutgoing": {"channel_id": 1, "message_type": "Binary", "desired_reply_type": "x"}},
        {"WebSocketExtPushOutgoing": {"channel_id": 1, "desired_reply_type": "Request"}},
        {"WebSocketBind": {"path": "/", "extension": "no"}},
        {"WebSocketBind": {"path": "/", "encrypted": 0}},
        {"WebSocketBind": {"path": "/", "subprotocols": "v1"}},
        {"WebSocketBind": {"path": "/", "subprotocols": ["v1", 2]}},
        {"WebSocketSecureBind": {"extension": True}},
        {"WebSocketSecureBind": {"path": "/", "extension": 1}},
        {"SecureBind": {"cache": False}},
        {"SecureBind": {"path": "/", "cache": "yes"}},
        {"Bind": {"path": "/", "authenticated": 1}},
        {"Bind": {"path": "/", "local_only": []}},
        {"Bind": {"path": "/", "response_seconds": 0}},
        {"Bind": {"path": "/", "response_seconds": "9"}},
        {"Bind": {"path": "/", "response_seconds": True}},
        {"ServeUi": {"authenticated": False}},
        {"ServeUi": {"path": "/", "secure": "no"}},
        {"WebSocketBind": {}},
        {"WebSocketBind": {"path": 1}},
        {"WebSocketBind": {"path": "/", "authenticated": "no"}},
        {"WebSocketUnbind": {}},
        {"Bind": None},
        {"Bind": {"path": "/", "cache": 1}},
        {"Unbind": "/"},
    ],
)
async def test_a_request_of_another_shape_is_malformed(house: House, request_body: Any) -> None:
    assert ask(house, request_body, b"blob") == {"Err": "MalformedRequest"}


@pytest.mark.parametrize(("more", "answer"), [(-1, OK), (0, OK), (1, {"Err": "MalformedRequest"})])
async def test_a_body_is_as_long_as_it_may_be(house: House, more: int, answer: object) -> None:
    body = json.dumps({"WebSocketUnbind": {"path": "/"}}).encode()
    assert ask(house, body.ljust(MOST_BYTES + more)) == answer


async def test_what_no_action_has_is_ignored(house: House) -> None:
    async with house.bound() as (client, event):
        body = {"channel_id": event.channel_id, "message_type": "Text", "newer": [1]}
        assert ask(house, {"WebSocketPush": body}, b"x") == OK
        assert await client.recv() == "x"
        assert ask(house, {"WebSocketUnbind": {"path": "/", "reason": None}}) == OK


async def test_a_path_is_for_people_who_are_logged_in_unless_the_process_says_otherwise(house: House) -> None:
    assert ask(house, {"Bind": {"path": "/page", "cache": True}}, b"hello") == OK
    assert ask(house, {"WebSocketBind": {"path": "/ws"}}) == OK
    async with house.http() as client:
        assert (await client.get(f"/{CHAT}/page")).status_code == 401
        assert (await client.get(f"/{CHAT}/page", headers=house.cookie)).text == "hello"
    with pytest.raises(InvalidStatus) as caught:
        async with connect(f"{house.ws_url}/{CHAT}/ws"):
            pass
    assert caught.value.response.status_code == 401


async def test_paths_are_bound_and_unbound(house: House) -> None:
    bind = {"path": "/ws", "authenticated": False, "extension": False, "encrypted": False}
    assert ask(house, {"WebSocketBind": bind}) == OK
    static = {"path": "page", "authenticated": False, "local_only": False, "cache": True}
    assert ask(house, {"Bind": static}, b"hello") == OK
    assert ask(house, {"Bind": {"path": "/third"}}) == {"Err": "TooManyBindings"}
    async with house.http() as client:
        page = await client.get(f"/{CHAT}/page")
        assert (page.text, page.headers["content-type"]) == ("hello", "text/plain")
        assert ask(house, {"Unbind": {"path": "/page"}}) == OK
        assert (await client.get(f"/{CHAT}/page")).status_code == 404
    assert ask(house, {"WebSocketUnbind": {"path": "/ws"}}) == OK
    for path in ("/../x", "/a/./b", "/a\\b", "/a\0b", "/" + "x" * 2048):
        assert ask(house, {"Bind": {"path": path}}) == {"Err": "BadPath"}
        assert ask(house, {"WebSocketUnbind": {"path": path}}) == OK, "nothing is bound there"
    assert ask(house, {"WebSocketBind": {"path": "/a//b"}}) == {"Err": "BadPath"}
    assert ask(house, {"Bind": static}) == {"Err": "NoBlob"}


@pytest.mark.parametrize(
    "request_",
    [
        {"Bind": {"path": "/\ud800"}},
        {"Unbind": {"path": "/\udfff"}},
        {"ServeUi": {"path": "/\ud83d"}},
        {"WebSocketBind": {"path": "/ws", "subprotocols": ["\udcff"]}},
        {"WebSocketPushPath": {"path": "\ud800", "message_type": "Text"}},
        {"WebSocketClose\ud800": 1},
        b'{"Bind": {"path": "/\xff"}}',
    ],
)
async def test_half_a_surrogate_pair_is_refused_wherever_it_stands(house: House, request_: Any) -> None:
    assert ask(house, request_, b"blob") == {"Err": "MalformedRequest"}


async def test_a_process_of_another_node_is_refused(house: House) -> None:
    async with house.bound() as (_, event):
        answer = ask(house, push(event.channel_id), b"x", node="stranger.os")
    assert answer == {"Err": "InvalidSourceProcess"}
