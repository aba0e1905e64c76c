"""Large compressed messages to one node, by itself and with local gateways (`guesthouse run --gateways`).

The load is one subprocess. Each of its connections has a message of its own, which it compresses once, and does not
decompress the answers: what is measured is the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import zlib
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final, cast
from urllib.parse import urlsplit

import uvloop

from results import Column, Effort, Result, Table
from run import only
from servers import Server, guesthouse
from usage import children, cpu_seconds

ALONE: Final = "The node itself"
TWO: Final = "2 gateways"
CONNECTIONS: Final = 200
SIZE: Final = 64 * 1024
_PATIENCE: Final = 60.0
_WINDOW: Final = 12
_PATH: Final = "/echo:echo:guesthouse.os/public"


def text(size: int, seed: int) -> bytes:
    """JSON as a server would send, another for each seed."""
    draw = random.Random(seed)
    words = ["north", "south", "shipped", "pending", "alpha", "omega", "depot", "harbour"]
    items: list[str] = []
    while sum(map(len, items)) < size:
        item = {
            "id": draw.randrange(10**6),
            "state": draw.choice(words),
            "place": draw.choice(words),
            "at": draw.random(),
        }
        items.append(json.dumps(item))
    return ",".join(items).encode()[:size]


def compressed_frame(message: bytes) -> bytes:
    """A client's frame of text, masked with zeros."""
    encoder = zlib.compressobj(wbits=-_WINDOW)
    payload = (encoder.compress(message) + encoder.flush(zlib.Z_SYNC_FLUSH))[:-4]
    return b"\xc1" + (0x80 | 126).to_bytes() + len(payload).to_bytes(2, "big") + bytes(4) + payload


class Client(asyncio.Protocol):
    """One connection: sends, reads a frame, and sends again."""

    def __init__(self, host: str, frame: bytes) -> None:
        self._host = host
        self._frame = frame
        self._input = bytearray()
        self.ready = asyncio.Event()
        self.finished = asyncio.Event()
        self.answered = self.counted = 0
        self.count_from = self.until = 0.0
        self.error = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        head = f"GET {_PATH} HTTP/1.1\r\nHost: {self._host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        head += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        head += "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
        self.transport.write(head.encode())

    def begin(self) -> None:
        self.transport.write(self._frame)

    def data_received(self, data: bytes) -> None:
        self._input += data
        if not self.ready.is_set():
            end = self._input.find(b"\r\n\r\n") + 4
            if end > 3:
                if b"permessage-deflate" not in self._input[:end]:
                    self.error = f"no compression: {bytes(self._input[:200])!r}"
                del self._input[:end]
                self.ready.set()
            return
        while len(self._input) >= 4:
            first, length, header = self._input[0], self._input[1], 2
            if length == 126:
                length, header = int.from_bytes(self._input[2:4], "big"), 4
            if len(self._input) < header + length:
                return
            del self._input[: header + length]
            if first == 0xC1:
                self._answer()
            elif first != 0x89:
                self.error = f"got a frame {first:#x}"
                self.finished.set()

    def _answer(self) -> None:
        now = perf_counter()
        self.answered += 1
        self.counted += now >= self.count_from
        if now < self.until:
            self.begin()
        else:
            self.finished.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished.is_set():
            self.error = self.error or "the server closed the connection"
            self.ready.set()
            self.finished.set()


def _itself(client: Client) -> Client:
    return client


async def generate(host: str, connections: int, seconds: float) -> dict[str, float]:
    """Load the server; the first fifth of the time is not counted."""
    name = urlsplit(f"ws://{host}")
    loop = asyncio.get_running_loop()
    clients = []
    for seed in range(connections):
        client = Client(host, compressed_frame(text(SIZE, seed)))
        await loop.create_connection(partial(_itself, client), name.hostname or "", name.port or 80)
        async with asyncio.timeout(_PATIENCE):
            await client.ready.wait()
        clients.append(client)
    cpu, begin = sum(os.times()[:2]), perf_counter()
    for client in clients:
        client.count_from, client.until = begin + seconds / 5, begin + seconds
        client.begin()
    async with asyncio.timeout(seconds + _PATIENCE):
        for client in clients:
            await client.finished.wait()
    took = perf_counter() - begin
    errors = [client.error for client in clients if client.error]
    if errors:
        raise SystemExit(errors[0])
    return {
        "messages": sum(client.answered for client in clients),
        "messages_per_second": sum(client.counted for client in clients) / (took - seconds / 5),
        "load_cpu": (sum(os.times()[:2]) - cpu) / took,
    }


def load(host: str, connections: int, seconds: float) -> dict[str, float]:
    """`generate` in a subprocess."""
    command = [sys.executable, __file__, "--load", host, str(connections), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the load on {host} failed: {done.stderr.strip()[-1000:]}")
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _parts(node: Server) -> dict[str, float]:
    """CPU seconds of a node, its gateways and its workers."""
    found = {"node": cpu_seconds(node.pid), "gateways": 0.0, "workers": 0.0}
    for pid in children(node.pid):
        gateway = b"guesthouse.local_gateway" in Path(f"/proc/{pid}/cmdline").read_bytes()
        found["gateways" if gateway else "workers"] += cpu_seconds(pid)
    return found


def run(effort: Effort) -> Result:
    """Measure the same load on a node without and with gateways."""
    result = Result("local_gateways", "Large compressed messages, with and without local gateways")
    connections = effort.count(CONNECTIONS)
    table = Table(
        f"{connections} connections that echo {SIZE // 1024} KiB of JSON, compressed both ways",
        [
            Column("messages/s"),
            Column("node", "µs/message"),
            Column("gateways", "µs/message"),
            Column("workers", "µs/message"),
        ],
    )
    with ExitStack() as stack:
        nodes = {
            name: stack.enter_context(guesthouse("echo", settings={"gateways": count}))
            for name, count in ((ALONE, 0), (TWO, 2))
        }
        for _ in range(effort.rounds):
            for name, node in nodes.items():
                before = _parts(node)
                found = load(urlsplit(node.url).netloc, connections, effort.seconds)
                after = _parts(node)
                each = {part: (after[part] - before[part]) / found["messages"] * 1e6 for part in before}
                table.add(
                    name,
                    messages_s=found["messages_per_second"],
                    node=each["node"],
                    gateways=each["gateways"],
                    workers=each["workers"],
                )
    result.tables.append(table)
    cores = len(os.sched_getaffinity(0))
    result.notes.append(
        f"{cores} cores run the node, its gateways, a worker and the load: what gateways add in "
        "messages a second needs as many cores more; the node's own microseconds a message are what bounds it then."
    )
    return result


def main() -> None:
    """The load, or the benchmark."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--load", nargs=3)
    options, _ = parser.parse_known_args()
    if options.load:
        host, connections, seconds = options.load
        print(json.dumps(uvloop.run(generate(host, int(connections), float(seconds)))))
    else:
        only(run)


if __name__ == "__main__":
    main()
