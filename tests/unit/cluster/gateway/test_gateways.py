"""Channels between nodes: who is told what when one ends, tokens, pushes to many, names, and what is not to be had."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest
from tests.patience import PATIENCE
from tests.unit.http_server.conftest import CHAT, OTHER, FakeProcess, FakeRouter, Start, http_path, until
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from guesthouse.cluster.gateway import gateways
from guesthouse.cluster.gateway.gateway_messages import RelayPush, decode
from guesthouse.cluster.gateway.gateways import Gateways
from guesthouse.cluster.gateway.joined_router import JoinedRouter
from guesthouse.cluster.gateway.served import Served
from guesthouse.core.address import ForeignProcess
from guesthouse.core.config import ConnectionLimits, HttpSettings
from guesthouse.core.messages import LazyLoadBlob, Pairs, WsMessageType
from guesthouse.http_server.auth.tokens import Scope
from guesthouse.http_server.state.admission import Admission
from guesthouse.link.calls import BindWsPath, SetChannelPolicy

from .conftest import GATEWAY, HOME, Pair

TEXT, BINARY = int(WsMessageType.TEXT), int(WsMessageType.BINARY)


@asynccontextmanager
async def registered(
    pair: Pair, target: str = str(CHAT), token: str | None = None
) -> AsyncIterator[tuple[ClientConnection, int]]:
    """A channel in the register form, and its id."""
    async with connect(pair.ws_url, proxy=None, compression=None) as client:
        shown = pair.server.issue_token(60) if token is None else token
        await client.send(json.dumps({"auth_token": shown, "target_process": target}))
        answer = json.loads(await asyncio.wait_for(client.recv(), PATIENCE))
        yield client, answer["channel_id"]


async def close_of(client: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as closed:
        await asyncio.wait_for(client.recv(), PATIENCE)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


@pytest.mark.parametrize("named", ["", f"{HOME}@"])
async def test_client_gateway_and_process_know_a_channel_by_one_id(house: Pair, named: str) -> None:
    async with registered(house, f"{named}{CHAT}") as (client, channel_id):
        event = await house.chat.opened()
        assert event.channel_id == channel_id
        assert event.source_socket_addr == f"127.0.0.1:{client.local_address[1]}"
        (there,) = house.home_side.server.open_channels()
        assert (there.channel_id, there.owner) == (channel_id, CHAT)
        (here,) = house.gateway_side.server.open_channels()
        assert str(here.owner) == f"{HOME}@{CHAT}"
        await client.send("to the process")
        assert await house.chat.next() == ("push", channel_id, TEXT, b"to the process")
        house.home_side.server.push(CHAT, channel_id, TEXT, b"to the client")
        assert await client.recv() == "to the client"
        # a process of the gateway that has the same id is another one, which the channel is not of
        house.gateway_side.server.push(CHAT, channel_id, TEXT, b"forged")
        house.home_side.server.push(CHAT, channel_id, TEXT, b"real")
        assert await client.recv() == "real"
        await client.close(1000, "bye")
        assert await house.chat.next() == ("close", channel_id)
        assert house.chat.close_reasons == {channel_id: b"bye"}
    assert not house.home_side.server.open_channels()


async def test_a_process_of_ones_own_wins_and_keeps_its_whole_package(house: Pair) -> None:
    mine = house.gateway_side.router.known[CHAT] = FakeProcess(CHAT)
    async with registered(house):
        await mine.opened()
    async with registered(house, f"{HOME}@{CHAT}"):
        await house.chat.opened()
    sibling = type(CHAT).parse("sibling:chat:guesthouse.os")
    house.home_side.router.known[sibling] = FakeProcess(sibling)
    house.home_side.server.bind_ws_path(sibling, BindWsPath("/", authenticated=False))
    await until(lambda: sibling in house.gateway_side.gateways._homes[HOME].processes)
    with pytest.raises(InvalidStatus, match="404"):
        await connect(f"{house.ws_url}/{sibling}/", proxy=None)


async def refused_as_away(house: Pair) -> None:
    with pytest.raises(InvalidStatus, match="503"):
        await connect(f"{house.ws_url}/{CHAT}/", proxy=None)
    async with httpx.AsyncClient(base_url=house.server.url, trust_env=False) as client:
        answer = await client.get(f"/{CHAT}/")
        assert (answer.status_code, answer.text) == (503, "the process's node cannot be reached: try again\n")
    for target in ({}, {"target_process": f"{HOME}@{CHAT}"}):
        async with connect(house.ws_url, proxy=None) as late:
            await late.send(json.dumps(house.register | target))
            assert await close_of(late) == (1014, "the process's node cannot be reached: connect again")


async def test_a_token_of_a_home_that_is_away_may_be_good(start: Start) -> None:
    house: Pair = await start(None, None, name_apart=True)
    token = house.home_side.server.issue_token(60)
    await until(lambda: house.gateway_side.gateways.figures().processes_of_others > 0)
    house.web.cut(HOME, GATEWAY)
    for target in (CHAT, "nobody:nowhere:example.os"):  # who shows no good token learns nothing of processes
        async with connect(house.ws_url, proxy=None) as client:
            await client.send(json.dumps({"auth_token": token, "target_process": f"{HOME}@{target}"}))
            assert await close_of(client) == (1014, "the process's node cannot be reached: connect again")


async def refused_as_unknown(house: Pair, target: str) -> None:
    async with connect(house.ws_url, proxy=None) as client:
        await client.send(json.dumps(house.register | {"target_process": target}))
        assert await close_of(client) == (4004, "no such process")


async def test_when_the_home_is_gone_its_channels_close_at_the_gateway(house: Pair) -> None:
    house.server.bind_ws_path(CHAT, BindWsPath("/", authenticated=False))
    async with (
        registered(house) as (one, _),
        connect(f"{house.ws_url}/{CHAT}/", proxy=None) as other,
    ):
        house.web.cut(HOME, GATEWAY)
        for client in (one, other):
            assert await close_of(client) == (1014, "the process's node cannot be reached: connect again")
    await refused_as_away(house)
    assert not house.gateway_side.server.open_channels()
    house.web.up()
    async with registered(house) as (again, channel_id):
        await again.send("here")
        await until(lambda: any(told == ("push", channel_id, TEXT, b"here") for told in drained(house.chat)))


def drained(process: FakeProcess) -> list[tuple[object, ...]]:
    told = []
    while not process.quiet:
        told.append(process.told.get_nowait())
    return told


NOWHERE: Final = "nobody:nowhere:example.os"


async def refused_as_not_listed(house: Pair, target: str) -> None:
    async with connect(house.ws_url, proxy=None) as client:
        await client.send(json.dumps(house.register | {"target_process": target}))
        assert await close_of(client) == (1013, "another node has not said yet what it runs: connect again")


async def refused_everywhere_as_not_listed(house: Pair) -> None:
    await refused_as_not_listed(house, NOWHERE)
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{house.ws_url}/{NOWHERE}/room", proxy=None)
    async with httpx.AsyncClient(base_url=house.server.url, trust_env=False) as client:
        page = await client.get(f"/{NOWHERE}/room")
    assert page.text == "another node has not said yet what it runs: try again\n"
    upgrade = refused.value.response
    assert [(each.status_code, each.headers["Retry-After"]) for each in (upgrade, page)] == [(503, "5")] * 2


async def refused_as_unbound(house: Pair, path: str) -> None:
    with pytest.raises(InvalidStatus, match="404"):
        await connect(f"{house.ws_url}{path}", proxy=None)
    async with httpx.AsyncClient(base_url=house.server.url, trust_env=False) as client:
        assert (await client.get(path)).status_code == 404


async def test_until_a_home_has_started_it_may_have_any_process_and_path(house: Pair) -> None:
    """It is back within seconds, and starts its packages one by one."""
    home = house.home_side
    house.web.cut(HOME, GATEWAY)
    chat, other = home.router.known.pop(CHAT), home.router.known.pop(OTHER)
    home.server.starts(True)
    house.web.up()
    await refused_as_away(house)  # it had that
    await refused_everywhere_as_not_listed(house)
    await refused_as_not_listed(house, f"{HOME}@{NOWHERE}")
    home.router.known[CHAT] = chat
    home.gateways.process_changed(CHAT)
    await until(lambda: house.gateway_side.gateways.figures().processes_of_others == 1)
    async with registered(house):
        pass
    async with httpx.AsyncClient(base_url=house.server.url, trust_env=False) as client:
        assert (await client.get(f"/{CHAT}/not-bound-yet")).status_code == 503
    home.router.known[OTHER] = other
    home.gateways.process_changed(OTHER)
    home.server.starts(False)
    await until(lambda: house.gateway_side.gateways.figures().processes_of_others == 2)
    await refused_as_unknown(house, NOWHERE)
    await refused_as_unbound(house, f"/{NOWHERE}/room")
    await refused_as_unbound(house, f"/{CHAT}/not-bound-yet")
    async with registered(house):
        pass


async def test_a_gateway_that_has_just_started_waits_for_what_the_other_nodes_say(house: Pair) -> None:
    house.gateway_side.gateways.expect([HOME, "third.os"])
    await refused_everywhere_as_not_listed(house)
    await refused_as_not_listed(house, f"third.os@{NOWHERE}")
    await refused_as_unknown(house, f"stranger.os@{NOWHERE}")
    house.gateway_side.router.known[CHAT] = house.home_side.router.known[CHAT]
    await refused_as_unknown(
        house, f"nobody:{CHAT.package_name}:{CHAT.publisher_node}"
    )  # of a package of its own


async def test_of_a_home_that_does_not_take_this_gateway_nothing_is_expected(start: Start) -> None:
    house: Pair = await start(None, None)
    house.home_side.gateways._taken_from = frozenset({"other.os"})
    house.web.cut(HOME, GATEWAY)
    house.web.up()
    await until(lambda: not house.gateway_side.server._context.router.is_away(CHAT))
    await refused_as_unknown(house, str(CHAT))


async def test_when_the_gateway_is_gone_each_process_hears_of_it_once(house: Pair) -> None:
    async with registered(house) as (client, first), registered(house) as (_, second):
        await client.send("before")
        await until(lambda: house.chat.pushes == 1)
        house.home_side.peers.end(GATEWAY)
        await until(lambda: not house.home_side.server.open_channels())
        house.gateway_side.peers.end(HOME)
        await close_of(client)
        await asyncio.sleep(0)
        told = drained(house.chat)
    closes = [event for event in told if event[0] == "close"]
    assert sorted(closes) == sorted([("close", first), ("close", second)])
    assert drained(house.chat) == []


async def test_clients_of_a_home_that_stops_are_told_to_come_again(house: Pair) -> None:
    async with registered(house):
        await house.home_side.server.close(0.1)
        house.home_side.gateways.process_gone(CHAT)
        house.home_side.gateways.close()
        house.web.cut(HOME, GATEWAY)
        await until(lambda: house.gateway_side.server.open_channels() == [])
    await refused_as_away(house)
    await refused_as_unknown(house, f"{HOME}@nobody:{CHAT.package_name}:{CHAT.publisher_node}")
    await refused_as_unknown(house, "nobody:nowhere:example.os")


async def test_a_home_that_leaves_the_cluster_is_not_expected_back(house: Pair) -> None:
    async with registered(house):
        house.home_side.gateways.close()
        await until(lambda: house.gateway_side.gateways.figures().processes_of_others == 0)
    house.web.cut(HOME, GATEWAY)
    await refused_as_unknown(house, str(CHAT))


async def test_a_node_that_stops_says_so_on_both_sides(house: Pair) -> None:
    async with registered(house) as (client, channel_id):
        await house.chat.opened()
        house.home_side.gateways.close()
        assert await close_of(client) == (1001, "the node is shutting down")
        assert await house.chat.next() == ("close", channel_id)
    house.web.up()
    async with registered(house) as (client, channel_id):
        await house.chat.opened()
        house.gateway_side.gateways.close()
        house.gateway_side.peers.end(HOME)
        house.home_side.peers.end(GATEWAY)
        assert await close_of(client) == (1001, "the node is shutting down")
        assert await house.chat.next() == ("close", channel_id)


async def test_close_codes_and_reasons_pass(house: Pair) -> None:
    async with registered(house) as (client, channel_id):
        house.server.push(CHAT, channel_id, TEXT, b"last")
        house.server.close_channel(CHAT, channel_id, 4321, "because")
        assert await client.recv() == "last"
        assert await close_of(client) == (4321, "because")
    async with registered(house) as (client, channel_id):
        house.server.process_gone(CHAT, "trap")
        assert await close_of(client) == (1011, "the process ended: trap")
    async with connect(house.ws_url, proxy=None) as late:
        await late.send(json.dumps(house.register))
        assert await close_of(late) == (4004, "no such process")


async def test_a_home_that_stops_or_is_drained_says_so(house: Pair) -> None:
    async with registered(house) as (client, _):
        house.home_side.server.admit(Admission.REQUESTS)
        async with registered(house) as (refused, _):
            assert await close_of(refused) == (1013, "the node is being drained: try another, or later")
        house.home_side.server.departures().tell()
        assert await close_of(client) == (1012, "the node is being drained: connect again")
        house.home_side.server.admit(Admission.ALL)
    async with registered(house) as (client, _):
        await house.home_side.server.close(0)
        assert await close_of(client) == (1001, "the node is shutting down")


async def test_a_token_of_the_home_is_verified_there_and_ends_there(start: Start) -> None:
    house: Pair = await start(None, None, name_apart=True)
    home = house.home_side.server
    claims = '{"user":"ann"}'
    token = home.issue_token(60, Scope(process=str(CHAT), channels=1, claims=claims))
    async with registered(house, f"{HOME}@{CHAT}", token) as (client, channel_id):
        assert (await house.chat.opened()).claims == claims
        await client.send("hello")
        assert await house.chat.next() == ("push", channel_id, TEXT, b"hello")
        async with registered(house, f"{HOME}@{CHAT}", token) as (second, _):
            assert await close_of(second) == (4005, "the token has as many channels open as it may")
        assert home.revoke(token)
        assert await close_of(client) == (1008, "the token was revoked")
    async with connect(house.ws_url, proxy=None) as late:
        await late.send(json.dumps({"auth_token": token, "target_process": f"{HOME}@{CHAT}"}))
        code, reason = await close_of(late)
        assert (code, reason) == (
            4002,
            "auth_token is not valid on this node: the token was revoked: log in again",
        )


async def test_a_token_goes_to_no_node_but_the_one_that_issued_it(start: Start) -> None:
    house: Pair = await start(None, None, name_apart=True)
    house.web.keep = True
    foreign = house.home_side.server.issue_token(60)
    of_gateway = house.server.issue_token(60)
    for token, target in (
        (foreign, str(CHAT)),  # the home's, and no node is named
        (foreign, f"third.os@{CHAT}"),
        (of_gateway[:-4] + "AAAA", f"{HOME}@{CHAT}"),  # the gateway's by what it says
    ):
        async with connect(house.ws_url, proxy=None) as client:
            await client.send(json.dumps({"auth_token": token, "target_process": target}))
            assert (await close_of(client))[0] == 4002
    sent = b"".join(body for _, _, body in house.web.bodies)
    assert foreign.encode() not in sent
    assert of_gateway.encode() not in sent
    async with registered(house, f"{HOME}@{CHAT}", of_gateway):
        await house.chat.opened()
    sent = b"".join(body for _, _, body in house.web.bodies)
    assert of_gateway.encode() not in sent, "the gateway's word is enough"


async def test_a_home_that_does_not_answer_for_a_token_holds_up_no_client(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guesthouse.cluster.gateway.gateways.VERIFY_SECONDS", 0.05)
    house: Pair = await start(None, None, name_apart=True)
    house.home_side.peers.stalled = True
    token = house.home_side.server.issue_token(60)
    async with connect(house.ws_url, proxy=None) as client:
        await client.send(json.dumps({"auth_token": token, "target_process": f"{HOME}@{CHAT}"}))
        assert (await close_of(client))[0] == 1014


async def test_a_revoked_token_of_the_gateway_ends_its_channels(house: Pair) -> None:
    token = house.gateway_side.server.issue_token(60)
    async with registered(house, str(CHAT), token) as (client, channel_id):
        await house.chat.opened()
        house.gateway_side.server.revoke(token)
        assert await close_of(client) == (1008, "the token was revoked")
        assert await house.chat.next() == ("close", channel_id)


async def test_a_push_to_many_crosses_once(house: Pair) -> None:
    house.web.keep = True
    async with registered(house) as (one, a), registered(house) as (two, b), registered(house) as (three, c):
        house.web.bodies.clear()
        house.server.push_many(CHAT, [a, b, c], BINARY, b"for all" * 100)
        for client in (one, two, three):
            assert await client.recv() == b"for all" * 100
        messages = [each for _, to, body in house.web.bodies if to == GATEWAY for each in decode(body)]
    (push,) = (each for each in messages if isinstance(each, RelayPush))
    assert push.channel_ids == [a, b, c]


@pytest.mark.thorough
@pytest.mark.slow
async def test_a_client_that_reads_nothing_meets_the_policy_at_the_home(start: Start) -> None:
    window = 64 * 1024
    house: Pair = await start(ConnectionLimits(outbox_bytes=window), None)
    async with house.raw_channel() as (reader, _, channel_id):
        server, payload = house.home_side.server, bytes(4000)
        while not house.log.mentions("WsChannelFull"):
            server.push(CHAT, channel_id, BINARY, payload)
            await asyncio.sleep(0)
        (here,), (there,) = server.open_channels(), house.gateway_side.server.open_channels()
        assert here.outbox_bytes <= window
        assert there.outbox_bytes <= 2 * window, "the gateway holds no more than the home may push"
        server.set_channel_policy(CHAT, SetChannelPolicy(channel_id, "close"))
        while server.open_channels():
            server.push(CHAT, channel_id, BINARY, payload)
            await asyncio.sleep(0)
        assert await house.chat.next() == ("close", channel_id)
        async with asyncio.timeout(PATIENCE):
            everything = await reader.read()
        assert everything[-31:] == b"\x88\x1d\x03\xf5the client reads too slowly"


async def test_all_credit_comes_back(start: Start) -> None:
    window = 64 * 1024
    house: Pair = await start(ConnectionLimits(outbox_bytes=window), None)
    async with registered(house) as (client, channel_id):
        await house.chat.opened()
        for _ in range(200):  # each nearly fills the window
            before = sum(size for _, size in house.chat.granted)
            house.home_side.server.push(CHAT, channel_id, BINARY, bytes(40_000))
            assert len(await client.recv()) == 40_000
            await house.chat.granted_in_all(before + 1)
        assert not house.log.mentions("WsChannelFull")


@pytest.mark.slow
async def test_a_gateway_stops_reading_while_a_mailbox_is_full(house: Pair) -> None:
    house.chat.pause_at = 1
    async with house.raw_channel() as (_, writer, channel_id):
        sent = 0
        frame = b"\x82\xfe\xff\xff\0\0\0\0" + bytes(65535)
        with pytest.raises(TimeoutError):  # noqa: PT012 - TCP takes no more
            async with asyncio.timeout(2):
                while True:
                    writer.write(frame)
                    sent += 1
                    await writer.drain()
        assert house.chat.pushes == 1
        home = house.home_side.gateways._peers[GATEWAY].as_gateway
        channel = home._channels[channel_id]
        assert channel._received < 256 * 1024 + 2 * 65536
        house.chat.pause_at = None
        house.chat.feeders[channel_id].resume_reading()
        await until(lambda: house.chat.pushes >= sent - 1)


async def test_what_is_for_the_home_alone_is_not_to_be_had_elsewhere(house: Pair) -> None:
    server = house.server
    server.bind_http_path(CHAT, http_path("/local", authenticated=False, local_only=True))
    server.bind_http_path(
        CHAT,
        http_path("/text", authenticated=False, local_only=False, static=LazyLoadBlob("text/plain", b"t")),
    )
    server.bind_ws_path(CHAT, BindWsPath("/ext", authenticated=False, extension=True))
    server.bind_ws_path(CHAT, BindWsPath("/safe", authenticated=False, secure=True))
    async with house.http() as client:
        assert (await client.get(f"/{CHAT}/text")).text == "t"
        for path in ("/local", "/ext", "/safe"):
            assert (await client.get(f"/{CHAT}{path}")).status_code == 404
    for path in ("/ext", "/safe"):
        with pytest.raises(InvalidStatus, match="404"):
            await connect(f"{house.ws_url}/{CHAT}{path}", proxy=None)
    server.unbind_http_path(CHAT, type("U", (), {"path": "/text"})())
    async with house.http() as client:
        assert (await client.get(f"/{CHAT}/text")).status_code == 404


async def test_a_request_whose_home_is_gone_is_answered(house: Pair) -> None:
    house.server.bind_http_path(CHAT, http_path("/", authenticated=False, local_only=False))
    async with house.http() as client:
        waits = asyncio.ensure_future(client.get(f"/{CHAT}/"))
        assert (await house.chat.next())[0] == "http"
        assert house.home_side.server.awaited_responses == 1
        house.web.cut(HOME, GATEWAY)
        assert (await waits).status_code == 503
    assert house.home_side.server.awaited_responses == 0


async def test_a_request_that_nobody_waits_for_any_more_is_forgotten_at_the_home(start: Start) -> None:
    house: Pair = await start(ConnectionLimits(http_response_seconds=0.1), HttpSettings())
    house.server.bind_http_path(CHAT, http_path("/", authenticated=False, local_only=False))
    async with house.http() as client:
        assert (await client.get(f"/{CHAT}/")).status_code == 408
    await until(lambda: house.home_side.server.awaited_responses == 0)


async def test_what_a_slow_node_does_not_take_waits_and_nothing_is_lost(house: Pair) -> None:
    async with registered(house) as (client, _):
        await house.chat.opened()
        house.gateway_side.peers.limit = 1
        house.home_side.peers.stalled = True
        for number in range(20):
            await client.send(f"{number}" * 20_000)
        await until(lambda: house.gateway_side.gateways._peers[HOME].link.is_held_up)
        house.home_side.peers.go_on()
        for number in range(20):
            assert (await house.chat.next())[3] == f"{number}".encode() * 20_000


def test_a_process_of_another_node_is_no_local_one() -> None:
    foreign = ForeignProcess(CHAT.process_name, CHAT.package_name, CHAT.publisher_node, HOME)
    assert foreign != CHAT
    assert foreign.plain == CHAT
    assert {CHAT: 1}.get(foreign) is None
    assert (str(foreign), foreign.plain) == (f"{HOME}@{CHAT}", CHAT)


async def test_requests_as_long_as_clients_may_send_them_cross(house: Pair) -> None:
    house.server.bind_http_path(CHAT, http_path("/", authenticated=False, local_only=False))
    query, mime = "q" * 30_000, "text/" + "m" * 20_000
    request = f"POST /{CHAT}/?{query} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {mime}\r\nContent-Length: 0\r\n\r\n"
    address = urlsplit(house.ws_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(request.encode())
    kind, http_id, posted, given, _ = await house.chat.next()
    assert (kind, posted.query_params, given) == ("http", ((query, ""),), mime)
    house.home_side.server.http_response(CHAT, http_id, 204, (), None, b"")
    assert (await asyncio.wait_for(reader.readline(), PATIENCE)).startswith(b"HTTP/1.1 204")
    writer.close()


@pytest.mark.parametrize(
    ("status", "headers", "mime"),
    [(200, (("a", "b"),) * 1000, None), (700, (), None), (200, (), "m" * 65_536)],
)
async def test_an_answer_that_is_none_costs_no_other_message(
    house: Pair, status: int, headers: Pairs, mime: str | None
) -> None:
    house.server.bind_http_path(CHAT, http_path("/", authenticated=False, local_only=False))
    async with registered(house) as (client, channel_id):
        await house.chat.opened()
        asked = asyncio.create_task(
            asyncio.to_thread(httpx.get, f"{house.server.url}/{CHAT}/", timeout=PATIENCE, trust_env=False)
        )
        _, http_id, *_ = await house.chat.next()
        server = house.home_side.server
        server.http_response(CHAT, http_id, status, headers, mime, b"")
        server.push(CHAT, channel_id, TEXT, b"in the same body")
        assert await asyncio.wait_for(client.recv(), PATIENCE) == "in the same body"
        assert (await asked).status_code == 500


async def test_a_node_that_leaves_its_cluster_closes_channels_and_may_join_again(house: Pair) -> None:
    side = house.gateway_side
    async with registered(house) as (client, channel_id):
        await house.chat.opened()
        side.gateways.close()
        assert await close_of(client) == (1001, "the node is shutting down")
        house.web.cut(HOME, GATEWAY)
        assert await house.chat.next() == ("close", channel_id)
    assert side.server._context.router is side.router
    async with connect(house.ws_url, proxy=None) as late:
        await late.send(json.dumps(house.register))
        assert await close_of(late) == (4004, "no such process")
    side.gateways = Gateways(side.server, side.peers, side.log)
    house.web.up()
    async with registered(house):
        await house.chat.opened()
    side.gateways.close()
    assert side.server._context.router is side.router


def test_a_node_that_is_drained_is_chosen_where_no_other_has_the_process() -> None:
    draining = {"a.os"}
    stands = {name: FakeProcess(CHAT) for name in ("a.os", "b.os", "c.os")}
    homes: Any = {name: SimpleNamespace(processes={CHAT: stand}) for name, stand in stands.items()}
    router: Any = JoinedRouter(
        FakeRouter(), homes, lambda: draining, lambda process: False, lambda process: False
    )
    assert router.find(CHAT) is stands["b.os"]
    assert router.processes() == [stands["b.os"]]
    draining |= {"b.os", "c.os"}
    assert router.find(CHAT) is stands["a.os"], "it says itself that it is being drained"
    draining.clear()
    assert router.find(CHAT) is stands["a.os"]


def homes_with(*names: str) -> dict[str, Any]:
    """Nodes that all have the process."""
    return {name: SimpleNamespace(processes={CHAT: FakeProcess(CHAT)}) for name in names}


def test_clients_are_spread_over_homes_and_stay_while_theirs_is_there() -> None:
    homes = homes_with("a.os", "b.os", "c.os")
    draining: set[str] = set()
    router: Any = JoinedRouter(
        FakeRouter(), homes, lambda: draining, lambda process: False, lambda process: False
    )
    clients = [f"10.0.{number // 256}.{number % 256}" for number in range(3000)]

    def chosen() -> dict[str, str]:
        names = {id(home.processes[CHAT]): name for name, home in homes.items()}
        return {client: names[id(router.find(CHAT, client))] for client in clients}

    before = chosen()
    assert all(850 < [*before.values()].count(name) < 1150 for name in homes)
    left = homes.pop("b.os")
    after = chosen()
    assert all(after[client] == name for client, name in before.items() if name != "b.os")
    assert {after[client] for client, name in before.items() if name == "b.os"} == {"a.os", "c.os"}
    homes["b.os"] = left
    assert chosen() == before
    draining.add("a.os")
    assert set(chosen().values()) == {"b.os", "c.os"}


def test_which_packages_of_which_nodes_are_served() -> None:
    served = Served(("a.os", "b.os@chat:test.os", "*@notes:test.os"))
    assert served.has("a.os", "anything:x.os")
    assert served.has("b.os", "chat:test.os")
    assert not served.has("b.os", "chat:other.os")
    assert served.has("c.os", "notes:test.os")
    assert not served.has("c.os", "chat:test.os")
    assert Served(("*",)).has("c.os", "chat:test.os")
    assert not Served(()).has("a.os", "chat:test.os")


async def test_a_guest_that_binds_without_end_floods_no_other_node(
    house: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateways, "ANNOUNCED_A_SECOND", 10)
    house.web.keep = True
    side = house.home_side
    for number in range(2000):
        side.server.bind_ws_path(CHAT, BindWsPath(f"/{'x' * 2000}/{number % 200}", authenticated=False))
        side.announce_now()
    sent = sum(len(body) for sender, _, body in house.web.bodies if sender == HOME)
    assert 1024 * 1024 < sent < 8 * 1024 * 1024
    monkeypatch.setattr(gateways, "ANNOUNCED_A_SECOND", 10**9)
    side.server.bind_ws_path(CHAT, BindWsPath("/last", authenticated=False))
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                async with connect(f"{house.ws_url}/{CHAT}/last", proxy=None):
                    break
            except InvalidStatus:
                await asyncio.sleep(0.05)
