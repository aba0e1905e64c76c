"""The load generator: clients that each send a message, wait for its echo, and send the next.

Runs as a separate process, with picows, which takes a fraction of the CPU of any server measured here. Prints one
JSON object: messages a second, percentiles of the round trip in microseconds, and its own share of a CPU.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import ssl
import subprocess
import sys
import zlib
from array import array
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final, NamedTuple, Protocol, TypedDict

import uvloop
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

MOST: Final = 17 * 1024 * 1024
_PATIENCE: Final = 60.0
_BOTTLENECK: Final = 0.9
_SUBPROTOCOL: Final = "guesthouse.v1"
_OFFER: Final = "permessage-deflate; client_max_window_bits"
"""What browsers offer."""
_WINDOW_BITS: Final = 12
"""What `websockets` and Guesthouse both agree to."""
_TAIL: Final = b"\x00\x00\xff\xff"
_WORDS: Final = "the quick brown fox jumps over the lazy dog; "
_ACKNOWLEDGE: Final = re.compile(rb'"ack":{"messages":(\d+)')


class Measured(TypedDict):
    """The result of one run."""

    messages: int
    """All answered messages, also those that are not counted."""
    messages_per_second: float
    p50_us: float
    p99_us: float
    load_cpu: float
    """The load generator's own share of one CPU."""


class Spent(Protocol):
    """What a server has used."""

    @property
    def cpu_seconds(self) -> float:
        """CPU time of these OS processes."""

    @property
    def kernel_seconds(self) -> float:
        """System time of these OS processes."""


class LoadedServer(Protocol):
    """A server that can be loaded (`servers.Server`)."""

    @property
    def url(self) -> str:
        """Its URL, without a path."""

    def all(self) -> Spent:
        """What all its OS processes have used."""

    def own(self) -> Spent:
        """What its first OS process has used: of a node, all but its workers."""


