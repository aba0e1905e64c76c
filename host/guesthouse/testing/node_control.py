"""Asks a node on its control socket, in an event loop: what waits for the answer can be cancelled."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Final

from guesthouse.control.control_client import CommandRefused, NoNode
from guesthouse.core.home import Home

_LONGEST_LINE: Final = 64 * 1024 * 1024


async def asked(home: Path, command: str, **arguments: Any) -> list[Any]:
    """Send a command, and return the items of the answer.

    Raises:
        NoNode: none runs there, or it stopped.
        CommandRefused: the node refused.
    """
    try:
        with Home(home).control_address() as address:
            reader, writer = await asyncio.open_unix_connection(address, limit=_LONGEST_LINE)
    except OSError:
        raise NoNode(f"the node of the test does not run any more: {home}") from None
    try:
        writer.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
        items: list[Any] = []
        while line := await reader.readline():
            answer = json.loads(line)
            if "error" in answer:
                raise CommandRefused(answer["error"])
            if "item" not in answer:
                return items
            items.append(answer["item"])
        raise NoNode("the node of the test stopped before it had answered")
    except ConnectionError:
        raise NoNode("the node of the test stopped before it had answered") from None
    finally:
        writer.close()
