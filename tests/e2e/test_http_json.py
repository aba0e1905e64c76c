"""What only the JSON form has: bodies that make no sense, blobs that are missing, responses that nobody asked for.
A real node, a real component.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import StartNode
from .protocol_forms import do
from .test_http_protocol import room, speaking
from .waiting import until

OK = {"Ok": None}
MALFORMED = {"Err": "MalformedRequest"}


def push(channel: int, kind: str = "Text") -> dict[str, Any]:
    return {"WebSocketPush": {"channel_id": channel, "message_type": kind}}


async def test_what_makes_no_sense_is_malformed_and_harms_nothing(start: StartNode) -> None:
    daemon = await start("pusher")
    async with speaking(daemon, "json") as speaker:
        bodies: list[Any] = [
            b"",
            b"\xff\xfe",
            b"{",
            b"[" * 100_000,
            b'{"WebSocketClose": 1}'.ljust(256 * 1024 + 1),
            json.dumps({"WebSocketClose": 1}).encode("utf-16"),
            [],
            {},
            {"Nothing": {}},
            {"WebSocketClose": 1, "Bind": {}},
            {"WebSocketClose": "1"},
            {"WebSocketPush": {"channel_id": 1}},
            {"WebSocketPush": {"channel_id": 1, "message_type": "text"}},
            {"WebSocketPushMany": {"channel_ids": 7, "message_type": "Text"}},
            {"WebSocketPushPath": {"message_type": "Text"}},
            {"WebSocketPolicy": {"channel_id": 1, "policy": 1}},
            {"WebSocketExtPushOutgoing": {"channel_id": 1, "message_type": "Binary"}},
            {"WebSocketBind": {"authenticated": False}},
            {"WebSocketSecureBind": {"path": 1}},
            {"WebSocketUnbind": {}},
            {"Bind": {"path": "/", "response_seconds": "1"}},
            {"SecureBind": {}},
            {"Unbind": "/"},
            {"ServeUi": {"path": "/", "secure": 1}},
        ]
        for body in bodies:
            assert await speaker.answer(body, b"blob") == MALFORMED, body
        async with room(daemon, "a") as client:
            assert await speaker.answer(push(client.channel_id) | {}, b"fine") == OK
            assert await client.receive() == "fine"


@pytest.mark.thorough
async def test_errors_that_calls_of_the_contract_cannot_have_are_said(start: StartNode) -> None:
    daemon = await start("pusher")
    async with speaking(daemon, "json") as speaker, room(daemon, "a") as client:
        mine = client.channel_id
        for body in (push(mine), push(mine, "Binary"), push(mine, "Ping"), push(mine, "Pong")):
            assert await speaker.answer(body) == {"Err": "NoBlob"}
        many = {"WebSocketPushMany": {"channel_ids": [mine], "message_type": "Text"}}
        assert await speaker.answer(many) == {"Err": "NoBlob"}
        path = {"WebSocketPushPath": {"path": "/rooms/a", "message_type": "Text"}}
        assert await speaker.answer(path) == {"Err": "NoBlob"}
        fields = {"channel_id": mine, "message_type": "Binary", "desired_reply_type": "Request"}
        assert await speaker.answer({"WebSocketExtPushOutgoing": fields}) == {"Err": "NoBlob"}
        assert await speaker.answer({"Bind": {"path": "/page", "cache": True}}) == {"Err": "NoBlob"}
        assert await speaker.answer({"SecureBind": {"path": "/page", "cache": True}}) == {"Err": "NoBlob"}
        policy = {"WebSocketPolicy": {"channel_id": mine, "policy": "no such"}}
        assert await speaker.answer(policy) == MALFORMED
        assert await speaker.answer(push(mine, "Close")) == OK
        await client.socket.wait_closed()


async def test_who_wants_no_response_is_told_only_what_went_wrong(start: StartNode) -> None:
    daemon = await start("pusher")
    async with speaking(daemon, "json") as speaker, room(daemon, "a") as client:
        mine, unknown = client.channel_id, client.channel_id ^ 1
        many = {"WebSocketPushMany": {"channel_ids": [mine, unknown], "message_type": "Text"}}
        bodies: list[Any] = [push(mine), push(unknown), many]
        bodies += [{"WebSocketPolicy": {}}, {"WebSocketUnbind": {"path": "/"}}]
        for body in bodies:
            assert await do(speaker.control, "tell", body=body, blob=[b"x".hex(), 0]) == "ok"
        assert [await client.receive(), await client.receive()] == ["x", "x"]
        heard: list[str] = []

        async def responses() -> list[str]:
            heard.extend(await do(speaker.control, "responses"))
            return heard

        await until(responses, lambda came: len(came) >= 3, "the refusals")
        assert [json.loads(text) for text in heard] == [
            {"Err": "WsChannelNotFound"},
            {"Ok": [[unknown, "WsChannelNotFound"]]},
            MALFORMED,
        ]
