"""Thousands of waiting connections, held by a few processes.

A process connects, reports it, and then follows commands on standard input: after `expect N` it reports when each
connection has received N more messages, with the times of the first and the last by the clock that all
processes of a machine share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Final

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

_AT_ONCE: Final = 50
"""Concurrent handshakes in one process."""
_MOST_OF_ONE_ADDRESS: Final = 20_000
_PATIENCE: Final = 60.0
"""Seconds: for a handshake, on a busy machine."""
_PROCESSES: Final = 2
_COMPRESSION: Final = {"Sec-WebSocket-Extensions": "permessage-deflate"}


class Counter:
    """Counts what the connections of one process receive."""

    def __init__(self) -> None:
        self.wanted = 0
        self.got = 0
        self.first = 0.0
        self.last = 0.0
        self.done = asyncio.Event()
        self.lost = 0

    def expect(self, messages: int) -> None:
        """Count from zero up to that number."""
        self.wanted, self.got, self.first = messages, 0, 0.0
        self.done.clear()


class Waiting(WSListener):
    """One connection."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        counter = self._counter
        if frame.msg_type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            if frame.msg_type == WSMsgType.PING:
                transport.send_pong(frame.get_payload_as_bytes())
            return
        counter.got += 1
        if counter.got == 1:
            counter.first = perf_counter()
        if counter.got == counter.wanted:
            counter.last = perf_counter()
            counter.done.set()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._counter.lost += 1
        self._counter.done.set()


async def hold(urls: Sequence[str], connections: int, source: str | None, compressed: int) -> None:
    """Connect, over the URLs in turn, and follow commands until standard input ends. The first `compressed` take
    compressed messages, which they only count.
    """
    counter = Counter()
    address = None if source is None else (source, 0)
    for begin in range(0, connections, _AT_ONCE):
        places = range(begin, min(begin + _AT_ONCE, connections))
        await asyncio.gather(
            *(
                ws_connect(
                    lambda: Waiting(counter),
                    urls[place % len(urls)],
                    local_addr=address,
                    websocket_handshake_timeout=_PATIENCE,
                    extra_headers=_COMPRESSION if place < compressed else None,
                )
                for place in places
            )
        )
    print(json.dumps({"connected": connections}), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        counter.expect(int(line.split()[1]) * connections)
        print(json.dumps({"expects": counter.wanted}), flush=True)
        await counter.done.wait()
        print(json.dumps({"first": counter.first, "last": counter.last, "lost": counter.lost}), flush=True)


class Crowd:
    """The processes that hold the connections."""

    def __init__(self, processes: Sequence[subprocess.Popen[str]]) -> None:
        self._processes = processes

    def expect(self, messages: int = 1) -> None:
        """Have every connection count that many messages; returns once all are ready."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"expect {messages}\n")
            process.stdin.flush()
        for process in self._processes:
            _answer(process)

    def all_received(self) -> tuple[float, float]:
        """Wait until every connection has received them; returns the times of the first and the last message."""
        answers = [_answer(process) for process in self._processes]
        if any(answer["lost"] for answer in answers):
            raise SystemExit("the server closed connections of the crowd")
        return min(answer["first"] for answer in answers), max(answer["last"] for answer in answers)


@contextmanager
def crowd(url: str | Sequence[str], connections: int, compressed: float = 0.0) -> Iterator[Crowd]:
    """Connections to a server, over its URLs in turn, and a share of them compressed; closed at the end of the
    block.
    """
    urls = [url] if isinstance(url, str) else list(url)
    with ExitStack() as stack:
        processes = []
        for place in range(_PROCESSES):
            share = connections // _PROCESSES + (place < connections % _PROCESSES)
            processes.append(
                stack.enter_context(_holding(urls, share, place, connections, round(compressed * share)))
            )
        for process in processes:
            _answer(process)
        yield Crowd(processes)


@contextmanager
def _holding(
    urls: Sequence[str], share: int, place: int, connections: int, compressed: int
) -> Iterator[subprocess.Popen[str]]:
    command = [
        sys.executable,
        str(Path(__file__)),
        "--connections",
        str(share),
        "--compressed",
        str(compressed),
    ]
    if connections > _MOST_OF_ONE_ADDRESS:
        command += ["--source", f"127.0.0.{2 + place}"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(list(urls)) + "\n")
        process.stdin.flush()
        yield process
    finally:
        process.kill()
        process.communicate()


def _answer(process: subprocess.Popen[str]) -> dict[str, float]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit("the crowd could not connect, or was thrown out")
    answer: dict[str, float] = json.loads(line)
    return answer


def main() -> None:
    """Read the URLs from standard input, connect, follow commands."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--compressed", type=int, default=0)
    parser.add_argument("--source", help="the address to connect from")
    options = parser.parse_args()
    urls = json.loads(sys.stdin.readline())
    uvloop.run(hold(urls, options.connections, options.source, options.compressed))


if __name__ == "__main__":
    main()
