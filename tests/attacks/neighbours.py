"""Clients of the attacked node's neighbours, as an OS process of their own: `python neighbours.py JSON`.

Each client sends a numbered message, waits for its echo, and sends the next at its pace. An echo that is late
stands for all the messages that were not sent because of it, so a stall counts as long as it lasted. Of its
standard input it takes lines: `{"wait": N}` is answered once each client has made so many round trips since the
last window, `{"take": {NAME: [LABEL, …]}}` with what each group of clients measured in the window that ends now.
The next one begins then; with `"pause": true` nothing is sent until the next `take`, and before the first.
Each line has a `number`, which its answer begins with.
"""

from __future__ import annotations

import asyncio
import json
import sys
from array import array
from time import perf_counter
from typing import Any, Final

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

PACE_SECONDS: Final = 0.008
TIME_OUT_SECONDS: Final = 10.0
"""An echo that takes longer counts as one that never came."""
_FILLER: Final = b" a hundred and twenty-eight bytes, as a chat message may have".ljust(112, b".")


class Client(WSListener):
    """One connection, and what it measured since it was asked last."""

    def __init__(self, label: str, lost: list[str]) -> None:
        self.label = label
        self.times = array("d")
        self.round_trips = 0
        self.time_outs = 0
        self.sent_at = 0.0
        self._lost = lost
        self._expected = b""
        self._number = 0
        self._next: asyncio.TimerHandle | None = None
        self._pausing = True
        self._stands_ready = False
        self._leaving = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._send()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        now = perf_counter()
        payload = frame.get_payload_as_bytes()
        if payload != self._expected:
            self._lost.append(f"{self.label} got {payload[:80]!r} for {self._expected[:80]!r}")
            return
        self._expected = b""
        self.round_trips += 1
        late = now - self.sent_at
        while late > 0:
            self.times.append(late)
            late -= PACE_SECONDS
        self._next = asyncio.get_running_loop().call_later(
            max(0.0, self.sent_at + PACE_SECONDS - now), self._send
        )

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if not self._leaving:
            self._lost.append(f"{self.label} was disconnected")

    def look(self, now: float) -> None:
        """Count an echo that is overdue, once for each time-out that it is."""
        if self._expected and now - self.sent_at > TIME_OUT_SECONDS * (self.time_outs + 1):
            self.time_outs += 1

    def pause(self) -> None:
        """Send nothing more; an echo that is awaited is awaited still."""
        self._pausing = True

    def go_on(self) -> None:
        """Send again, unless an echo is awaited."""
        self._pausing = False
        if self._stands_ready:
            self._stands_ready = False
            self._send()

    def leave(self) -> None:
        self._leaving = True
        if self._next is not None:
            self._next.cancel()
        self._transport.disconnect()

    def _send(self) -> None:
        if self._pausing:
            self._stands_ready = True
            return
        self._number += 1
        self._expected = b"%015d" % self._number + _FILLER
        self.sent_at = perf_counter()
        self._transport.send(WSMsgType.TEXT, self._expected)


def percentile(times: list[float], part: float) -> float:
    """Milliseconds below which a part of the sorted times lie."""
    return 1000 * times[min(int(len(times) * part), len(times) - 1)] if times else 0.0


def measured(clients: list[Client], lost: list[str]) -> dict[str, Any]:
    """What one group measured. An echo that is still awaited counts with the time that it took so far."""
    now = perf_counter()
    waiting = [now - client.sent_at for client in clients if now - client.sent_at > PACE_SECONDS]
    times = sorted([*(time for client in clients for time in client.times), *waiting])
    return {
        "round_trips": sum(client.round_trips for client in clients),
        "p50_ms": percentile(times, 0.5),
        "p99_ms": percentile(times, 0.99),
        "worst_ms": percentile(times, 1.0),
        "time_outs": sum(client.time_outs for client in clients),
        "lost": [text for text in lost if any(text.startswith(client.label) for client in clients)],
    }


def forget(clients: list[Client]) -> None:
    """Begin a new window."""
    for client in clients:
        client.times = array("d")
        client.round_trips = client.time_outs = 0


async def serve(urls: dict[str, list[str]]) -> None:
    """Connect, then answer each line of standard input; its end is the end."""
    lost: list[str] = []
    clients = [Client(label, lost) for label, each in urls.items() for _ in each]
    for client, url in zip(clients, (url for each in urls.values() for url in each), strict=True):
        await ws_connect(lambda client=client: client, url)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        asked = json.loads(line)
        answer: dict[str, Any] = {}
        if "wait" in asked:
            await _until(clients, asked["wait"], lost)
        else:
            for name, labels in asked["take"].items():
                answer[name] = measured([client for client in clients if client.label in labels], lost)
            forget(clients)
            lost.clear()
            for client in clients:
                client.pause() if asked["pause"] else client.go_on()
        print(json.dumps([asked["number"], answer]), flush=True)
    for client in clients:
        client.leave()


async def _until(clients: list[Client], round_trips: int, lost: list[str]) -> None:
    """Wait until each client has made so many round trips, or that will not happen."""
    while not lost and any(client.round_trips < round_trips for client in clients):
        await asyncio.sleep(PACE_SECONDS)
        for client in clients:
            client.look(perf_counter())
        if any(client.time_outs for client in clients):
            return


if __name__ == "__main__":
    uvloop.run(serve(json.loads(sys.argv[1])))
