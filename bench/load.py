"""The load: clients that each send a message, wait for its echo, and send the next.

Runs as its own process, with picows, which costs a fraction of any server measured here. Prints one
JSON object: messages a second and the round trip's percentiles in microseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from array import array
from time import perf_counter

import uvloop
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect


class Client(WSListener):
    """One connection."""

    def __init__(self, payload: bytes, text: bool, finished: asyncio.Event) -> None:
        self._payload = payload
        self._type = WSMsgType.TEXT if text else WSMsgType.BINARY
        self._finished = finished
        self.times = array("d")
        self.until = 0.0
        self.measure_from = 0.0
        self._sent = 0.0
        self.error: str | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def begin(self) -> None:
        self._sent = perf_counter()
        self.transport.send(self._type, self._payload)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        now = perf_counter()
        if frame.msg_type != self._type or frame.payload_size != len(self._payload):
            self.error = (
                f"got {frame.msg_type} of {frame.payload_size} bytes: {frame.get_payload_as_bytes()[:200]!r}"
            )
            self._finished.set()
            return
        if self._sent >= self.measure_from:
            self.times.append(now - self._sent)
        if now < self.until:
            self._sent = now
            transport.send(self._type, self._payload)
        else:
            self._finished.set()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._finished.set()


async def run(url: str, connections: int, seconds: float, payload: bytes, text: bool) -> dict[str, float]:
    """Load one server and return what was measured; the first fifth of the time is not counted."""
    events = [asyncio.Event() for _ in range(connections)]
    clients: list[Client] = []
    for event in events:
        client = Client(payload, text, event)
        await ws_connect(lambda client=client: client, url)
        clients.append(client)
    begin = perf_counter()
    for client in clients:
        client.measure_from, client.until = begin + seconds / 5, begin + seconds
        client.begin()
    async with asyncio.timeout(seconds + 20):
        for event in events:
            await event.wait()
    cpu = os.times()
    errors = [client.error for client in clients if client.error]
    if errors:
        raise SystemExit(errors[0])
    times = sorted(time for client in clients for time in client.times)
    for client in clients:
        client.transport.send_close(WSCloseCode.OK)
    return {
        "messages_per_second": len(times) / (seconds * 4 / 5),
        "p50_us": times[len(times) // 2] * 1e6,
        "p99_us": times[int(len(times) * 0.99)] * 1e6,
        "load_cpu": (cpu.user + cpu.system) / (perf_counter() - begin),
    }


def main() -> None:
    """Read the command line, load, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--bytes", type=int, default=128)
    parser.add_argument("--binary", action="store_true")
    options = parser.parse_args()
    payload = b"x" * options.bytes
    result = uvloop.run(run(options.url, options.connections, options.seconds, payload, not options.binary))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
