"""A bare server on `websockets` and uvloop. `/` echoes; a message to `/trigger` goes to all on `/`. With the files of
a certificate and its key it speaks TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

MOST = 17 * 1024 * 1024
"""Bytes of a message."""


class Server:
    """What the connections share."""

    def __init__(self) -> None:
        self._everyone: set[ServerConnection] = set()

    async def handle(self, connection: ServerConnection) -> None:
        """Serve one connection."""
        request = connection.request
        with contextlib.suppress(ConnectionClosed):
            if request is not None and request.path == "/trigger":
                async for message in connection:
                    broadcast(self._everyone, message)
                return
            self._everyone.add(connection)
            try:
                async for message in connection:
                    await connection.send(message)
            finally:
                self._everyone.discard(connection)


async def main(port: int, files: list[str]) -> None:
    """Serve until killed."""
    tls = None
    if files:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*files)
    async with serve(Server().handle, "127.0.0.1", port, ssl=tls, max_size=MOST, backlog=1024) as server:
        print(f"ready {server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2:]))
