"""Between nodes: a push to a channel of another node and a request to a process there, beside those on one node and a
bare request over the same NATS server. All take turns in one run, on one machine: a network adds its own time to each.

Needs Guesthouse's extra `cluster`. Not part of `make bench`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import nats
from nats.aio.msg import Msg
from websockets.asyncio.client import ClientConnection, connect

from guesthouse.control.control_client import ask as ask_node
from results import Column, Effort, Result, Table
from run import only
from servers import Server, guesthouse
from usage import Usage

TIMES: Final = 1000
MANY: Final = 20_000
WINDOW: Final = 64
BARE: Final = "NATS, request and response of two programs"
PUSH_HERE: Final = "Guesthouse, push to a channel of this node"
PUSH_THERE: Final = "Guesthouse, push to a channel of another node"
ASK_HERE: Final = "Guesthouse, request to a process of this node"
ASK_THERE: Final = "Guesthouse, request to a process of another node"
_RELAY: Final = "relay:relay:bench.os"
_OTHER: Final = "other:relay:bench.os"
_NATS: Final = Path(sys.executable).parent / "nats-server"
_SECONDS: Final = 30

_RESPONDER: Final = """
import asyncio, sys, nats
async def main():
    client = await nats.connect(sys.argv[1])
    async def answer(message):
        await message.respond(message.data)
    await client.subscribe("bench.bare", cb=answer)
    await client.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""

Exchange = Callable[[str], Awaitable[None]]


def run(effort: Effort) -> Result:
    """Measure each in turn, again and again."""
    result = Result("cluster", "between nodes")
    table = Table(
        f"{effort.count(TIMES, 20)} times each, one after the other",
        [
            Column("p50", "µs"),
            Column("p99", "µs"),
            Column("p50 to bare NATS", "x", 2),
            Column("p50 to this node", "x", 2),
        ],
    )
    cost = Table(
        f"{effort.count(MANY, 200):,} pushes of 128 bytes, {WINDOW} on their way at once: CPU a push",
        [
            Column("first node", "µs", 1),
            Column("its worker", "µs", 1),
            Column("other node", "µs", 1),
            Column("nats-server", "µs", 1),
            Column("pushes/s"),
        ],
    )
    result.tables += [table, cost]
    with (
        tempfile.TemporaryDirectory(prefix="guesthouse-bench-") as folder,
        nats_server(Path(folder)) as (url, pid),
    ):
        homes = cluster_homes(Path(folder), url)
        with guesthouse("relay", home=homes[0]) as one, guesthouse("relay", home=homes[1]) as two:
            for _ in range(effort.rounds):
                asyncio.run(_measure(table, effort.count(TIMES, 20), url, (one, two), homes))
                asyncio.run(_load(cost, effort.count(MANY, 200), pid, (one, two), homes))
    result.notes.append("Push: a client has a process push to another client's channel, which hears it.")
    return result


