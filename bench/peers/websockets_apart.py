"""A bare server on `websockets` and uvloop that echoes by way of a second process, which sends back what it reads: what
two processes cost without a sandbox, limits or checks.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from struct import Struct
from typing import Final, cast

import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

MOST: Final = 17 * 1024 * 1024
"""Bytes of a message."""
_READ: Final = 256 * 1024
_HEAD: Final = Struct("<II")
"""Number of the connection, and bytes of the message."""


class Server(asyncio.Protocol):
    """What the connections share: the link to the second process."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._read = bytearray()
        self._link: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The link is open."""
        self._link = cast(asyncio.Transport, transport)  # uvloop's is of no such class

    def data_received(self, data: bytes) -> None:
        """Give each connection what came back for it."""
        self._read += data
        read, at = self._read, 0
        while len(read) - at >= _HEAD.size:
            number, size = _HEAD.unpack_from(read, at)
            end = at + _HEAD.size + size
            if end > len(read):
                break
            waiting = self._waiting.pop(number)
            if not waiting.done():
                waiting.set_result(bytes(read[at + _HEAD.size : end]))
            at = end
        del read[:at]

    async def handle(self, connection: ServerConnection) -> None:
        """Serve one connection."""
        number, loop = id(connection) & 0xFFFF_FFFF, asyncio.get_running_loop()
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                text = isinstance(message, str)
                data = message.encode() if isinstance(message, str) else message
                waiting = self._waiting[number] = loop.create_future()
                self._link.write(_HEAD.pack(number, len(data)) + data)
                await connection.send(await waiting, text=text)


def send_back(link: socket.socket) -> None:
    """The second process."""
    while data := link.recv(_READ):
        link.sendall(data)


async def main(port: int, link: socket.socket) -> None:
    """Serve until killed."""
    server = Server()
    await asyncio.get_running_loop().create_unix_connection(lambda: server, sock=link)
    async with serve(server.handle, "127.0.0.1", port, max_size=MOST, backlog=1024) as listening:
        print(f"ready {listening.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    ours, theirs = socket.socketpair()
    if os.fork():
        theirs.close()
        uvloop.run(main(int(sys.argv[1]), ours))
    else:
        ours.close()
        send_back(theirs)
