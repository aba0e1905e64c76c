"""Clients that never close, and never read: each gives its place up, at a time that is known. Time is driven."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, cast

import pytest
from tests.patience import PATIENCE

from guesthouse.core.config import ConnectionLimits
from guesthouse.core.messages import LazyLoadBlob
from guesthouse.http_server.http_connection import HttpConnection

from .conftest import CHAT, House, Start, until
from .direct import BOTH_WAYS
from .test_http import bind
from .test_limits import Clock

pytestmark = [pytest.mark.usefixtures("directly"), BOTH_WAYS]


HANDSHAKE: Final = 10.0
CLOSE: Final = 5.0
PING: Final = 20.0
PAGE: Final = LazyLoadBlob("application/octet-stream", bytes(16 * 1024 * 1024))
"""More than the kernel takes of what its client does not read."""


@asynccontextmanager
async def house_of(start: Start, total: int = 20_000) -> AsyncIterator[tuple[House, Clock]]:
    limits = ConnectionLimits(
        handshake_seconds=HANDSHAKE,
        close_seconds=CLOSE,
        ping_seconds=PING,
        pong_seconds=PING,
        total=total,
    )
    house: House = await start(limits)
    yield house, Clock(house)


def open_sockets(house: House) -> int:
    return house.server._context.connection_limits.open


def connection_of(house: House) -> HttpConnection:
    assert house.server._server is not None
    (connection,) = house.server._server.server_state.connections
    return cast(HttpConnection, connection)


@pytest.mark.parametrize("beginning", [b"", b"GET / HTTP/1.1\r\nHost: a\r\nX: "])
async def test_a_client_that_is_late_and_does_not_close_has_no_place_for_ever(
    start: Start, beginning: bytes
) -> None:
    async with house_of(start) as (house, clock), house.raw() as (reader, writer):
        writer.write(beginning)
        await until(lambda: len(house.server._context.deadlines) == 1)
        clock.pass_by(HANDSHAKE)
        assert (await asyncio.wait_for(reader.read(), PATIENCE)).startswith(b"HTTP/1.1 408 ")
        assert open_sockets(house) == 1
        clock.pass_by(CLOSE)
        await until(lambda: open_sockets(house) == 0)


async def test_one_that_is_refused_and_does_not_close_has_none_either(start: Start) -> None:
    async with house_of(start, total=1) as (house, clock), house.raw(), house.raw() as (reader, _):
        limits = house.server._context.connection_limits
        await until(lambda: limits._refusing == 1 and len(house.server._context.deadlines) == 2)
        clock.pass_by(1)
        assert (await asyncio.wait_for(reader.read(), PATIENCE)).startswith(b"HTTP/1.1 503 ")
        clock.pass_by(1)
        await until(lambda: limits._refusing == 0)


async def unread(house: House, writer: asyncio.StreamWriter, headers: bytes = b"") -> HttpConnection:
    """A connection with a response whose client has read none of it, and which does not pause writing."""
    bind(house, "/page", static=PAGE)
    await until(lambda: open_sockets(house) == 1)
    connection = connection_of(house)
    connection.transport.set_write_buffer_limits(high=2 * len(PAGE.bytes))
    cast(asyncio.ReadTransport, writer.transport).pause_reading()
    writer.write(f"GET /{CHAT}/page HTTP/1.1\r\nHost: a\r\n".encode() + headers + b"\r\n")
    await until(lambda: connection.cycle is not None and connection.cycle.response_complete)
    assert connection.transport.get_write_buffer_size() > 0
    return connection


async def read_page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    cast(asyncio.ReadTransport, writer.transport).resume_reading()
    async with asyncio.timeout(PATIENCE):
        assert b"\r\n\r\n" in await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len(PAGE.bytes))


@pytest.mark.parametrize("headers", [b"", b"Connection: close\r\n"])
async def test_what_is_left_of_a_response_is_read_in_time_or_dropped(start: Start, headers: bytes) -> None:
    """However little: less than pauses writing, and more than the kernel takes."""
    async with house_of(start) as (house, clock), house.raw() as (_, writer):
        await unread(house, writer, headers)
        clock.pass_by(2 * PING)
        await until(lambda: open_sockets(house) == 0)


async def test_a_client_that_reads_a_little_and_stops_is_not_forgotten(start: Start) -> None:
    async with house_of(start) as (house, clock), house.raw() as (_, writer):
        connection = await unread(house, writer)
        connection.pause_writing()  # as the transport calls them, over and under its marks
        connection.resume_writing()
        clock.pass_by(2 * PING)
        await until(lambda: open_sockets(house) == 0)


async def test_a_head_that_begins_while_the_client_does_not_read_has_its_deadline(start: Start) -> None:
    async with house_of(start) as (house, clock), house.raw() as (reader, writer):
        connection = await unread(house, writer)
        connection.pause_writing()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        await until(lambda: connection._in_head)
        connection.resume_writing()
        await read_page(reader, writer)
        clock.pass_by(HANDSHAKE)
        assert (await asyncio.wait_for(reader.read(), PATIENCE)).startswith(b"HTTP/1.1 408 ")
        clock.pass_by(CLOSE)
        await until(lambda: open_sockets(house) == 0)


async def test_requests_in_stock_keep_no_place_for_one_who_does_not_read(start: Start) -> None:
    """More of them than are parsed ahead, behind a response that pauses writing."""
    async with house_of(start) as (house, clock), house.raw() as (_, writer):
        bind(house, "/page", static=PAGE)
        cast(asyncio.ReadTransport, writer.transport).pause_reading()
        writer.write(f"GET /{CHAT}/page HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 40)
        await until(lambda: open_sockets(house) == 1)
        connection = connection_of(house)
        await until(lambda: connection.flow.write_paused and connection._held != b"")
        clock.pass_by(2 * PING)
        await until(lambda: open_sockets(house) == 0)


async def test_a_client_that_has_read_all_keeps_its_connection(start: Start) -> None:
    async with house_of(start) as (house, clock), house.raw() as (reader, writer):
        connection = await unread(house, writer)
        await read_page(reader, writer)
        assert connection.transport.get_write_buffer_size() == 0
        clock.pass_by(2 * PING)
        writer.write(b"GET /our.js HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await asyncio.wait_for(reader.readline(), PATIENCE)).startswith(b"HTTP/1.1 200 ")
