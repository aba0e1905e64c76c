"""The load generator for HTTP: connections that are kept open, each with one request at a time.

Runs as a separate process. Requests are encoded once, and of responses only the length is read: so it takes a fraction
of the CPU of any server measured here. Prints one JSON object, as `load.py` does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
from array import array
from pathlib import Path
from time import perf_counter
from typing import Final, cast
from urllib.parse import urlsplit

import uvloop

from load import Measured

_PATIENCE: Final = 60.0
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_END: Final = b"\r\n\r\n"
_OK: Final = b"HTTP/1.1 200 "


class Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._head = b""
        self._missing = 0
        self._sent = 0.0
        self.finished = asyncio.get_running_loop().create_future()
        self.times = array("d")
        self.answered = 0
        self.measure_from = 0.0
        self.until = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def begin(self) -> None:
        """Send the next request."""
        self._sent = perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            self._read_head(data)
        if not self._missing and not self._head:
            self._answered()

    def _read_head(self, data: bytes) -> None:
        data = self._head + data
        head, end, body = data.partition(_END)
        self._head = b"" if end else data
        if end:
            found = _LENGTH.search(head + end)
            if not head.startswith(_OK) or found is None:
                raise SystemExit(f"an answer that is not one: {data[:300]!r}")
            self._missing = int(found[1]) - len(body)

    def _answered(self) -> None:
        now = perf_counter()
        self.answered += 1
        if self._sent >= self.measure_from:
            self.times.append(now - self._sent)
        if now < self.until or not self.times:
            self._sent = now
            self._transport.write(self._request)
        else:
            self.finished.set_result(None)
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.finished.done():
            self.finished.set_exception(ConnectionError(f"the server closed a connection: {error}"))


async def run(url: str, connections: int, seconds: float, body: bytes) -> Measured:
    """Generate load and return the result; the first fifth of the time is not counted."""
    parts = urlsplit(url)
    head = [f"{'POST' if body else 'GET'} {parts.path} HTTP/1.1", f"Host: {parts.netloc}"]
    head += [f"Content-Length: {len(body)}"] if body else []
    request = "\r\n".join(head).encode() + _END + body
    loop = asyncio.get_running_loop()
    opened = []
    for _ in range(connections):
        _, each = await loop.create_connection(
            lambda: Connection(request), parts.hostname or "", parts.port or 80
        )
        opened.append(each)
    before, begin = os.times(), perf_counter()
    for each in opened:
        each.measure_from, each.until = begin + seconds / 5, begin + seconds
        each.begin()
    async with asyncio.timeout(seconds + _PATIENCE):
        await asyncio.gather(*(each.finished for each in opened))
    took, after = perf_counter() - begin, os.times()
    times = sorted(time for each in opened for time in each.times)
    return {
        "messages": sum(each.answered for each in opened),
        "messages_per_second": len(times) / (took - seconds / 5),
        "p50_us": times[len(times) // 2] * 1e6,
        "p99_us": times[min(len(times) - 1, int(len(times) * 0.99))] * 1e6,
        "load_cpu": (after.user + after.system - before.user - before.system) / took,
    }


def load_http(url: str, connections: int, seconds: float, size: int = 0) -> Measured:
    """Load one path for some seconds from a process of its own: with GET, or POST of so many bytes."""
    command = [sys.executable, str(Path(__file__)), url, "--connections", str(connections)]
    command += ["--seconds", str(seconds), "--bytes", str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the load on {url} failed: {done.stderr.strip()[-1000:]}")
    measured: Measured = json.loads(done.stdout)
    return measured


def main() -> None:
    """Load and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--bytes", type=int, default=0, help="of the body of a POST; 0 for GET")
    options = parser.parse_args()
    print(
        json.dumps(uvloop.run(run(options.url, options.connections, options.seconds, b"x" * options.bytes)))
    )


if __name__ == "__main__":
    main()
