"""Resumable channels (`docs/resume.md`), by a client of their own and real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.resume_client import AWAY, ESCAPE, ResumableClient, control, escaped
from websockets.exceptions import ConnectionClosed

from guesthouse.core.config import ConnectionLimits
from guesthouse.core.messages import WebSocketOpen
from guesthouse.http_server import close_codes
from guesthouse.http_server.close_codes import CloseReason
from guesthouse.link.calls import AwaitRoom, BindWsPath, SetChannelPolicy

from .conftest import CHAT, NODE, House, Start, until

TEXT, BINARY = 0, 1


def client_of(house: House, path: str = "/", **options: Any) -> ResumableClient:
    house.server.bind_ws_path(CHAT, BindWsPath(path, authenticated=False))
    return ResumableClient(f"{house.ws_url}/{CHAT}{path}", **options)


@asynccontextmanager
async def resumable(house: House, **options: Any) -> AsyncIterator[tuple[ResumableClient, WebSocketOpen]]:
    async with client_of(house, **options) as client:
        yield client, await house.chat.opened()


async def away(house: House) -> None:
    await until(lambda: all(each.away for each in house.server.open_channels(CHAT)))


def said(close: CloseReason, told: tuple[int, str]) -> bool:
    return (close.code, close.reason) == (told[0], told[1].partition(":")[0]) or told == (
        close.code,
        close.reason,
    )


async def pushed(house: House) -> tuple[Any, ...]:
    told = await house.chat.next()
    assert told[0] == "push", told
    return told[2:]


async def test_a_channel_opens_by_a_path_and_carries_every_payload_unchanged(house: House) -> None:
    payloads: list[str | bytes] = [
        "hello",
        "",
        b"",
        b"\x10",
        b"\x10{",
        ESCAPE,
        ESCAPE * 3,
        ESCAPE + "{}",
        "ü",
    ]
    async with resumable(house) as (client, opened):
        assert opened.subprotocol is None
        assert client.session.channel_id == opened.channel_id
        for payload in payloads:
            await client.send(payload)
            data = payload.encode() if isinstance(payload, str) else payload
            kind = TEXT if isinstance(payload, str) else BINARY
            assert await pushed(house) == (kind, data)
            house.server.push(CHAT, opened.channel_id, kind, data)
            assert await client.receive() == payload
            house.server.push_many(CHAT, [opened.channel_id], kind, data)
            assert await client.receive() == payload
    assert (await house.chat.next()) == ("close", opened.channel_id)
    assert len(house.server._context.sessions) == 0


async def test_a_channel_opens_by_registering(house: House) -> None:
    async with ResumableClient(house.ws_url + "/", register=house.register) as client:
        opened = await house.chat.opened()
        assert (opened.path, opened.channel_id) == ("/", client.session.channel_id)
        await client.send("hello")
        assert await pushed(house) == (TEXT, b"hello")


async def test_the_process_speaks_its_own_subprotocol_within_the_session(house: House) -> None:
    house.server.bind_ws_path(
        CHAT,
        BindWsPath(
            "/s",
            authenticated=False,
            subprotocols=(
                "v2",
                "v1",
            ),
        ),
    )
    client = ResumableClient(f"{house.ws_url}/{CHAT}/s", offers=("v1", "v3"))
    async with client:
        assert client.session.limits["subprotocol"] == "v1"
        assert (await house.chat.opened()).subprotocol == "v1"
    assert (
        house.server.bind_ws_path(
            CHAT, BindWsPath("/r", authenticated=False, subprotocols=("guesthouse.v1",))
        )
        == "bad-subprotocol"
    )


async def test_both_ends_get_what_they_lack_after_a_cut_once_and_in_order(house: House) -> None:
    async with resumable(house) as (client, opened):
        house.server.push(CHAT, opened.channel_id, TEXT, b"0")
        assert await client.receive() == "0"
        await client.send("a")
        assert await pushed(house) == (TEXT, b"a")
        client.cut()
        await away(house)
        await client.send("b")
        await client.send(ESCAPE)
        for number in range(1, 300):
            house.server.push(CHAT, opened.channel_id, TEXT, b"%d" % number)
        key = client.session.key
        answer = await client.resume()
        assert (answer["received"], answer["channel_id"]) == (1, opened.channel_id)
        assert answer["session"] != key
        assert [await client.receive() for _ in range(1, 300)] == [str(number) for number in range(1, 300)]
        assert await pushed(house) == (TEXT, b"b")
        assert await pushed(house) == (TEXT, ESCAPE.encode())
        assert house.chat.quiet
        assert client.session.lost == 0


async def test_what_was_acknowledged_is_not_kept_and_gives_its_credit_back(start: Start) -> None:
    house: House = await start(ConnectionLimits(outbox_bytes=64_000, acknowledge_messages=4))
    async with resumable(house) as (client, opened):
        record = house.server.open_channels(CHAT)[0]
        assert (record.resumable, record.away, record.outbox_bytes) == (True, False, 0)
        for _ in range(40):
            house.server.push(CHAT, opened.channel_id, BINARY, bytes(936))
        assert house.server.open_channels(CHAT)[0].outbox_bytes == 40_000
        for _ in range(40):
            await client.receive()
        await until(lambda: house.server.open_channels(CHAT)[0].outbox_bytes == 0)
        await house.chat.granted_in_all(at_least=32_000)


async def test_the_node_acknowledges_by_count_by_time_and_when_it_is_asked(start: Start) -> None:
    house: House = await start(ConnectionLimits(acknowledge_messages=3, acknowledge_seconds=0.05))
    async with resumable(house) as (client, _):
        for _ in range(3):
            await client.send("x")
        assert (await client.hear("ack"))["received"] == 3
        await client.send("x")
        assert (await client.hear("ack"))["received"] == 4
        await client.send("x")
        await client.say(type="ping", data="now")
        assert await client.hear("pong") == {"type": "pong", "data": "now", "received": 5}


async def test_a_client_that_never_acknowledges_meets_the_policy(start: Start) -> None:
    house: House = await start(ConnectionLimits(outbox_bytes=1000))
    async with resumable(house) as (client, opened):
        for _ in range(4):
            house.server.push(CHAT, opened.channel_id, BINARY, bytes(300))
        assert [len(await client.receive()) for _ in range(2)] == [300, 300]
        assert house.log.mentions("a push was dropped: WsChannelFull")


async def test_under_drop_oldest_what_is_given_up_is_told_as_lost_with_its_number(start: Start) -> None:
    house: House = await start(ConnectionLimits(outbox_bytes=10_000))
    async with resumable(house) as (client, opened):
        house.server.set_channel_policy(CHAT, SetChannelPolicy(opened.channel_id, "drop-oldest"))
        house.server.push(CHAT, opened.channel_id, TEXT, b"0")
        assert await client.receive() == "0"
        client.cut()
        await away(house)
        for number in range(1, 31):
            house.server.push(CHAT, opened.channel_id, TEXT, b"%d" % number + b"." * 934)
        await client.resume()
        heard = [await client.receive() for _ in range(10)]
        assert [str(each).rstrip(".") for each in heard] == [str(number) for number in range(21, 31)]
        assert client.session.lost == 20
        assert client.session.received == 31
        assert client.controls == [{"type": "lost", "count": 20}]


async def test_under_close_a_client_that_is_away_for_too_much_is_told_when_it_comes_back(
    start: Start,
) -> None:
    house: House = await start(ConnectionLimits(outbox_bytes=1000))
    async with resumable(house) as (client, opened):
        house.server.set_channel_policy(CHAT, SetChannelPolicy(opened.channel_id, "close"))
        client.cut()
        await away(house)
        for _ in range(4):
            house.server.push(CHAT, opened.channel_id, BINARY, bytes(300))
        assert await house.chat.next() == ("close", opened.channel_id)
        await client.resume()
        assert [len(await client.receive()) for _ in range(2)] == [300, 300]
        assert said(close_codes.TOO_SLOW, await client.closed())


async def test_a_push_that_waits_is_made_once_the_client_has_acknowledged(start: Start) -> None:
    house: House = await start(ConnectionLimits(outbox_bytes=1000, acknowledge_messages=1))
    told: list[str | None] = []
    async with resumable(house) as (client, opened):
        house.server.set_channel_policy(CHAT, SetChannelPolicy(opened.channel_id, "wait"))
        for _ in range(2):
            house.server.push(CHAT, opened.channel_id, BINARY, bytes(300))
        house.server.when_room(CHAT, AwaitRoom(opened.channel_id, 900), told.append)
        assert told == []
        client.cut()
        await away(house)
        await client.resume()
        for _ in range(2):
            await client.receive()
        await until(lambda: told == [None])


async def test_a_process_that_is_started_anew_finds_a_channel_that_is_away_open(house: House) -> None:
    async with resumable(house) as (client, opened):
        client.cut()
        await away(house)
        house.server.push(CHAT, opened.channel_id, TEXT, b"before")
        house.server.reopen(CHAT)
        again = await house.chat.opened()
        assert (again.channel_id, again.resumed) == (opened.channel_id, True)
        house.server.push(CHAT, opened.channel_id, TEXT, b"after")
        await client.resume()
        assert [await client.receive(), await client.receive()] == ["before", "after"]


async def test_a_client_that_does_not_come_back_in_time_has_left(start: Start) -> None:
    house: House = await start(ConnectionLimits(resume_seconds=0.05))
    client = client_of(house)
    await client.open()
    opened = await house.chat.opened()
    client.cut()
    assert await house.chat.next() == ("close", opened.channel_id)
    assert len(house.server._context.sessions) == 0
    with pytest.raises(ConnectionClosed) as closed:
        await client.resume()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == close_codes.NO_SUCH_SESSION.code


async def test_what_the_process_said_before_it_closed_reaches_a_client_that_was_away(house: House) -> None:
    async with resumable(house) as (client, opened):
        client.cut()
        await away(house)
        house.server.push(CHAT, opened.channel_id, TEXT, b"last")
        house.server.close_channel(CHAT, opened.channel_id, 4321, "enough")
        assert await house.chat.next() == ("gone", opened.channel_id)
        assert list(house.server.open_channels(CHAT)) == []
        assert house.server.ended_sessions() == {CHAT: 1}
        await client.send("too late")
        await client.resume()
        assert await client.receive() == "last"
        assert await client.closed() == (4321, "enough")
    await until(lambda: len(house.server._context.sessions) == 0)
    assert house.server.ended_sessions() == {}
    assert house.chat.quiet


async def test_a_close_frame_ends_the_channel_at_once_and_that_of_one_who_will_be_back_does_not(
    house: House,
) -> None:
    async with resumable(house) as (client, opened):
        assert client.socket is not None
        await client.socket.close(AWAY)
        await away(house)
        assert house.chat.quiet
        await client.resume()
        await client.socket.close(1001, "away on purpose")
        assert await house.chat.next() == ("close", opened.channel_id)
        assert house.chat.close_reasons[opened.channel_id] == b"away on purpose"


async def test_a_socket_that_is_only_ended_counts_as_cut(house: House) -> None:
    async with resumable(house) as (client, opened):
        assert client.socket is not None
        client.socket.transport.write_eof()
        await away(house)
        house.server.push(CHAT, opened.channel_id, TEXT, b"kept")
        await client.resume()
        assert await client.receive() == "kept"


async def test_a_client_that_was_silent_for_too_long_is_away_and_not_gone(house: House) -> None:
    context, limits = house.server._context, ConnectionLimits()
    now = 1024.0
    context.monotonic = lambda: now
    async with resumable(house) as (client, opened):
        silent = client.socket
        assert silent is not None
        silent.transport.pause_reading()  # as when the network is gone
        for seconds in (limits.ping_seconds, limits.pong_seconds):
            now += seconds
            context.deadlines.run(now)
        assert [each.away for each in house.server.open_channels(CHAT)] == [True]
        assert house.chat.quiet
        house.server.push(CHAT, opened.channel_id, TEXT, b"kept")
        await client.resume()
        assert await client.receive() == "kept"
        silent.transport.abort()


async def test_a_second_socket_takes_over_and_the_first_is_told(house: House) -> None:
    async with resumable(house) as (client, opened):
        first = ResumableClient(client._url)
        first.session, first.socket = client.session, client.socket
        house.server.push(CHAT, opened.channel_id, TEXT, b"once")
        await client.resume()
        assert await client.receive() == "once"
        old = ResumableClient(client._url)
        old.socket = first.socket
        old.session.received = client.session.received
        assert said(close_codes.TAKEN_OVER, await old.closed())
        await client.send("from the second")
        assert await pushed(house) == (TEXT, b"from the second")
        assert house.chat.quiet


async def test_keys_are_rotated_and_the_one_before_is_good_until_the_client_has_shown_the_new_one(
    house: House,
) -> None:
    async with resumable(house) as (client, _):
        first = client.session.key
        client.cut()
        await away(house)
        await client.resume()  # its answer might have been lost
        client.cut()
        await away(house)
        await client.resume(first)
        second = client.session.key
        await client.say(type="ping")
        await client.hear("pong")
        thief = ResumableClient(client._url)
        thief.session.key = first
        with pytest.raises(ConnectionClosed) as closed:
            await thief.resume()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == close_codes.NO_SUCH_SESSION.code
        assert second != first
        await client.say(type="ping")  # nobody noticed
        await client.hear("pong")


async def test_who_guesses_keys_waits_and_who_comes_too_late_does_not(start: Start) -> None:
    house: House = await start(ConnectionLimits(resume_seconds=0.05))
    client = client_of(house)
    await client.open()
    opened = await house.chat.opened()
    client.cut()
    assert await house.chat.next() == ("close", opened.channel_id)

    async def refused(key: str) -> int:
        with pytest.raises(ConnectionClosed) as closed:
            await client.resume(key)
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code

    genuine = client.session.key
    assert [await refused(genuine) for _ in range(8)] == [close_codes.NO_SUCH_SESSION.code] * 8
    guesses = ["", "x", "A" * 64, "!" * 64, "B" * 64]
    assert [await refused(key) for key in guesses] == [close_codes.NO_SUCH_SESSION.code] * 5
    assert await refused("C" * 64) == close_codes.TOO_MANY_RESUMES.code
    assert await refused(genuine) == close_codes.TOO_MANY_RESUMES.code


async def test_a_session_is_worth_nothing_to_another_token_process_or_path(house: House) -> None:
    house.server.bind_ws_path(CHAT, BindWsPath("/a", authenticated=True))
    house.server.bind_ws_path(CHAT, BindWsPath("/b", authenticated=True))
    mine = house.cookie
    client = ResumableClient(f"{house.ws_url}/{CHAT}/a", headers=mine)
    await client.open()
    opened = await house.chat.opened()
    client.cut()
    await away(house)
    for url, headers, register in (
        (f"{house.ws_url}/{CHAT}/a", house.cookie, None),
        (f"{house.ws_url}/{CHAT}/b", mine, None),
        (house.ws_url + "/", None, house.register),
        (house.ws_url + "/", None, {"auth_token": mine["Cookie"].partition("=")[2]}),
    ):
        thief = ResumableClient(url, headers=headers, register=register)
        thief.session.key = client.session.key
        with pytest.raises(ConnectionClosed) as closed:
            await thief.resume()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == close_codes.NO_SUCH_SESSION.code
    house.server.push(CHAT, opened.channel_id, TEXT, b"mine")
    await client.resume()
    assert await client.receive() == "mine"
    client.cut()


async def test_a_token_can_be_changed_within_a_session(house: House) -> None:
    one, two = house.server.issue_token(60), house.server.issue_token(60)
    register = {**house.register, "auth_token": one}
    client = ResumableClient(house.ws_url + "/", register=register)
    await client.open()
    opened = await house.chat.opened()
    await client.say(type="token", auth_token="nonsense")
    assert "not issued" in (await client.hear("token"))["error"]
    await client.say(type="token", auth_token=two)
    assert (await client.hear("token"))["expiration"] > 0
    client.cut()
    await away(house)
    client._register["auth_token"] = two
    house.server.revoke(one)
    await client.resume()
    client.cut()
    await away(house)
    house.server.revoke(two)  # also while it is away
    assert await house.chat.next() == ("close", opened.channel_id)
    assert len(house.server._context.sessions) == 0


async def test_bad_tokens_in_one_session_are_no_matter_of_another(house: House) -> None:
    register = {**house.register, "auth_token": house.server.issue_token(60)}
    async with (
        ResumableClient(house.ws_url + "/", register=register) as client,
        ResumableClient(house.ws_url + "/", register=register) as other,
    ):
        for _ in range(2):
            await house.chat.opened()
        told = []
        for _ in range(6):
            await client.say(type="token", auth_token="nonsense")
            told.append((await client.hear("token"))["error"])
        assert [error.startswith("too many tokens") for error in told] == [False] * 5 + [True]
        await client.say(type="token", auth_token=register["auth_token"])
        assert (await client.hear("token"))["error"] == told[-1]  # it waits, too
        await other.say(type="token", auth_token=register["auth_token"])
        assert (await other.hear("token"))["expiration"] > 0
        for one in (client, other):
            one.cut()
            await one.resume()
        await client.say(type="token", auth_token="nonsense")
        assert (await client.hear("token"))["error"] == told[-1]  # however often it comes back


async def test_a_session_without_a_token_takes_none(house: House) -> None:
    async with resumable(house) as (client, _):
        await client.say(type="token", auth_token=house.server.issue_token(60))
        assert await client.hear("token") == {
            "type": "token",
            "error": "the channel was opened without a token",
        }


async def test_resuming_takes_no_other_place_among_the_channels_of_a_token(house: House) -> None:
    from guesthouse.http_server.auth.tokens import Scope

    token = house.server.issue_token(60, Scope(channels=1))
    house.server.bind_ws_path(CHAT, BindWsPath("/a", authenticated=True))
    cookie = {"Cookie": f"kinode-auth_{NODE}={token}"}
    client = ResumableClient(f"{house.ws_url}/{CHAT}/a", headers=cookie)
    async with client:
        await house.chat.opened()
        await client.resume()
        client.cut()
        await away(house)
        second = ResumableClient(f"{house.ws_url}/{CHAT}/a", headers=cookie)
        with pytest.raises(ConnectionClosed) as closed:
            await second.open()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == close_codes.TOO_MANY_CHANNELS.code
        await client.resume()
    await house.chat.next()
    async with ResumableClient(f"{house.ws_url}/{CHAT}/a", headers=cookie):
        await house.chat.opened()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "close"),
    [
        ("hello", close_codes.BAD_CONTROL),
        (b"\x10{}", close_codes.BAD_CONTROL),
        (ESCAPE, close_codes.BAD_CONTROL),
        (ESCAPE + "[]", close_codes.BAD_CONTROL),
        (ESCAPE + "[" * 5000, close_codes.BAD_CONTROL),
        (ESCAPE + ' {"type":"open"}', close_codes.BAD_CONTROL),
        (ESCAPE + '{"type":"open"}\n', close_codes.BAD_CONTROL),
        (ESCAPE + '{"type":"open","type":"open"}', close_codes.BAD_CONTROL),
        (ESCAPE + '{"type":"open","x":NaN}', close_codes.BAD_CONTROL),
        (ESCAPE + '{"type":"open","x":' + "[" * 16 + "]" * 16 + "}", close_codes.BAD_CONTROL),
        (ESCAPE * 2 + '{"type": "open"}', close_codes.BAD_CONTROL),
        (control(type="ack", received=0), close_codes.BAD_CONTROL),
        (control(type="nonsense"), close_codes.BAD_CONTROL),
        (control(type="resume", session="x", received=-1), close_codes.BAD_CONTROL),
        (control(type="resume", session="x", received=2**53), close_codes.BAD_CONTROL),
        (control(type="resume", session="x", received=True), close_codes.BAD_CONTROL),
        (control(type="resume", session="x", received=1.5), close_codes.BAD_CONTROL),
        (control(type="resume", session="x"), close_codes.BAD_CONTROL),
        (control(type="resume", session="x" * 1000, received=0), close_codes.BAD_CONTROL),
        (control(type="resume", session="x", received=0), close_codes.NO_SUCH_SESSION),
        ("x" * 9000, close_codes.REGISTER_TOO_BIG),
    ],
)
async def test_a_first_message_that_is_not_in_order_is_refused(
    house: House, first: str | bytes, close: CloseReason
) -> None:
    client = client_of(house)
    client.socket = await client.connect()
    await client.socket.send(first)
    assert said(close, await client.closed())
    assert house.chat.quiet


@pytest.mark.parametrize(
    ("fields", "close"),
    [
        ({"type": "open"}, close_codes.NOT_A_REGISTER),
        ({"type": "open", "target_process": str(CHAT)}, close_codes.NOT_A_REGISTER),
        ({"type": "open", "auth_token": "x"}, close_codes.NOT_A_REGISTER),
        ({"type": "resume", "session": "x", "received": 0}, close_codes.NOT_A_REGISTER),
        ({"type": "open", "auth_token": 1, "target_process": str(CHAT)}, close_codes.BAD_CONTROL),
        ({"type": "resume", "session": "x", "auth_token": "x"}, close_codes.BAD_CONTROL),
        ({"type": "open", "auth_token": "x", "target_process": str(CHAT)}, close_codes.BAD_TOKEN),
        ({"type": "resume", "session": "x", "received": 0, "auth_token": "x"}, close_codes.BAD_TOKEN),
    ],
)
async def test_what_the_register_form_lacks_is_told_as_by_registering(
    house: House, fields: dict[str, object], close: CloseReason
) -> None:
    client = ResumableClient(house.ws_url + "/")
    client.socket = await client.connect()
    await client.say(**fields)
    assert said(close, await client.closed())


@pytest.mark.parametrize(
    ("fields", "close"),
    [
        ({"type": "ack", "received": 2}, close_codes.BAD_COUNT),
        ({"type": "ack", "received": 2**53 - 1}, close_codes.BAD_COUNT),
        ({"type": "lost", "count": 0}, close_codes.BAD_CONTROL),
        ({"type": "open"}, close_codes.BAD_CONTROL),
        ({"type": "resume", "session": "x", "received": 0}, close_codes.BAD_CONTROL),
        ({"type": "opened"}, close_codes.BAD_CONTROL),
        ({"received": 1}, close_codes.BAD_CONTROL),
    ],
)
async def test_a_client_that_lies_is_closed_and_its_session_over(
    house: House, fields: dict[str, object], close: CloseReason
) -> None:
    async with resumable(house) as (client, opened):
        house.server.push(CHAT, opened.channel_id, TEXT, b"0")
        await client.receive()
        await client.say(**fields)
        assert said(close, await client.closed())
        assert await house.chat.next() == ("close", opened.channel_id)
        assert len(house.server._context.sessions) == 0


async def test_counts_do_not_grow_beyond_what_numbers_hold(house: House) -> None:
    async with resumable(house) as (client, _):
        client.session.unacknowledged.extend("ab")
        await client.say(type="lost", count=2)
        await client.hear("ack")
        await client.say(type="lost", count=2**53 - 2)
        assert said(close_codes.BAD_COUNT, await client.closed())


async def test_the_last_number_that_counts_hold_is_that_of_the_last_payload(start: Start) -> None:
    house: House = await start(ConnectionLimits(acknowledge_seconds=3600))
    async with resumable(house) as (client, opened):
        client.session.unacknowledged.extend("a")
        await client.say(type="lost", count=1)
        await client.hear("ack")
        await client.say(type="lost", count=2**53 - 3)
        assert client.socket is not None
        assert json.loads(str(await client.socket.recv())[1:])["received"] == 2**53 - 2
        await client.send("the last")
        await client.send("one more")
        assert said(close_codes.BAD_COUNT, await client.closed())
        assert await pushed(house) == (TEXT, b"the last")
        assert await pushed(house) == (TEXT, b"one more")  # handed on, and never acknowledged
        assert await house.chat.next() == ("close", opened.channel_id)


@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("pieces", [1, 2, 7])
async def test_the_limit_of_a_message_is_that_of_the_payload_in_both_directions(
    start: Start, compression: str | None, pieces: int
) -> None:
    house: House = await start(ConnectionLimits(message_bytes=1000))
    odd, plain, data = ESCAPE * 2 + "x" * 998, "x" * 1000, b"\x10" * 1000

    async def send(client: ResumableClient, message: Any) -> None:
        assert client.socket is not None
        client.session.unacknowledged.append(message)
        sent: Any = escaped(message)
        size = -(-len(sent) // pieces)
        parts = [sent[start : start + size] for start in range(0, len(sent), size)]
        await client.socket.send(sent if pieces == 1 else parts)

    for over in (ESCAPE + odd, plain + "x", data + b"x", ESCAPE + "{" + "x" * 1000):
        async with resumable(house, compression=compression) as (client, opened):
            assert client.session.limits["message_bytes"] == 1000
            for message in (odd, plain, data):
                kind = BINARY if isinstance(message, bytes) else TEXT
                payload = message if isinstance(message, bytes) else message.encode()
                await send(client, message)
                assert await pushed(house) == (kind, payload)
                house.server.push(CHAT, opened.channel_id, kind, payload)
                assert await client.receive() == message
            await send(client, over)
            assert said(close_codes.TOO_BIG, await client.closed())
            assert await house.chat.next() == ("close", opened.channel_id)


async def test_control_messages_have_a_limit_of_their_own(start: Start) -> None:
    house: House = await start(ConnectionLimits(message_bytes=100))
    async with resumable(house) as (client, opened):
        await client.say(type="ping", data="x", more="y" * 8000)
        assert (await client.hear("pong"))["data"] == "x"
        await client.say(type="ping", more="y" * 8192)
        assert said(close_codes.TOO_BIG, await client.closed())
        assert await house.chat.next() == ("close", opened.channel_id)


async def test_an_acknowledgement_never_goes_back(house: House) -> None:
    async with resumable(house) as (client, opened):
        for _ in range(2):
            house.server.push(CHAT, opened.channel_id, TEXT, b"0")
            await client.receive()
        await client.say(type="ack", received=2)
        await client.say(type="ack", received=2)
        await client.say(type="ack", received=1)
        assert said(close_codes.BAD_COUNT, await client.closed())


async def test_who_resumes_with_a_count_of_what_was_never_sent_costs_the_session_nothing(
    house: House,
) -> None:
    async with resumable(house) as (client, opened):
        house.server.push(CHAT, opened.channel_id, TEXT, b"0")
        await client.receive()
        client.cut()
        await away(house)
        house.server.push(CHAT, opened.channel_id, TEXT, b"1")
        client.session.received = 2
        with pytest.raises(ConnectionClosed) as closed:
            await client.resume()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == close_codes.BAD_COUNT.code
        client.session.received = 1
        await client.resume()
        assert await client.receive() == "1"


async def test_what_a_client_has_forgotten_is_lost_and_it_is_told_how_much(house: House) -> None:
    async with resumable(house) as (client, opened):
        for number in range(3):
            house.server.push(CHAT, opened.channel_id, TEXT, b"%d" % number)
            await client.receive()
        await client.say(type="ack", received=3)
        await client.say(type="ping")
        await client.hear("pong")
        client.cut()
        await away(house)
        client.session.received = 1  # as after a crash
        house.server.push(CHAT, opened.channel_id, TEXT, b"3")
        await client.resume()
        assert await client.receive() == "3"
        assert (client.session.lost, client.session.received) == (2, 4)


async def test_a_client_says_what_it_has_lost_itself(house: House) -> None:
    async with resumable(house) as (client, _):
        client.session.unacknowledged.extend("ab")
        await client.say(type="lost", count=2)
        assert (await client.hear("ack"))["received"] == 2
        await client.send("c")
        assert await pushed(house) == (TEXT, b"c")
        assert house.log.mentions("a client has lost messages that it was to send")


async def test_a_full_mailbox_holds_back_the_next_socket_too(house: House) -> None:
    async with resumable(house) as (client, _):
        house.chat.pause_at = 1
        await client.send("0")
        assert await pushed(house) == (TEXT, b"0")
        house.chat.pause_at = None
        await client.send("1")
        for _ in range(3):
            client.cut()  # which a node that does not read does not notice
            await client.resume()
            await client.send("more")
        assert client.socket is not None
        await client.socket.ping()
        assert house.chat.quiet  # a client that comes again and again gets nothing past the mailbox
        (feeder,) = house.chat.feeders.values()
        feeder.resume_reading()
        assert [(await pushed(house))[1] for _ in range(4)] == [b"1", b"more", b"more", b"more"]


async def test_pings_are_of_their_socket_and_not_counted(house: House) -> None:
    async with resumable(house) as (client, opened):
        assert client.socket is not None
        await client.socket.ping(b"in")
        assert await pushed(house) == (2, b"in")
        house.server.push(CHAT, opened.channel_id, 2, b"out")
        assert await pushed(house) == (3, b"out")
        client.cut()
        await away(house)
        house.server.push(CHAT, opened.channel_id, 2, b"out")
        answer = await client.resume()
        assert answer["received"] == 0
        house.server.push(CHAT, opened.channel_id, TEXT, b"0")
        assert await client.receive() == "0"


@pytest.mark.parametrize("before", ["deflate", None])
@pytest.mark.parametrize("after", ["deflate", None])
async def test_compression_may_change_with_the_socket(
    house: House, before: str | None, after: str | None
) -> None:
    async with resumable(house, compression=before) as (client, opened):
        client.cut()
        await away(house)
        for size in (10, 2000, 100_000):
            house.server.push(CHAT, opened.channel_id, TEXT, b"x" * size)
            house.server.push(CHAT, opened.channel_id, BINARY, b"y" * size)
        client.compression = after
        await client.resume()
        for size in (10, 2000, 100_000):
            assert await client.receive() == "x" * size
            assert await client.receive() == b"y" * size


async def test_away_sessions_are_bounded_in_number_and_bytes(start: Start) -> None:
    house: House = await start(ConnectionLimits(away=3, away_per_user=2, away_bytes=2000))
    opened = []
    for _ in range(3):
        client = client_of(house)
        await client.open()
        opened.append((await house.chat.opened()).channel_id)
        client.cut()
        await until(lambda: house.server._context.sessions.away == min(len(opened), 2))
    assert await house.chat.next() == ("close", opened[0])
    house.server.push(CHAT, opened[1], BINARY, bytes(936))
    house.server.push(CHAT, opened[2], BINARY, bytes(936))
    assert house.server._context.sessions.away_bytes == 2000
    house.server.push(CHAT, opened[2], BINARY, b"")
    assert await house.chat.next() == ("close", opened[1])
    assert house.server._context.sessions.away_bytes == 1064
    assert [each.channel_id for each in house.server.open_channels(CHAT)] == [opened[2]]


async def test_a_node_that_stops_ends_channels_that_are_away(start: Start) -> None:
    house: House = await start()
    client = client_of(house)
    await client.open()
    opened = await house.chat.opened()
    client.cut()
    await away(house)
    await house.server.close()
    assert await house.chat.next() == ("close", opened.channel_id)


async def test_clients_without_the_subprotocol_notice_nothing(house: House) -> None:
    async with house.bound() as (client, opened):
        assert client.subprotocol is None
        for payload in (ESCAPE, ESCAPE + '{"type": "ping"}', ESCAPE * 2):
            await client.send(payload)
            assert await pushed(house) == (TEXT, payload.encode())
            house.server.push(CHAT, opened.channel_id, TEXT, payload.encode())
            assert await asyncio.wait_for(client.recv(), 5) == payload
            house.server.push_many(CHAT, [opened.channel_id], TEXT, payload.encode())
            assert await asyncio.wait_for(client.recv(), 5) == payload
        assert len(house.server._context.sessions) == 0


async def test_the_end_of_a_process_reaches_a_client_that_is_away(house: House) -> None:
    async with ResumableClient(house.ws_url + "/", register=house.register) as client:
        await house.chat.opened()
        client.cut()
        await away(house)
        house.server.process_gone(CHAT, "it trapped")
        await client.resume()
        assert await client.closed() == (1011, "the process ended: it trapped")