def text_of(size: int) -> str:
    """A text of that many bytes, which compresses as text does that is not all the same."""
    numbered = "".join(f"{number} {_WORDS}" for number in range(1 + size // len(_WORDS)))
    return numbered[:size]


class Client(WSListener):
    """One connection."""

    def __init__(self, payload: bytes, text: bool, finished: asyncio.Event) -> None:
        self._payload = payload
        self._type = WSMsgType.TEXT if text else WSMsgType.BINARY
        self._finished = finished
        self.ready = asyncio.Event()
        self.times = array("d")
        self.answered = 0
        self.until = 0.0
        self.measure_from = 0.0
        self._sent = 0.0
        self.error: str | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.ready.set()

    def begin(self) -> None:
        self._sent = perf_counter()
        self.send()

    def send(self) -> None:
        self.transport.send(self._type, self._payload)

    def answers(self, frame: WSFrame) -> bool:
        """Whether a frame is the echo."""
        return frame.msg_type == self._type and frame.payload_size == len(self._payload)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        now = perf_counter()
        if not self.answers(frame):
            if frame.msg_type == WSMsgType.PING:
                transport.send_pong(frame.get_payload_as_bytes())
                return
            self.error = (
                f"got {frame.msg_type} of {frame.payload_size} bytes: {frame.get_payload_as_bytes()[:200]!r}"
            )
            self._finished.set()
            return
        self.answered += 1
        if self._sent >= self.measure_from:
            self.times.append(now - self._sent)
        if now < self.until or not self.times:
            self._sent = now
            self.send()
        else:
            self._finished.set()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if not self._finished.is_set():
            self.error = self.error or "the server closed the connection"
            self._finished.set()


class SessionClient(Client):
    """One connection whose channel is resumable: it opens the session, and acknowledges as it is told to."""

    def __init__(self, payload: bytes, text: bool, finished: asyncio.Event) -> None:
        super().__init__(payload, text, finished)
        self._every = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        transport.send(WSMsgType.TEXT, b'\x10{"type":"open"}')

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT and frame.get_payload_as_bytes()[:1] == b"\x10":
            if not self._every:
                self._opened(frame.get_payload_as_bytes())
            return
        super().on_ws_frame(transport, frame)
        if self.answered % self._every == 0:
            transport.send(WSMsgType.TEXT, b'\x10{"type":"ack","received":%d}' % self.answered)

    def _opened(self, control: bytes) -> None:
        told = _ACKNOWLEDGE.search(control)
        if told is None:
            raise SystemExit(f"the session was not opened: {control[:200]!r}")
        self._every = int(told[1])
        self.ready.set()


class DeflateClient(Client):
    """One connection with permessage-deflate. It compresses its message once, without a context, and the first
    answer is compared; later ones are counted, since decompressing all would bound what is measured.
    """

    def __init__(self, payload: bytes, text: bool, finished: asyncio.Event) -> None:
        super().__init__(payload, text, finished)
        encoder = zlib.compressobj(wbits=-_WINDOW_BITS, memLevel=5)
        self._compressed = (encoder.compress(payload) + encoder.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)

    def send(self) -> None:
        self.transport.send(self._type, self._compressed, True, True)

    def answers(self, frame: WSFrame) -> bool:
        if self.answered:
            return frame.msg_type == self._type
        answer = frame.get_payload_as_bytes()
        if frame.rsv1:
            answer = zlib.decompressobj(wbits=-_WINDOW_BITS).decompress(answer + _TAIL)
        return frame.msg_type == self._type and answer == self._payload


@dataclass(frozen=True, slots=True)
class How:
    """How the clients of a run speak."""

    text: bool = True
    session: bool = False
    """By resumable channels."""
    deflate: bool = False
    """With permessage-deflate."""
    trusted: str | None = None
    """The file of the certificate that a server must have."""

    @property
    def client(self) -> type[Client]:
        """The class of the clients."""
        return SessionClient if self.session else DeflateClient if self.deflate else Client

    @property
    def headers(self) -> dict[str, str] | None:
        """Headers of their requests."""
        if self.session:
            return {"Sec-WebSocket-Protocol": _SUBPROTOCOL}
        return {"Sec-WebSocket-Extensions": _OFFER} if self.deflate else None


async def run(
    urls: Sequence[str], connections: int, seconds: float, payload: bytes, how: How = How()
) -> Measured:
    """Generate load and return the result; the first fifth of the time is not counted. Connections are spread
    over the URLs in turn.
    """
    events = [asyncio.Event() for _ in range(connections)]
    clients: list[Client] = []
    tls = ssl.create_default_context(cafile=how.trusted) if how.trusted else None
    for place, event in enumerate(events):
        client = how.client(payload, how.text, event)
        await ws_connect(
            lambda client=client: client,
            urls[place % len(urls)],
            ssl_context=tls,
            max_frame_size=MOST,
            extra_headers=how.headers,
        )
        async with asyncio.timeout(_PATIENCE):
            await client.ready.wait()
        clients.append(client)
    cpu_before = os.times()
    begin = perf_counter()
    for client in clients:
        client.measure_from, client.until = begin + seconds / 5, begin + seconds
        client.begin()
    async with asyncio.timeout(seconds + _PATIENCE):
        for event in events:
            await event.wait()
    took, cpu = perf_counter() - begin, os.times()
    errors = [client.error for client in clients if client.error]
    if errors:
        raise SystemExit(errors[0])
    for client in clients:
        client.transport.send_close(WSCloseCode.OK)
    return _measured(
        clients, took - seconds / 5, (cpu.user + cpu.system - cpu_before.user - cpu_before.system) / took
    )


def _measured(clients: Sequence[Client], counted_seconds: float, load_cpu: float) -> Measured:
    """Falls back to the last messages if a slow server answers few in time."""
    times = sorted(time for client in clients for time in client.times)
    if not times:
        raise SystemExit("no message was answered in the time that counts: load for longer")
    return {
        "messages": sum(client.answered for client in clients),
        "messages_per_second": len(times) / counted_seconds,
        "p50_us": times[len(times) // 2] * 1e6,
        "p99_us": times[min(len(times) - 1, int(len(times) * 0.99))] * 1e6,
        "load_cpu": load_cpu,
    }


def load(
    url: str | Sequence[str],
    connections: int,
    size: int,
    seconds: float,
    *,
    text: bool = True,
    session: bool = False,
    deflate: bool = False,
    trusted: Path | None = None,
) -> Measured:
    """Load one server for some seconds from a process of its own; see `How`. Messages are the letter x again and again;
    with `deflate`, text as people write it.
    """
    urls = [url] if isinstance(url, str) else list(url)
    command = [sys.executable, str(Path(__file__)), "--connections", str(connections)]
    command += ["--bytes", str(size), "--seconds", str(seconds), *([] if text else ["--binary"])]
    command += ["--session"] if session else []
    command += ["--deflate"] if deflate else []
    command += ["--trusted", str(trusted)] if trusted else []
    done = subprocess.run(command, input="\n".join(urls), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the load on {urls[0]} failed: {done.stderr.strip()[-1000:]}")
    measured: Measured = json.loads(done.stdout)
    return measured


class Turn(NamedTuple):
    """One server's turn in a round, beside the first server's."""

    name: str
    found: Measured
    rate_ratio: float
    """Messages a second to the first server's."""
    p50_ratio: float
    """The median round trip to the first server's."""
    cpu_us: float
    """CPU time of the server a message."""
    cpu_ratio: float
    """The same to the first server's."""
    own_cpu_us: float
    """CPU time of its first OS process a message: of a node, without its workers."""
    kernel_us: float
    """Of `cpu_us`, what was spent in the kernel."""


def in_turn(
    servers: Mapping[str, tuple[LoadedServer, str]],
    connections: int,
    size: int,
    seconds: float,
    sessions: Container[str] = (),
    **how: Any,
) -> Iterator[Turn]:
    """Load each server once, one after the other. To be repeated, so that noise of the machine affects all.

    Args:
        servers: by name, with the path of their echo; the others are compared with the first.
        connections: of each.
        size: bytes of a message.
        seconds: for each.
        sessions: names of those that are loaded by resumable channels.
        how: see `load`.
    """
    first: Turn | None = None
    for name, (server, path) in servers.items():
        before, own_before = server.all(), server.own()
        found = load(server.url + path, connections, size, seconds, session=name in sessions, **how)
        after, own_after = server.all(), server.own()
        for_one = 1e6 / found["messages"]
        cpu = for_one * (after.cpu_seconds - before.cpu_seconds)
        base, base_cpu = (found, cpu) if first is None else (first.found, first.cpu_us)
        turn = Turn(
            name,
            found,
            found["messages_per_second"] / base["messages_per_second"],
            found["p50_us"] / base["p50_us"],
            cpu,
            cpu / base_cpu if base_cpu else 1.0,
            for_one * (own_after.cpu_seconds - own_before.cpu_seconds),
            for_one * (after.kernel_seconds - before.kernel_seconds),
        )
        first = first or turn
        yield turn


def bottleneck_note(row: str, load_cpu: Sequence[float]) -> list[str]:
    """A note if the load generator was busy all the time, so that the server could have done more."""
    share = max(load_cpu)
    if share < _BOTTLENECK:
        return []
    return [
        f"{row}: the load generator used {share:.0%} of a CPU: it, not the server, may be what bounds this row."
    ]


def main() -> None:
    """Read the URLs from standard input, load, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--bytes", type=int, default=128)
    parser.add_argument("--binary", action="store_true")
    parser.add_argument("--session", action="store_true")
    parser.add_argument("--deflate", action="store_true")
    parser.add_argument("--trusted")
    options = parser.parse_args()
    urls = sys.stdin.read().split()
    payload = text_of(options.bytes).encode() if options.deflate else b"x" * options.bytes
    how = How(not options.binary, options.session, options.deflate, options.trusted)
    print(json.dumps(uvloop.run(run(urls, options.connections, options.seconds, payload, how))))


if __name__ == "__main__":
    main()
