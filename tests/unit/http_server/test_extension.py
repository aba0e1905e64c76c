"""Extensions: native programs on this machine that speak to a process as one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import cbor2
import msgpack  # type: ignore[import-untyped] # it has no types of its own
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.patience import PATIENCE
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from guesthouse.core.address import Address
from guesthouse.core.messages import LazyLoadBlob
from guesthouse.core.ports import Answer
from guesthouse.http_server.channel.extension import FRAMING, NAME, Dialect, ExtensionPush, read
from guesthouse.link.calls import BindWsPath

from .conftest import CHAT, NODE, OTHER, House

BOTH = ("kinode_message_type", "hyperware_message_type")
BODY = {"WebSocketPush": {"channel_id": 0, "message_type": "Binary"}}


@asynccontextmanager
async def extension(house: House, **headers: str) -> AsyncIterator[tuple[ClientConnection, int]]:
    house.server.bind_ws_path(CHAT, BindWsPath("/ext", authenticated=False, secure=False, extension=True))
    async with connect(
        f"{house.ws_url}/{CHAT}/ext", additional_headers=house.local | headers, ping_interval=None, proxy=None
    ) as socket:
        yield socket, (await house.chat.opened()).channel_id


def message(number: int, kind: str, blob: bytes) -> dict[str, Any]:
    return {NAME: {"id": number, "kinode_message_type": kind, "blob": blob}}


def outgoing(house: House, channel_id: int, kind: str, blob: bytes, waits: int = 0) -> dict[str, Any] | None:
    fields = {"channel_id": channel_id, "message_type": "Binary", "desired_reply_type": kind}
    body = json.dumps({"WebSocketExtPushOutgoing": fields}).encode()
    answer = house.server.request(Address(NODE, CHAT), body, LazyLoadBlob(None, blob), lambda: waits)
    parsed: dict[str, Any] | None = None if answer is None else json.loads(answer)
    return parsed


@pytest.mark.parametrize("pack", [msgpack.packb, cbor2.dumps])
async def test_a_request_is_one_to_the_process_and_its_answer_goes_back(house: House, pack: Any) -> None:
    async with extension(house) as (socket, channel_id):
        await socket.send(pack(message(2**63, "Request", b"work")))
        process, request, blob, answered = await asyncio.wait_for(house.router.requests.get(), PATIENCE)
        assert process == CHAT
        assert blob == LazyLoadBlob(None, b"work")
        assert json.loads(request.body)["WebSocketPush"]["channel_id"] == channel_id
        answered(Answer(b"body", None, LazyLoadBlob(None, b"done")))
        got = await socket.recv()
        assert isinstance(got, bytes)
        unpack = msgpack.unpackb if pack is msgpack.packb else cbor2.loads
        assert unpack(got) == message(2**63, "Response", b"done")


async def test_a_response_answers_what_the_process_asked(house: House) -> None:
    house.router.awaited.add(41)
    async with extension(house) as (socket, channel_id):
        assert outgoing(house, channel_id, "Response", b"please", waits=41) is None
        got = await socket.recv()
        assert isinstance(got, bytes)
        asked = message(41, "Response", b"please")
        asked[NAME]["hyperware_message_type"] = "Response"
        assert msgpack.unpackb(got) == asked
        await socket.send(msgpack.packb(message(41, "Response", b"here")))
        await socket.send("after it")
        assert await house.chat.next() == ("push", channel_id, 0, b"after it")
        ((number, asker, body, blob),) = house.router.answers
        assert (number, asker, blob) == (41, CHAT, LazyLoadBlob(None, b"here"))
        assert json.loads(body)["WebSocketPush"]["channel_id"] == channel_id


async def test_a_response_that_nobody_waits_for_is_logged(house: House) -> None:
    async with extension(house) as (socket, channel_id):
        await socket.send(msgpack.packb(message(5, "Response", b"late")))
        await socket.send("after it")
        assert await house.chat.next() == ("push", channel_id, 0, b"after it")
    assert house.log.mentions("response matches no pending request")


async def test_what_is_not_in_the_framing_is_a_plain_message(house: House) -> None:
    async with extension(house) as (socket, channel_id):
        for payload in (b"\xc1", b"", b"\x81", msgpack.packb({"id": 1}), cbor2.dumps(cbor2.CBORTag(2, b"x"))):
            await socket.send(payload)
            assert await house.chat.next() == ("push", channel_id, 1, payload)
        await socket.send("text")
        assert await house.chat.next() == ("push", channel_id, 0, b"text")


async def test_a_request_that_is_not_taken_is_logged(house: House) -> None:
    house.router.refusal = "mailbox-full"
    async with extension(house) as (socket, channel_id):
        await socket.send(msgpack.packb(message(1, "Request", b"x")))
        await socket.send("after it")
        assert await house.chat.next() == ("push", channel_id, 0, b"after it")
    assert house.log.mentions("an extension's request was not delivered: mailbox-full")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Forwarded-For": "127.0.0.1"}, 403),
        ({"Forwarded": "for=127.0.0.1"}, 403),
        ({"Via": "1.1 proxy"}, 403),
        ({"Host": "evil.example"}, 400),  # beside its own
        ({"Origin": "http://evil.example"}, 403),
    ],
)
async def test_only_programs_on_this_machine_may_connect(
    house: House, headers: dict[str, str], status: int
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with extension(house, **headers):
            pass
    assert refused.value.response.status_code == status
    assert house.chat.quiet


async def test_a_client_of_another_path_gets_the_framing_too_and_answers_as_any_client(house: House) -> None:
    async with house.bound() as (socket, event):
        assert outgoing(house, event.channel_id, "Request", b"told") == {"Ok": None}
        assert outgoing(house, event.channel_id, "Response", b"asked", 7) is None
        told, asked = [msgpack.unpackb(await socket.recv())[NAME] for _ in range(2)]
        assert (told["kinode_message_type"], told["blob"]) == ("Request", b"told")
        assert asked == {
            "id": 7,
            "kinode_message_type": "Response",
            "hyperware_message_type": "Response",
            "blob": b"asked",
        }
        answer = msgpack.packb(message(7, "Response", b"done"))
        await socket.send(answer)
        assert (await house.chat.next())[1:] == (event.channel_id, 1, answer)
        assert house.router.answers == []


@pytest.mark.parametrize("name", ["kinode_message_type", "hyperware_message_type"])
async def test_an_extension_is_written_to_as_it_writes(house: House, name: str) -> None:
    async with extension(house) as (socket, channel_id):
        await socket.send(msgpack.packb({NAME: {"id": 5, name: "Request", "blob": b"work"}}))
        *_, answered = await asyncio.wait_for(house.router.requests.get(), PATIENCE)
        answered(Answer(b"done"))
        assert msgpack.unpackb(await socket.recv())[NAME] == {"id": 5, name: "Response", "blob": b"done"}
        assert outgoing(house, channel_id, "Request", b"x") == {"Ok": None}
        assert msgpack.unpackb(await socket.recv())[NAME] == {"id": 0, name: "Request", "blob": b"x"}


async def test_only_a_channel_of_its_own_can_be_pushed_to(house: House) -> None:
    async with extension(house) as (_, channel_id):
        assert outgoing(house, 1, "Response", b"x") == {"Err": "WsChannelNotFound"}
        assert outgoing(house, channel_id, "Maybe", b"x") == {"Err": "MalformedRequest"}
        fields = {"channel_id": channel_id, "message_type": "Binary", "desired_reply_type": "Request"}
        body = json.dumps({"WebSocketExtPushOutgoing": fields}).encode()
        other = house.server.request(Address(NODE, OTHER), body, LazyLoadBlob(None, b"x"), lambda: 0)
        assert other == b'{"Err": "WsChannelNotFound"}'
        nothing = house.server.request(Address(NODE, CHAT), body, None, lambda: 0)
        assert nothing == b'{"Err": "NoBlob"}'


async def test_too_much_for_an_extension_is_refused_at_its_limit(house: House) -> None:
    async with extension(house) as (socket, channel_id):
        limit = house.server._context.settings.connections.message_bytes
        assert outgoing(house, channel_id, "Request", b"x" * limit) == {"Ok": None}
        assert outgoing(house, channel_id, "Request", b"x" * (limit + 1)) == {"Err": "WsMessageTooBig"}
        socket.transport.abort()


@given(
    st.integers(0, 2**64 - 1),
    st.sampled_from(["Request", "Response"]),
    st.binary(),
    st.builds(Dialect, st.booleans(), st.sampled_from([BOTH, BOTH[:1], BOTH[1:]])),
)
def test_every_message_reads_as_it_was_packed(number: int, kind: str, blob: bytes, dialect: Dialect) -> None:
    push = ExtensionPush(number, kind, blob)
    assert read(push.pack(dialect)) == (push, dialect)
    assert len(push.pack(dialect)) <= len(blob) + FRAMING


@given(st.binary())
def test_no_bytes_break_the_reader(data: bytes) -> None:
    read(data)
    read(b"\xa1" + data)
    read(cbor2.dumps({NAME: {}})[:-1] + data)
    read(b"\x81" + data)


@pytest.mark.parametrize(
    "fields",
    [
        {"id": -1, "kinode_message_type": "Request", "blob": b""},
        {"id": True, "kinode_message_type": "Request", "blob": b""},
        {"id": 1, "kinode_message_type": "Other", "blob": b""},
        {"id": 1, "kinode_message_type": [], "blob": b""},
        {"id": 1, "kinode_message_type": "Request", "blob": [256]},
        {"id": 1, "kinode_message_type": "Request", "blob": "text"},
        {"id": 1, "kinode_message_type": "Request", "blob": b"", "more": 1},
        {"id": 1, "kinode_message_type": "Request", "hyperware_message_type": "Response", "blob": b""},
        {"id": 1, "blob": b""},
    ],
)
def test_a_message_with_a_wrong_field_is_none(fields: dict[str, Any]) -> None:
    assert read(msgpack.packb({NAME: fields})) is None


def test_a_blob_may_be_a_list_of_numbers_and_the_name_left_out() -> None:
    fields = {"id": 1, "kinode_message_type": "Request", "blob": [1, 255]}
    assert read(msgpack.packb(fields)) == (
        ExtensionPush(1, "Request", b"\x01\xff"),
        Dialect(type_fields=("kinode_message_type",)),
    )


def indefinite(kind: int, *parts: bytes) -> bytes:
    """CBOR of a length that is not said."""
    return bytes([kind << 5 | 31]) + b"".join(parts) + b"\xff"


FIELDS: dict[str, Any] = {"id": 7, "kinode_message_type": "Request", "blob": b"work"}
READ = ExtensionPush(7, "Request", b"work"), Dialect(True, BOTH[:1])
NAMED = b"".join(map(cbor2.dumps, ("id", 7, "kinode_message_type", "Request", "blob")))


@pytest.mark.parametrize(
    "data",
    [
        cbor2.dumps({NAME: FIELDS}),
        cbor2.dumps(FIELDS),
        cbor2.dumps({NAME: FIELDS | {"blob": list(b"work")}}),
        indefinite(5, cbor2.dumps(NAME), cbor2.dumps(FIELDS)),
        indefinite(5, cbor2.dumps(NAME), indefinite(5, NAMED, indefinite(2, b"\x42wo", b"\x40", b"\x42rk"))),
        indefinite(5, NAMED, indefinite(4, *(b"\x18" + bytes([byte]) for byte in b"work"))),
        b"\xa1" + cbor2.dumps(NAME) + b"\xbb" + (3).to_bytes(8, "big") + NAMED + b"\x5a\x00\x00\x00\x04work",
    ],
)
def test_cbor_is_read_however_it_may_be_written(data: bytes) -> None:
    assert cbor2.loads(data)
    assert read(data) == READ


@given(st.binary(max_size=600), st.sampled_from([True, False]))
def test_bytes_in_cbor_may_be_a_list_of_any_numbers(blob: bytes, framed: object) -> None:
    fields = FIELDS | {"blob": list(blob)}
    found = read(cbor2.dumps({NAME: fields} if framed else fields))
    assert found is not None
    assert found[0].blob == blob


@pytest.mark.parametrize(
    "blob",
    [
        *(1, -1, 1.5, None, True, "text", [256], [-1], [1, [2]], [b"x"], {}, {"a": 1}, [[]] * 9),
        *(cbor2.CBORTag(2, b"x"), cbor2.CBORTag(35, "(a+)+"), 2**70, cbor2.undefined),
    ],
)
def test_a_blob_in_cbor_that_is_none_makes_a_plain_message(blob: Any) -> None:
    assert read(cbor2.dumps({NAME: FIELDS | {"blob": blob}})) is None


@pytest.mark.parametrize(
    "data",
    [
        cbor2.dumps({NAME: FIELDS}) + b"\x00",
        cbor2.dumps({NAME: FIELDS})[:-1],
        cbor2.dumps({NAME: {NAME: FIELDS}}),
        cbor2.dumps(FIELDS | {"more": 1}),
        cbor2.dumps(FIELDS | {"id": 2**64}),
        b"\xa4" + NAMED + b"\x40" + cbor2.dumps("id") + b"\x07",
        b"\xbf" + (cbor2.dumps("id") + b"\x07") * 2 + b"\xff",
        b"\xbf" + b"".join(cbor2.dumps(f"name{number}") + b"\x07" for number in range(9)) + b"\xff",
        b"\xa3" + NAMED + b"\x5f" + b"\x40" * 1025 + b"\xff",
        b"\xa3" + NAMED + b"\x5f\x61w\xff",
        b"\xa3" + NAMED + b"\x5f\x5f\xff\xff",
        b"\xa3" + NAMED + b"\x5c",
        b"\xa3" + NAMED + b"\x9f\x18",
        b"\xa3" + NAMED + b"\x82\x01",
        b"\xa1\x07\x07",
        b"\xa1\x78\xff" + b"x" * 255 + b"\x07",
        b"\xbb" + b"\xff" * 8,
        b"\xa1" * 100_000,
        b"\xbf" + cbor2.dumps(NAME) + b"\xbf" * 100_000,
    ],
    ids=lambda data: repr(data[:40]),
)
def test_cbor_of_no_extension_is_a_plain_message(data: bytes) -> None:
    assert read(data) is None
