"""The node's control socket: how the command line talks to a running node.

A unix socket in the home, which only the node's user can reach. A client sends one line, a JSON object
`{"command": NAME, …}`, and receives lines: any number of `{"item": …}`, then `{"end": …}` or
`{"error": TEXT}`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeAlias

from msgspec import MsgspecError
from msgspec.json import Decoder, Encoder

from guesthouse.core.errors import GuesthouseError
from guesthouse.core.home import Home, HomeError

Command: TypeAlias = Callable[[Mapping[str, Any]], AsyncIterator[Any]]
"""Takes a request and yields the items of its answer."""

MAX_CLIENTS: Final = 64
REQUEST_BYTES: Final = 24 * 1024 * 1024
"""Fits a blob of 16 MiB in base64."""
_READ_BYTES: Final = 64 * 1024
_LONGEST_ERROR: Final = 1000
REQUEST_SECONDS: Final = 10.0


class BadCommand(GuesthouseError):
    """A control request is malformed or unknown."""


class ControlServer:
    """Serves control requests. An async context manager: leaving it cancels requests in progress.

    Args:
        home: where the socket is. A stale one is replaced; the caller holds the home's lock.
        commands: by name.
    """

    def __init__(self, home: Home, commands: Mapping[str, Command]) -> None:
        self._home = home
        self._commands = commands
        self._clients: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> ControlServer:
        """Raises:
        HomeError: the socket cannot be made.
        """
        try:
            self._home.control_socket.unlink(missing_ok=True)
            with self._home.control_address() as address:
                self._server = await asyncio.start_unix_server(self._serve, address, limit=REQUEST_BYTES)
            self._home.control_socket.chmod(0o600)
        except OSError as error:
            raise HomeError(
                f"{self._home.control_socket}: {error.strerror or error}: fix it, or give another --home"
            ) from None
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        clients = list(self._clients)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        self._home.control_socket.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs this in a task
        self._clients.add(task)
        try:
            # Cancelled by `__aexit__`, which awaits it; asyncio's streams would log a task that ends as cancelled.
            with suppress(ConnectionError, asyncio.CancelledError):
                await self._answer(reader, writer)
        finally:
            self._clients.remove(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if len(self._clients) > MAX_CLIENTS:
                raise BadCommand("this node has too many control connections: try again")
            request = await _request(reader)
            command = self._commands.get(request["command"])
            if command is None:
                raise BadCommand(f"this node has no command {request['command']!a}: is it another version?")
        except BadCommand as error:
            await _send(writer, {"error": str(error)})
            return
        async with asyncio.TaskGroup() as tasks:
            answer = tasks.create_task(_send_items(writer, command(request)))
            gone = tasks.create_task(_until_gone(reader))
            await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
            answer.cancel()
            gone.cancel()


_Argument: TypeAlias = str | int | float | bool | None
_encode_text: Final = Encoder().encode
_decode: Final = Decoder(dict[str, _Argument]).decode
"""A request has no nested values, so it cannot expand into many lists and objects."""
_UNREADABLE: Final = (MsgspecError, ValueError, RecursionError)


async def _request(reader: asyncio.StreamReader) -> dict[str, Any]:
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            line = await reader.readuntil(b"\n")
        request = _decode(line)
    except (*_UNREADABLE, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise BadCommand("a control request is one line of JSON: an object of plain values") from None
    if not isinstance(request.get("command"), str):
        raise BadCommand("a control request is a JSON object with a command")
    return request


async def _send_items(writer: asyncio.StreamWriter, items: AsyncIterator[Any]) -> None:
    with suppress(ConnectionError):
        try:
            async for item in items:
                await _send(writer, {"item": item})
            await _send(writer, {"end": None})
        except GuesthouseError as error:
            await _send(writer, {"error": str(error)})
        except Exception as fault:
            text = f"the node failed on this, a bug ({fault!r}): see its standard error"
            await _send(writer, {"error": text[:_LONGEST_ERROR]})
            told = {"message": "a command of the control socket failed", "exception": fault}
            asyncio.get_running_loop().call_exception_handler(told)


async def _until_gone(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        while await reader.read(_READ_BYTES):
            pass


def _encode(line: dict[str, Any]) -> bytes:
    try:
        return _encode_text(line)  # ten times as fast
    except UnicodeEncodeError:  # a name that is not UTF-8
        return json.dumps(line).encode()


async def _send(writer: asyncio.StreamWriter, line: dict[str, Any]) -> None:
    """Raises:
    ConnectionError: the client has left (a RuntimeError of uvloop's transports).
    """
    if writer.is_closing():
        raise ConnectionResetError
    writer.write(_encode(line) + b"\n")
    await writer.drain()
