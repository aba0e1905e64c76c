"""The side-car of `extension-demo`: a native program that answers what a component cannot know.

    python sidecar.py ws://127.0.0.1:8080

It needs `websockets` and `msgpack`. What tells it from other programs on the machine is the secret in the node's home.
When the node is not there, or restarts, it connects again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
from itertools import count
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped] # it has no types of its own
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

PATH = "/extension-demo:extension-demo:guesthouse.os/ext"
HEADER = "Guesthouse-Local"
NAME = "WebSocketExtPushData"
FIRST_REPORT = 2**32
"""Ids from here on are those of our own reports, whose answers need no answer."""
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0


def answer(question: bytes) -> dict[str, Any]:
    """What this machine says to a question."""
    if question == b"disk":
        usage = shutil.disk_usage("/")
        return {"disk": {"total": usage.total, "free": usage.free}}
    if question == b"machine":
        return {"machine": os.uname().machine, "pid": os.getpid()}
    return {"error": "ask for disk or machine"}


def packed(number: int, kind: str, blob: bytes) -> bytes:
    """A message in the framing of extensions."""
    message: bytes = msgpack.packb({NAME: {"id": number, "kinode_message_type": kind, "blob": blob}})
    return message


async def answer_all(socket: ClientConnection) -> None:
    """Answer what the process asks, until the connection ends."""
    async for message in socket:
        if isinstance(message, str):
            continue
        push = msgpack.unpackb(message)[NAME]
        if push["kinode_message_type"] == "Response" and push["id"] < FIRST_REPORT:
            said = json.dumps(await asyncio.to_thread(answer, push["blob"])).encode()
            await socket.send(packed(push["id"], "Response", said))


async def report(socket: ClientConnection, seconds: float) -> None:
    """Tell the process of the machine's load, again and again."""
    for number in count(FIRST_REPORT):
        load = json.dumps({"load": os.getloadavg()[0]}).encode()
        await socket.send(packed(number, "Request", load))
        await asyncio.sleep(seconds)


def shown(home: Path) -> dict[str, str]:
    """The header that tells this program from others on the machine."""
    return {HEADER: (home / "local.secret").read_text().strip()}


async def serve(url: str, home: Path, seconds: float) -> None:
    """Be the side-car of the node at `url`, for ever."""
    wait = FIRST_WAIT
    while True:
        try:
            async with (
                connect(url + PATH, additional_headers=shown(home), proxy=None) as socket,
                asyncio.TaskGroup() as tasks,
            ):
                print("connected", flush=True)
                wait = FIRST_WAIT
                reports = tasks.create_task(report(socket, seconds))
                await answer_all(socket)
                reports.cancel()
        except* (OSError, ConnectionClosed, InvalidHandshake) as problems:
            print(f"not connected: {problems.exceptions[0]}", file=sys.stderr, flush=True)
        await asyncio.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url", help="such as ws://127.0.0.1:8080")
    home = os.environ.get("GUESTHOUSE_HOME") or "~/.guesthouse"
    parser.add_argument("--home", default=home, help="the node's folder")
    parser.add_argument("--seconds", type=float, default=5.0, help="between two reports")
    options = parser.parse_args()
    try:
        asyncio.run(serve(options.url, Path(options.home).expanduser(), options.seconds))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
