"""What only the JSON form has: bodies that make no sense, blobs that are missing, responses that nobody asked for,
and messages to extensions. A real node, a real component.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgpack  # type: ignore[import-untyped] # it has no types of its own

from .clients import Client, bound
from .conftest import StartNode
from .protocol_forms import PUSHER, Speaker, do
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
        assert await speaker.answer({"Bind": {"path": "/page", "cache": True}}) == {"Err": "NoBlob"}
        assert await speaker.answer({"SecureBind": {"path": "/page", "cache": True}}) == {"Err": "NoBlob"}
        for payload in (b"x", b"\x03\xe7", b"\x03\xed", b"\x03\xe8\xff"):
            assert await speaker.answer(push(mine, "Close"), payload) == {"Err": "WsBadClose"}
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


async def test_an_extension_is_asked_and_told_in_its_framing(start: StartNode) -> None:
    daemon = await start("pusher", settings={"connections_message_bytes": 4096})
    async with speaking(daemon, "json") as speaker:
        assert await speaker.bind_ws("/ext", authenticated=False, extension=True) is None
        async with bound(daemon, PUSHER, "/ext") as extension, room(daemon, "a") as ordinary:
            channel = (await extension.json())["channel_id"]

            def outgoing(kind: str, to: int = channel) -> dict[str, Any]:
                fields = {"channel_id": to, "message_type": "Binary", "desired_reply_type": kind}
                return {"WebSocketExtPushOutgoing": fields}

            assert await speaker.answer(outgoing("Request"), b"told") == OK
            assert (await unpacked(extension))["blob"] == b"told"
            answer = await answered(speaker, extension, outgoing("Response"))
            assert answer == {"WebSocketPush": {"channel_id": channel, "message_type": "Binary"}}

            assert await speaker.answer(outgoing("Response")) == {"Err": "NoBlob"}
            assert await speaker.answer(outgoing("Request"), bytes(4097)) == {"Err": "WsMessageTooBig"}
            for other in (ordinary.channel_id, channel ^ 1):
                answer = await speaker.answer(outgoing("Request", other), b"x")
                assert answer == {"Err": "WsChannelNotFound"}


async def unpacked(extension: Client) -> dict[str, Any]:
    """The next message to an extension."""
    message = await extension.receive()
    assert isinstance(message, bytes)
    ((name, fields),) = msgpack.unpackb(message).items()
    assert name == "WebSocketExtPushData"
    said: dict[str, Any] = fields
    return said


async def answered(speaker: Speaker, extension: Client, body: dict[str, Any]) -> Any:
    """Ask an extension, and answer for it; the response that the process gets."""
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(speaker.answer(body, b"asked"))
        said = await unpacked(extension)
        assert (said["kinode_message_type"], said["blob"]) == ("Response", b"asked")
        reply = {"id": said["id"], "kinode_message_type": "Response", "blob": b"answer"}
        await extension.send(msgpack.packb({"WebSocketExtPushData": reply}))
    return asked.result()
