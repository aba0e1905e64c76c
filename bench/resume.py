"""Resumable channels: the time that coming back takes, beside opening a plain channel, and what a client without a
socket costs the node.
"""

from __future__ import annotations

import asyncio
import statistics
from contextlib import AsyncExitStack
from time import perf_counter
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from guesthouse_client._control import SUBPROTOCOL
from guesthouse_client._session import Session
from results import Column, Effort, Goal, Result, Table
from run import only
from servers import Server, guesthouse
from usage import settled_kib

COMEBACKS: Final = 500
AWAY: Final = 5_000
WAITING: Final = 20
"""Messages that the node has for a client that comes back, in one row."""
PLAIN: Final = "Guesthouse, plain channel opened"
OPENED: Final = "Guesthouse, resumable channel opened"
RESUMED: Final = "Guesthouse, channel resumed"
WITH_MESSAGES: Final = f"Guesthouse, channel resumed, {WAITING} messages sent again"
NO_SOCKET: Final = "Guesthouse, client away"
SOCKET: Final = "Guesthouse, client with a socket"
_PATH: Final = "/echo-c:echo-c:guesthouse.os/public"
_SETTINGS: Final = {
    "connections_resume_seconds": 600,
    "connections_away_per_user": AWAY,
    "connections_acknowledge_seconds": 600,
}


def run(effort: Effort) -> Result:
    """Come back again and again, then leave many clients without a socket."""
    times, away = effort.count(COMEBACKS, 20), effort.count(AWAY)
    result = Result("resume", "resumable channels")
    latency = Table(
        f"{times} times, from connecting to the first echo",
        [
            Column("p50", "µs"),
            Column("p99", "µs"),
            Column("p50 to plain", "x", 2),
            Column("p99 to plain", "x", 2),
        ],
    )
    memory = Table(f"{away:,} idle sessions: memory of the node", [Column("a session", "KiB", 1)])
    for _ in range(effort.rounds):
        for measure, table, count in (
            (_come_back, latency, times),
            (_stay, memory, away),
            (_stay_away, memory, away),
        ):
            with guesthouse("echo-c", settings=_SETTINGS) as node:
                asyncio.run(measure(table, node, count))
    result.tables += [latency, memory]
    result.goals = [
        Goal("channel resumed, p50 to a plain channel opened", 1.5, latency.rounds(RESUMED, "p50 to plain")),
        Goal("memory of a client away", 4.0, memory.rounds(NO_SOCKET, "a session"), unit="KiB"),
    ]
    result.notes.append("All include the connection, its upgrade and the echo of a message, by `websockets`.")
    return result


async def _socket(node: Server, *, resumable: bool) -> ClientConnection:
    offers = [Subprotocol(SUBPROTOCOL)] if resumable else None
    return await connect(
        node.url + _PATH,
        subprotocols=offers,
        compression=None,
        ping_interval=None,
        proxy=None,
        close_timeout=1,
    )


async def _greeted(node: Server, session: Session) -> ClientConnection:
    """A socket on which the session is live."""
    socket = await _socket(node, resumable=True)
    await socket.send(session.hello())
    session.take(await socket.recv(), 0.0)
    await _write(socket, session)
    return socket


async def _write(socket: ClientConnection, session: Session) -> None:
    while (message := session.next()) is not None:
        await socket.send(message)


def _cut(socket: ClientConnection, session: Session) -> None:
    session.cut()
    socket.transport.abort()


async def _come_back(table: Table, node: Server, times: int) -> None:
    taken: dict[str, list[float]] = {PLAIN: [], OPENED: [], RESUMED: [], WITH_MESSAGES: []}
    session, busy = Session(60, 60), Session(60, 60)
    _cut(await _greeted(node, session), session)
    _cut(await _greeted(node, busy), busy)
    for _ in range(times):
        began = perf_counter()
        plain = await _socket(node, resumable=False)
        await plain.send("x")
        await plain.recv()
        taken[PLAIN].append(perf_counter() - began)
        await plain.close()

        began = perf_counter()
        another = Session(60, 60)
        socket = await _greeted(node, another)
        await socket.send("x")
        await socket.recv()
        taken[OPENED].append(perf_counter() - began)
        await socket.close()

        taken[RESUMED].append(await _resumed(node, session, 0))
        taken[WITH_MESSAGES].append(await _resumed(node, busy, WAITING))
    for row, seconds in taken.items():
        p50, p99 = (_percentile(seconds, part) for part in (50, 99))
        table.add(
            row,
            p50=p50 * 1e6,
            p99=p99 * 1e6,
            p50_to_plain=p50 / _percentile(taken[PLAIN], 50),
            p99_to_plain=p99 / _percentile(taken[PLAIN], 99),
        )


async def _resumed(node: Server, session: Session, waiting: int) -> float:
    """Come back, have a message answered, and break the connection. Returns the seconds until that answer.

    Args:
        waiting: messages whose answers the client has not received when the connection breaks.
    """
    began = perf_counter()
    socket = await _greeted(node, session)
    session.put("x")
    await _write(socket, session)
    expected = session.kept.count
    while session.arrived < expected:
        taken = session.take(await socket.recv(), 0.0)
        if isinstance(taken, str | bytes):
            session.consume(taken, 0.0)
    seconds = perf_counter() - began
    for _ in range(waiting):
        session.put("x")
    await _write(socket, session)
    if waiting:  # the node has them, and so the process answers, to nobody
        session.ask(0.0)
        await _write(socket, session)
        while session.kept.acknowledged < session.kept.count:
            message = await socket.recv()
            if isinstance(message, str) and message.startswith("\x10"):
                session.take(message, 0.0)
    _cut(socket, session)
    return seconds


async def _stay(table: Table, node: Server, count: int) -> None:
    """Hold sessions that have their sockets."""
    before = settled_kib(node.pid)
    async with AsyncExitStack() as stack:
        for _ in range(count):
            socket = await _greeted(node, Session(60, 60))
            stack.callback(socket.transport.abort)
        table.add(SOCKET, a_session=(await asyncio.to_thread(settled_kib, node.pid) - before) / count)


async def _stay_away(table: Table, node: Server, count: int) -> None:
    """Leave sessions without sockets, few at a time: what sockets took serves the next ones."""
    before = settled_kib(node.pid)
    for _ in range(count):
        _cut(await _greeted(node, session := Session(60, 60)), session)
    table.add(NO_SOCKET, a_session=(await asyncio.to_thread(settled_kib, node.pid) - before) / count)


def _percentile(seconds: list[float], part: int) -> float:
    return statistics.quantiles(seconds, n=100, method="inclusive")[part - 1]


if __name__ == "__main__":
    only(run)
