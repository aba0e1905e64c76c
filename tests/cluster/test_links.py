"""The links of these tests do what they say: what is measured is that nothing comes early, or at all."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest
from tests.patience import PATIENCE

from .harness.links import Link
from .servers import free_ports

SENT = Random(3).randbytes(300_000)


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A server that sends back what it gets; its port."""

    async def answer(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Link, StreamReader, StreamWriter]]:
    """A link to an echo, and a connection through it over which something went."""
    async with echo() as port, Link(port) as link, asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"begin")
        assert await reader.readexactly(5) == b"begin"
        yield link, reader, writer
        writer.close()


async def test_everything_passes_in_both_directions_and_so_does_the_end() -> None:
    async with linked() as (link, reader, writer):
        writer.write(SENT)
        writer.write_eof()
        assert await reader.read(-1) == SENT
        assert link.accepted == 1


async def test_what_is_delayed_comes_whole_and_no_earlier() -> None:
    async with linked() as (link, reader, writer):
        clock = asyncio.get_running_loop().time
        link.delay = 0.1
        began = clock()
        writer.write(SENT)
        assert await reader.readexactly(len(SENT)) == SENT
        assert clock() - began >= 0.2


async def test_a_rate_is_kept() -> None:
    async with linked() as (link, reader, writer):
        clock = asyncio.get_running_loop().time
        link.rate = 1_000_000
        began = clock()
        writer.write(SENT)
        assert await reader.readexactly(len(SENT)) == SENT
        assert clock() - began >= len(SENT) / link.rate


async def test_what_is_held_waits_and_arrives_once_it_is_released() -> None:
    async with linked() as (link, reader, writer):
        link.hold()
        writer.write(b"held")
        fresh_reader, fresh_writer = await asyncio.open_connection("127.0.0.1", link.port)
        fresh_writer.write(b"new")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        link.release()
        assert await reader.readexactly(4) == b"held"
        assert await fresh_reader.readexactly(3) == b"new"
        fresh_writer.close()


async def test_what_is_cut_is_reset_and_new_connections_pass() -> None:
    async with linked() as (link, reader, _):
        link.cut()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        again, other = await asyncio.open_connection("127.0.0.1", link.port)
        other.write(b"again")
        assert await again.readexactly(5) == b"again"
        other.close()


async def test_connections_end_when_nobody_is_there() -> None:
    (nobody,) = free_ports(1)
    async with Link(nobody) as link:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        writer.close()


async def test_a_filter_sees_and_changes_each_direction() -> None:
    async with echo() as port, Link(port) as link:
        link.filters = lambda: (lambda data: data.upper(), lambda data: data.replace(b"L", b"_"))
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"HE__O"
        writer.close()
