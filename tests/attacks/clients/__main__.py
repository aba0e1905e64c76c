"""The attacker: `python -m tests.attacks.clients URL`. Told `{"attack": NAME, …}` on standard input, it does so once,
and answers with what came of it; the end of standard input is its end.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import uvloop

from ...conformance.opening import Target
from . import channels, handshakes, pages, sessions
from .wire import Tally

ATTACKS: Final[dict[str, Callable[..., Awaitable[Tally]]]] = {
    attack.__name__: attack
    for attack in (
        channels.broken,
        channels.closing_storm,
        channels.explosions,
        channels.floods,
        channels.half_open,
        channels.texts,
        handshakes.crowd,
        handshakes.odd_requests,
        handshakes.registers,
        handshakes.slow_bodies,
        handshakes.slow_heads,
        handshakes.slow_registers,
        handshakes.upgrades,
        pages.fetches,
        sessions.resumers,
    )
}


async def serve(target: Target) -> None:
    """Attack as told, one after another."""
    reader = asyncio.StreamReader(limit=2**22)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        asked: dict[str, Any] = json.loads(line)
        tally = await ATTACKS[asked.pop("attack")](target, **asked)
        print(json.dumps(tally), flush=True)


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(serve(Target.of(sys.argv[1])))
