"""Connections whose client's socket is held by a subprocess in front of the server, which does TLS and compression.

To the server such a connection is a socket as any other. Its first byte says whether the subprocess compresses what is
sent to the client; what follows is from the client.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final, Protocol, cast

from guesthouse.http_server.behind import Behind
from guesthouse.http_server.http_connection import HttpConnection

_COMPRESSES: Final = {0: False, 1: True}


class Front(Protocol):
    """What holds clients' sockets."""

    def take(self, accepted: socket.socket, *, secure: bool) -> tuple[socket.socket, Behind] | None:
        """Give it a socket.

        Args:
            accepted: the client's. It is closed here if it is taken.
            secure: whether the client speaks TLS.

        Returns:
            The socket to serve instead, and how the client is behind it; None if it is not taken.
        """


class FrontedSocket(asyncio.Protocol):
    """Reads the first byte.

    Args:
        connection: has the rest.
        behind: says who is at the other end.
    """

    def __init__(self, connection: HttpConnection, behind: Behind) -> None:
        self._connection = connection
        self._behind = behind
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there; the client may still be in its TLS handshake."""
        self._transport = cast(asyncio.Transport, transport)
        self._connection.connection_made(self._transport)

    def data_received(self, data: bytes) -> None:
        """The subprocess knows what the connection is."""
        transport, connection = self._transport, self._connection
        compresses = _COMPRESSES.get(data[0])
        if transport is None or compresses is None:
            if transport is not None:
                transport.abort()
            return
        self._behind.compresses = compresses
        transport.set_protocol(connection)
        if len(data) > 1:
            connection.data_received(data[1:])

    def eof_received(self) -> None:
        """The client has left."""
        self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        """See `HttpConnection`."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """See `HttpConnection`."""
        self._connection.resume_writing()
