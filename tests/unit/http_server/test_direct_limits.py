"""Requests that are answered directly while the node is drained, and what a client or a process can make of them."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.patience import PATIENCE

from guesthouse.core.config import ConnectionLimits
from guesthouse.http_server.state.admission import Admission
from guesthouse.link.calls import UnbindHttpPath

from .conftest import CHAT, House, Start, until
from .test_direct import ITEMS, PAGE, Client, answered, app_of, bind
from .test_limits import Clock
from .test_lingering import connection_of


async def known(house: House, client: Client) -> None:
    """Have the routes kept."""
    client.send("GET", PAGE)
    await client.answer()
    client.send("GET", ITEMS)
    await answered(house, client)
    await client.answer()


async def test_a_node_that_is_drained_closes_or_refuses_them(house: House) -> None:
    bind(house)
    async with house.raw() as (reader, writer), house.raw() as (other_reader, other_writer):
        first, second = Client(reader, writer), Client(other_reader, other_writer)
        await known(house, first)
        await known(house, second)
        house.server.admit(Admission.REQUESTS)
        first.send("GET", PAGE)
        status, headers, _ = await first.answer()
        assert (status, dict(headers).get("connection")) == (200, "close")
        assert not await reader.read()
        house.server.admit(Admission.NOTHING)
        second.send("GET", ITEMS)
        status, headers, _ = await second.answer()
        assert (status, dict(headers).get("connection")) == (503, "close")


async def test_those_that_wait_for_their_answer_are_in_hand(house: House) -> None:
    bind(house)
    async with house.raw() as (reader, writer):
        client = Client(reader, writer)
        await known(house, client)
        await until(lambda: not house.server.requests_in_hand()())
        client.send("GET", ITEMS)
        _, http_id, *_ = await house.chat.next()
        in_hand = house.server.requests_in_hand()
        assert in_hand()
        house.server.http_response(CHAT, http_id, 200, (), None, b"")
        await client.answer()
        assert not in_hand()


async def test_a_head_that_was_begun_before_has_a_deadline_only_until_it_is_complete(start: Start) -> None:
    house: House = await start(ConnectionLimits(handshake_seconds=10.0))
    bind(house)
    async with house.raw() as (reader, writer):
        client = Client(reader, writer)
        await known(house, client)
        clock = Clock(house)
        writer.write(f"GET {ITEMS} HTTP/1.1\r\nHost: a\r\n\r\nGET {ITEMS} HTTP/1.1\r\n".encode())
        await answered(house, client)
        await client.answer()
        writer.write(b"Host: a\r\nGuesthouse-Timeout: 100\r\n\r\n")
        _, http_id, *_ = await house.chat.next()
        clock.now += 11
        assert not house.server._context.deadlines.run(clock.now, 1000)
        house.server.http_response(CHAT, http_id, 200, (), None, b"late")
        assert (await client.answer())[2] == b"late"


async def test_what_a_process_repeats_in_its_headers_is_not_kept_if_it_is_large(house: House) -> None:
    bind(house)
    routes: Any = app_of(house).direct.routes
    many = tuple((f"x-{number}", "y") for number in range(60))
    async with house.raw() as (reader, writer):
        client = Client(reader, writer)
        await known(house, client)
        for number in range(5):
            for headers, mime in (
                ((("Date", f"{number}" * 8000),) * 100, None),
                ((("Content-Type", "a/b"),), f"{number}" * 60_000),
                ((*many, ("x-a", str(number))), None),
            ):
                client.send("GET", ITEMS)
                await answered(house, client, headers=headers, mime=mime)
                assert (await client.answer())[0] == 200
        heads = [key for route in routes._routes.values() for key in route.heads]
        assert all(len(repr(key)) < 2000 for key in heads)
        assert len(heads) <= 2


async def test_requests_that_follow_one_that_waits_hold_little(house: House) -> None:
    bind(house)
    body = b"b" * 60_000
    async with house.raw() as (reader, writer):
        client = Client(reader, writer)
        await known(house, client)
        connection: Any = connection_of(house)
        client.send("GET", ITEMS)
        _, http_id, *_ = await house.chat.next()
        for _ in range(12):
            client.send("PUT", ITEMS, body=body)
            await asyncio.sleep(0.02)
        await until(lambda: bool(connection.pipeline))
        await asyncio.sleep(0.3)
        held = sum(len(cycle.body) for cycle, _ in connection.pipeline)
        assert held < 400_000, held
        house.server.http_response(CHAT, http_id, 200, (), None, b"")
        await client.answer()
        for _ in range(12):
            _, http_id, _, _, got = await house.chat.next()
            assert got == body
            house.server.http_response(CHAT, http_id, 200, (), None, b"")
            assert (await client.answer())[0] == 200


async def test_nothing_is_answered_after_the_response_that_closes(house: House) -> None:
    bind(house)
    async with house.raw() as (reader, writer):
        client = Client(reader, writer)
        await known(house, client)
        bodies: Any = app_of(house).direct.bodies
        free, bodies._free = bodies._free, 0
        client.send("POST", ITEMS, body=b"x")
        client.send("GET", PAGE)
        client.send("POST", ITEMS, "Guesthouse-Timeout: 9")
        status, headers, _ = await client.answer()
        assert (status, dict(headers)["connection"]) == (503, "close")
        async with asyncio.timeout(PATIENCE):
            assert not await reader.read()
        assert house.chat.quiet
        bodies._free = free


async def test_content_that_is_bound_no_more_is_not_kept(house: House) -> None:
    bind(house)
    routes: Any = app_of(house).direct.routes
    async with house.raw() as (reader, writer):
        client = Client(reader, writer)
        await known(house, client)
        assert routes._routes
        house.server.unbind_http_path(CHAT, UnbindHttpPath("/page"))
        client.send("GET", ITEMS)
        await answered(house, client)
        await client.answer()
        assert not any(route.static for route in routes._routes.values())


async def test_the_time_for_an_answer_is_that_of_the_settings(start: Start) -> None:
    limits = ConnectionLimits(http_response_seconds=300.0, http_longest_response_seconds=60.0)
    house: House = await start(limits)
    bind(house)
    async with house.raw() as (reader, writer):
        client = Client(reader, writer)
        await known(house, client)
        clock = Clock(house)
        client.send("GET", ITEMS)
        _, http_id, *_ = await house.chat.next()
        clock.pass_by(100)
        house.server.http_response(CHAT, http_id, 200, (), None, b"")
        assert (await client.answer())[0] == 200
