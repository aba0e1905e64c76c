"""WebSocket clients: `websockets` for what people do, and one that shows every frame."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import pytest
from tests.patience import PATIENCE
from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from .daemon import Daemon

SECONDS = PATIENCE

ECHO = "echo:echo:guesthouse.os"
ECHO_C = "echo-c:echo-c:guesthouse.os"
CHAT = "chat:chat:guesthouse.os"
COUNTER = "counter:counter:guesthouse.os"
SEED_CHAT = "seed-chat:seed-chat:guesthouse.os"
ROGUE = "rogue:rogue:test.os"
MAYFLY = "mayfly:rogue:test.os"
SPINNER = "spinner:spinner:test.os"
RECORDER = "recorder:recorder:test.os"
PAGES = "pages:pages:test.os"


def register_message(token: str, process: str, **more: object) -> str:
    """The first message of a client on `/`."""
    return json.dumps({"auth_token": token, "target_process": process, "encrypted": False, **more})


@dataclass(frozen=True, slots=True)
class Client:
    """An open channel as its client has it."""

    socket: ClientConnection
    channel_id: int

    async def send(self, message: str | bytes) -> None:
        """Send a text or binary message."""
        async with asyncio.timeout(SECONDS):
            await self.socket.send(message)

    async def receive(self) -> str | bytes:
        """The next message."""
        async with asyncio.timeout(SECONDS):
            return await self.socket.recv()

    async def json(self) -> Any:
        """The next message, read as JSON."""
        return json.loads(await self.receive())

    async def ask(self, message: str | bytes) -> str | bytes:
        """Send a message and return the next one that comes."""
        await self.send(message)
        return await self.receive()

    async def closed(self) -> tuple[int, str]:
        """Read to the end; how the node closed the channel."""
        return await close_of(self.socket)


@asynccontextmanager
async def bare(
    daemon: Daemon, path: str = "/", *, compression: str | None = "deflate", **headers: str
) -> AsyncIterator[ClientConnection]:
    """A WebSocket, with nothing sent on it."""
    async with connect(
        daemon.ws_url + path,
        additional_headers=headers,
        compression=compression,
        proxy=None,
        ping_interval=None,
        open_timeout=SECONDS,
        max_size=2**24,
        close_timeout=SECONDS,
    ) as socket:
        yield socket


@asynccontextmanager
async def registered(
    daemon: Daemon, process: str, token: str, *, binary: bool = False, compression: str | None = "deflate"
) -> AsyncIterator[Client]:
    """A channel opened by the register form."""
    async with bare(daemon, compression=compression) as socket:
        message = register_message(token, process)
        await socket.send(message.encode() if binary else message)
        async with asyncio.timeout(SECONDS):
            answer = json.loads(await socket.recv())
        assert set(answer) == {"channel_id"}, answer
        yield Client(socket, answer["channel_id"])


@asynccontextmanager
async def bound(
    daemon: Daemon,
    process: str,
    path: str,
    token: str | None = None,
    *,
    compression: str | None = "deflate",
    **headers: str,
) -> AsyncIterator[Client]:
    """A channel opened on a path that the process bound, with a cookie when a token is given."""
    if token is not None:
        headers["Cookie"] = f"{daemon.cookie_name}={token}"
    async with bare(daemon, f"/{process}{path}", compression=compression, **headers) as socket:
        yield Client(socket, 0)


async def close_of(socket: ClientConnection) -> tuple[int, str]:
    """Read to the end; the code and reason with which the node closed."""
    with pytest.raises(ConnectionClosed) as closed:
        await asyncio.wait_for(_read_all(socket), SECONDS)
    close = closed.value.rcvd
    assert close is not None, "the connection ended without a close frame"
    return close.code, close.reason


async def _read_all(socket: ClientConnection) -> None:
    while True:
        await socket.recv()


class FrameClient:
    """A client that shows every frame. Pings are answered by the protocol, as RFC 6455 asks."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._protocol = ClientProtocol(parse_uri(daemon.ws_url + "/"), max_size=2**24)
        self._frames: list[Frame] = []

    async def __aenter__(self) -> Self:
        host, port = self._daemon.ws_url.removeprefix("ws://").split(":")
        self._reader, self._writer = await asyncio.open_connection(host, int(port))
        self._protocol.send_request(self._protocol.connect())
        await self._flush()
        while not any(isinstance(event, Response) for event in await self._read()):
            pass
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def register(self, process: str, token: str) -> int:
        """Open a channel; returns its id."""
        await self.send(Opcode.TEXT, register_message(token, process).encode())
        frame = await self.next()
        channel_id = json.loads(bytes(frame.data))["channel_id"]
        assert isinstance(channel_id, int)
        return channel_id

    async def send(self, opcode: Opcode, payload: bytes) -> None:
        """Send a frame."""
        protocol = self._protocol
        match opcode:
            case Opcode.TEXT:
                protocol.send_text(payload)
            case Opcode.BINARY:
                protocol.send_binary(payload)
            case Opcode.PING:
                protocol.send_ping(payload)
            case Opcode.PONG:
                protocol.send_pong(payload)
            case _:
                close = Close.parse(payload)
                protocol.send_close(close.code, close.reason)
        await self._flush()

    async def next(self) -> Frame:
        """The next frame of the node."""
        while not self._frames:
            self._frames += [event for event in await self._read() if isinstance(event, Frame)]
        return self._frames.pop(0)

    async def _read(self) -> list[object]:
        async with asyncio.timeout(SECONDS):
            data = await self._reader.read(65536)
        assert data, "the node closed the connection"
        self._protocol.receive_data(data)
        events: list[object] = list(self._protocol.events_received())
        await self._flush()
        return events

    async def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._writer.write(data)
        await self._writer.drain()
