"""Messages to and from extensions, in both forms of a process: a real node, a real component, a real client that
speaks the framing.
"""

from __future__ import annotations

import asyncio
from typing import Any

import cbor2
import msgpack  # type: ignore[import-untyped] # it has no types of its own
import pytest
from tests.tiers import thorough_after

from .clients import Client, bound
from .conftest import StartNode
from .daemon import Daemon
from .protocol_forms import FORMS, PUSHER, Form
from .test_http_protocol import room, speaking

MESSAGE_BYTES = 4096
WINDOW = 64 * 1024
SETTINGS = {"connections_message_bytes": MESSAGE_BYTES, "connections_outbox_bytes": WINDOW}


async def unpacked(extension: Client, unpack: Any = msgpack.unpackb) -> dict[str, Any]:
    """The next message to an extension."""
    message = await extension.receive()
    assert isinstance(message, bytes)
    ((name, fields),) = unpack(message).items()
    assert name == "WebSocketExtPushData"
    said: dict[str, Any] = fields
    return said


def packed(number: int, kind: str, blob: bytes) -> dict[str, Any]:
    return {"WebSocketExtPushData": {"id": number, "kinode_message_type": kind, "blob": blob}}


async def channel_of(extension: Client) -> int:
    """The id of its channel, which the pusher says."""
    number: int = (await extension.json())["channel_id"]
    return number


@pytest.mark.parametrize("form", thorough_after(1, FORMS))
async def test_an_extension_is_asked_and_told(start: StartNode, form: Form) -> None:
    daemon = await start("pusher", settings=SETTINGS)
    async with speaking(daemon, form) as speaker:
        assert await speaker.bind_ws("/ext", authenticated=False, extension=True) is None
        async with bound(daemon, PUSHER, "/ext", **daemon.local) as extension, room(daemon, "a") as ordinary:
            channel = await channel_of(extension)
            assert await speaker.push_extension(channel, b"told") == (None, None)
            said = await unpacked(extension)
            assert (said["kinode_message_type"], said["blob"]) == ("Request", b"told")

            async with asyncio.TaskGroup() as tasks:
                asked = tasks.create_task(speaker.push_extension(channel, b"asked", 9))
                said = await unpacked(extension)
                assert (said["kinode_message_type"], said["blob"]) == ("Response", b"asked")
                await extension.send(msgpack.packb(packed(said["id"], "Response", b"answer")))
            assert asked.result() == (None, b"answer")

            assert await speaker.push_extension(channel, b"in vain", 1) == (None, None), "not in time"
            assert await speaker.push_extension(channel, bytes(MESSAGE_BYTES + 1)) == (
                "WsMessageTooBig",
                None,
            )
            assert await speaker.push_extension(channel ^ 1, b"x") == ("WsChannelNotFound", None)
            # A channel that no extension opened gets the same frame: published clients of the Kinode OS wait for it.
            assert await speaker.push_extension(ordinary.channel_id, b"x") == (None, None)


@pytest.mark.parametrize("pack", [msgpack.packb, cbor2.dumps], ids=["msgpack", "cbor"])
async def test_what_an_extension_asks_is_a_request_and_its_answer_has_the_same_id(
    start: StartNode, pack: Any
) -> None:
    daemon: Daemon = await start("pusher")
    unpack = msgpack.unpackb if pack is msgpack.packb else cbor2.loads
    async with speaking(daemon, "json") as speaker:
        assert await speaker.bind_ws("/ext", authenticated=False, extension=True) is None
        async with bound(daemon, PUSHER, "/ext", **daemon.local) as extension:
            channel = await channel_of(extension)
            await extension.send(pack(packed(2**63 + 1, "Request", b"a question")))
            said = await unpacked(extension, unpack)
            assert (said["id"], said["kinode_message_type"]) == (2**63 + 1, "Response")
            assert b'"a question"' in said["blob"]
            assert f'"channel_id\\": {channel}'.encode() in said["blob"].replace(b" ", b" ")
            await extension.send(b"no framing")
            assert await extension.receive() == b"no framing"
