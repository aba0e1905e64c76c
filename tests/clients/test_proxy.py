"""The proxy of these tests does to connections what it says, at the byte that follows from its seed."""

from __future__ import annotations

import asyncio
import random
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.patience import PATIENCE

from .proxy import Fault, FaultyProxy

SENT = random.Random(1).randbytes(300_000)


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A server that sends back what it gets; its port."""
    async with asyncio.TaskGroup() as tasks:

        async def answer(reader: StreamReader, writer: StreamWriter) -> None:
            try:
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
            except OSError:
                pass
            writer.close()

        server = await asyncio.start_server(
            lambda reader, writer: tasks.create_task(answer(reader, writer)) and None, "127.0.0.1", 0
        )
        yield server.sockets[0].getsockname()[1]
        server.close()


async def exchange(port: int) -> bytes | None:
    """Send everything and the end; what comes back until the end, or None if the connection was reset."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        try:
            writer.write(SENT)
            await writer.drain()
            writer.write_eof()
        except OSError:
            pass

    try:
        async with asyncio.timeout(PATIENCE):
            _, received = await asyncio.gather(send(), reader.read())
        return received
    except OSError:
        return None
    finally:
        writer.close()


@pytest.mark.parametrize("faults", [(), (Fault.DELAY,), (Fault.STALL,), (Fault.DELAY, Fault.STALL)])
async def test_what_is_late_is_not_lost(faults: tuple[Fault, ...]) -> None:
    async with echo() as port, FaultyProxy(port, faults=faults, stall_seconds=0.01) as proxy:
        assert await exchange(proxy.port) == SENT
        assert set(proxy.happened) == set(faults)


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.RESET, Fault.HALF_CLOSE])
async def test_what_breaks_comes_to_its_end_early(fault: Fault) -> None:
    async with echo() as port, FaultyProxy(port, faults=[fault]) as proxy:
        for count in range(1, 6):
            received = await exchange(proxy.port)
            assert received is None or SENT.startswith(received)
            assert received is None or len(received) < len(SENT)
            await proxy.wait_for_cuts(count)
        assert set(proxy.happened) == {fault}


async def test_after_the_last_fault_everything_passes() -> None:
    async with echo() as port, FaultyProxy(port, faults=[Fault.CUT, Fault.RESET], most=3) as proxy:
        outcomes = [await exchange(proxy.port) for _ in range(5)]
        assert [outcome == SENT for outcome in outcomes] == [False] * 3 + [True] * 2
        assert (proxy.cuts, proxy.accepted) == (3, 5)


async def test_the_same_seed_breaks_at_the_same_bytes() -> None:
    async def planned(seed: int) -> list[object]:
        async with FaultyProxy(1, seed=seed) as proxy:
            return [proxy.next_fault(random.Random(f"{seed} {number}")) for number in range(20)]

    assert await planned(1) == await planned(1) != await planned(2)


async def test_a_node_that_is_not_there_resets_its_clients() -> None:
    async with echo() as port:
        pass
    async with FaultyProxy(port) as proxy:
        assert not await exchange(proxy.port)
