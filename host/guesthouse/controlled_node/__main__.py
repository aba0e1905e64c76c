"""`python -m guesthouse.controlled_node --home HOME --now SECONDS PACKAGE…`: runs a node for tests until SIGTERM,
or until its standard input ends: whoever started it is gone.

Its settings come from environment and home as those of any node. Once it is ready it prints the line of
`guesthouse run`; SIGTERM ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from guesthouse.controlled_node.controlled import ControlledNode
from guesthouse.core.config import Settings, load_settings
from guesthouse.core.errors import GuesthouseError
from guesthouse.linux import privileges

_STDIN = 0
_READ_BYTES = 4096


async def serve(settings: Settings, now: float, packages: Sequence[str]) -> None:
    """Run the node until the task is cancelled."""
    async with ControlledNode(settings, now) as node:
        loaded = [await node.load(argument) for argument in packages]
        await node.installer.take_hosts(loaded, consent=True)
        await node.add(loaded)
        await node.installer.start()
        await node.complete()
        print(f"ready {node.http.url} node={settings.node}", flush=True)
        await asyncio.get_running_loop().create_future()


async def _until_told(settings: Settings, now: float, packages: Sequence[str]) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(serve(settings, now, packages))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)

    def read() -> None:
        if not os.read(_STDIN, _READ_BYTES):
            loop.remove_reader(_STDIN)
            task.cancel()

    with suppress(PermissionError):  # it is a file, which does not end
        loop.add_reader(_STDIN, read)
    with suppress(asyncio.CancelledError):
        await task


def main() -> int:
    """Run the node; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m guesthouse.controlled_node")
    parser.add_argument("--home", required=True)
    parser.add_argument("--now", required=True, type=float)
    parser.add_argument("packages", nargs="+")
    given = parser.parse_args()
    privileges.give_up_privileges()
    try:
        settings = load_settings(given.home, {"http.port": 0, "workers": 1})
        asyncio.run(_until_told(settings, given.now, given.packages))
    except GuesthouseError as error:
        print(f"guesthouse: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