@contextmanager
def nats_server(folder: Path, monitored_at: int | None = None) -> Iterator[tuple[str, int]]:
    """A NATS server with JetStream; its URL and pid. It tells what it does at a port, if one is given."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [str(_NATS), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder / "store")]
    command += [] if monitored_at is None else ["-m", str(monitored_at)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        while "Server is ready" not in (line := server.stderr.readline()):
            if not line:
                raise SystemExit("nats-server does not start")
        yield f"nats://127.0.0.1:{port}", server.pid
    finally:
        server.terminate()
        server.wait()


def cluster_homes(folder: Path, url: str, count: int = 2) -> list[Path]:
    """Homes of nodes that are members of one cluster, once they run. They are named `node-0.os` and so on."""
    homes = [folder / f"node-{number}" for number in range(count)]
    for home in homes:
        home.mkdir(mode=0o700)
    _cli("init", "--nats", url, "--node", "node-0.os", "--home", homes[0])
    with guesthouse("relay", home=homes[0]):
        for number, home in enumerate(homes[1:], 1):
            ticket = _cli("ticket", "--home", homes[0]).strip()
            _cli("join", ticket, "--node", f"node-{number}.os", "--home", home)
    return homes


def _cli(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "guesthouse", "cluster", *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    if ran.returncode:
        raise SystemExit(f"guesthouse cluster {arguments[0]}: {ran.stderr}")
    return ran.stdout


async def _measure(
    table: Table, times: int, url: str, nodes: tuple[Server, Server], homes: list[Path]
) -> None:
    async with AsyncExitStack() as stack:
        exchanges = {BARE: await _bare(stack, url)}
        here, _ = await _channel(stack, nodes[0], homes[0], _RELAY)
        beside, channel_beside = await _channel(stack, nodes[0], homes[0], _RELAY)
        there, channel_there = await _channel(stack, nodes[1], homes[1], _RELAY)
        await there.send(f"lend {channel_there} node-0.os@{_RELAY}")

        def push(node: str, channel: int, heard: ClientConnection) -> Exchange:
            async def exchange(text: str) -> None:
                await here.send(f"push {node} {channel} {text}")
                assert await heard.recv() == text

            return exchange

        def ask(target: str) -> Exchange:
            async def exchange(text: str) -> None:
                await here.send(f"ask {target} {text}")
                assert await here.recv() == text

            return exchange

        exchanges[PUSH_HERE] = push("node-0.os", channel_beside, beside)
        exchanges[PUSH_THERE] = push("node-1.os", channel_there, there)
        exchanges[ASK_HERE] = ask(f"node-0.os@{_OTHER}")
        exchanges[ASK_THERE] = ask(f"node-1.os@{_OTHER}")
        await _until_lent(exchanges[PUSH_THERE], there)
        _add(table, await _taken(exchanges, times))


async def _load(
    table: Table, count: int, nats_pid: int, nodes: tuple[Server, Server], homes: list[Path]
) -> None:
    """Have many pushes on their way at once, and see what they cost whom."""
    async with AsyncExitStack() as stack:
        here, _ = await _channel(stack, nodes[0], homes[0], _RELAY)
        beside, channel_beside = await _channel(stack, nodes[0], homes[0], _RELAY)
        there, channel_there = await _channel(stack, nodes[1], homes[1], _RELAY)
        await there.send(f"lend {channel_there} node-0.os@{_RELAY}")

        async def first(text: str) -> None:
            await here.send(f"push node-1.os {channel_there} {text}")
            assert await there.recv() == text

        await _until_lent(first, there)
        for row, node, channel, heard in (
            (PUSH_HERE, "node-0.os", channel_beside, beside),
            (PUSH_THERE, "node-1.os", channel_there, there),
        ):
            before, began = _used(nats_pid, nodes), perf_counter()
            await _pushed(f"push {node} {channel} {'x' * 128}", count, here, heard)
            seconds = perf_counter() - began
            used = [
                1e6 * (after - so_far) / count
                for after, so_far in zip(_used(nats_pid, nodes), before, strict=True)
            ]
            table.add(
                row,
                first_node=used[0],
                its_worker=used[1],
                other_node=used[2],
                nats_server=used[3],
                pushes_s=count / seconds,
            )


def _used(nats_pid: int, nodes: tuple[Server, Server]) -> list[float]:
    """CPU seconds so far: of the first node, its workers, the other one without workers, and NATS."""
    one, two = nodes
    usages = (one.own(), one.workers(), two.own(), Usage.of(nats_pid))
    return [usage.cpu_seconds for usage in usages]


async def _pushed(command: str, count: int, here: ClientConnection, heard: ClientConnection) -> None:
    for _ in range(WINDOW):
        await here.send(command)
    for arrived in range(count):
        await heard.recv()
        if arrived < count - WINDOW:
            await here.send(command)


async def _until_lent(exchange: Exchange, heard: ClientConnection) -> None:
    """Push until one arrives: the capability, and the session of the nodes, may be on their way."""
    for attempt in range(100):
        try:
            await asyncio.wait_for(exchange(f"first {attempt}"), 0.2)
        except TimeoutError:
            continue
        return
    raise SystemExit("no push to the other node arrives")


async def _bare(stack: AsyncExitStack, url: str) -> Exchange:
    """A request to a program of its own, over NATS alone."""
    responder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _RESPONDER, url), stdout=subprocess.PIPE
    )
    stack.push_async_callback(responder.wait)
    stack.callback(responder.terminate)
    assert responder.stdout is not None
    await responder.stdout.readline()
    client = await nats.connect(url)
    stack.push_async_callback(client.close)

    async def exchange(text: str) -> None:
        answer: Msg = await client.request("bench.bare", text.encode(), timeout=_SECONDS)
        assert answer.data == text.encode()

    return exchange


async def _channel(
    stack: AsyncExitStack, node: Server, home: Path, process: str
) -> tuple[ClientConnection, int]:
    """A client with a channel of a process."""
    (token,) = await asyncio.to_thread(lambda: list(ask_node(home, "token", ttl=3600)))
    opened = connect(node.url, compression=None, ping_interval=None, proxy=None, close_timeout=1)
    client = await stack.enter_async_context(opened)
    await client.send(json.dumps({"auth_token": token, "target_process": process, "encrypted": False}))
    answer: Any = json.loads(await client.recv())
    return client, answer["channel_id"]


async def _taken(exchanges: dict[str, Exchange], times: int) -> dict[str, list[float]]:
    """Seconds of each exchange, which take turns."""
    taken: dict[str, list[float]] = {row: [] for row in exchanges}
    text = "x" * 128
    for number in range(times + 20):
        for row, exchange in exchanges.items():
            began = perf_counter()
            await asyncio.wait_for(exchange(text), _SECONDS)
            if number >= 20:
                taken[row].append(perf_counter() - began)
    return taken


def _add(table: Table, taken: dict[str, list[float]]) -> None:
    bare = statistics.median(taken[BARE])
    here = {PUSH_THERE: PUSH_HERE, ASK_THERE: ASK_HERE}
    for row, seconds in taken.items():
        p50, p99 = (statistics.quantiles(seconds, n=100, method="inclusive")[part - 1] for part in (50, 99))
        table.add(
            row,
            p50=p50 * 1e6,
            p99=p99 * 1e6,
            p50_to_bare_NATS=p50 / bare,
            p50_to_this_node=p50 / statistics.median(taken[here.get(row, row)]),
        )


if __name__ == "__main__":
    only(run)
