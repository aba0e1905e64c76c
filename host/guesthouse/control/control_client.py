"""The client side of the control socket. Blocking; needs no event loop, so that commands start fast."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

from guesthouse.core.errors import GuesthouseError
from guesthouse.core.home import Home

CONNECT_SECONDS: Final = 5.0


class NoNode(GuesthouseError):
    """No node runs on this home."""


class CommandRefused(GuesthouseError):
    """The node refused the command; the message is the node's."""


def ask(home: Path, command: str, **arguments: Any) -> Iterator[Any]:
    """Send a command to the node that runs on `home`, and yield the items of its answer as they arrive.

    Raises:
        NoNode: none runs there, or it stopped before the answer was complete.
        CommandRefused: the node refused.
    """
    with _connect(home) as connection, connection.makefile("rb") as stream:
        with suppress(ConnectionError):  # then nothing will be read
            connection.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
        for line in _lines(stream):
            try:
                answer = dict(json.loads(line))
            except (ValueError, TypeError, RecursionError):
                raise NoNode(
                    f"the program on {home} is not a node of this version: restart the node"
                ) from None
            if "item" not in answer:
                break
            yield answer["item"]
        else:
            raise NoNode(f"the node on {home} stopped before it had answered")
        if "error" in answer:
            raise CommandRefused(answer["error"])


def _lines(stream: BufferedReader) -> Iterator[bytes]:
    """The lines that come, until the node ends, however it does."""
    with suppress(ConnectionError):
        yield from stream


def _connect(home: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(CONNECT_SECONDS)
    try:
        with Home(home).control_address() as address:
            connection.connect(address)
    except (OSError, GuesthouseError) as error:
        connection.close()
        if isinstance(error, PermissionError):
            raise NoNode(f"{home} belongs to another user: run the command as that user") from None
        raise NoNode(f"no node runs on {home}: start it with 'guesthouse run --home {home}'") from None
    connection.settimeout(None)
    return connection
