"""uvicorn's server with a listener that applies the node's limits on connections."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import Callable
from typing import Final, cast

from uvicorn.config import Config

from guesthouse.core.config import Settings
from guesthouse.http_server.context import Context
from guesthouse.http_server.front import Front
from guesthouse.http_server.http_connection import HttpConnection
from guesthouse.http_server.listener import Listener
from guesthouse.http_server.state.client_log import SOURCE
from guesthouse.http_server.uvicorn_server import PartServer

_ANSWER_SECONDS: Final = 1.0


class AcceptingServer(PartServer):
    """The server with our own listener. Sets `accepting` when ready.

    Args:
        context: the server's state.
        config: uvicorn's.
        front: what holds the clients' sockets, if not this.
    """

    def __init__(self, context: Context, config: Config, front: Front | None = None) -> None:
        super().__init__(config)
        self._context = context
        self._front = front
        self._listener: Listener | None = None
        self.accepting = asyncio.Event()
        self.may_accept = asyncio.Event()
        """Whether it accepts connections, which wait in the socket before. Set it to end the server, too."""
        self.may_accept.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Make the listener."""
        assert sockets  # noqa: S101 - for the type checker: who serves passes one
        context, limits = self._context, self._context.settings.connections
        self._listener = Listener(
            sockets[0],
            context.connection_limits,
            functools.partial(HttpConnection, context, self.config, self.server_state, {}),
            tls=self.config.ssl,
            tls_seconds=limits.handshake_seconds,
            log_fault=lambda fault: context.client_faults.log(SOURCE, fault, context.monotonic()),
            front=self._front,
        )
        self.started = True

    async def main_loop(self) -> None:
        """Accept until `ending` is set."""
        assert self._listener is not None  # noqa: S101 - for the type checker: set by `startup`
        await self.may_accept.wait()
        async with self._listener:
            self.accepting.set()
            await super().main_loop()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait briefly for pending responses, then close all sockets."""
        self.stop_accepting()
        for listening in sockets or []:
            listening.close()
        state = self.server_state
        for connection in tuple(state.connections):
            connection.shutdown()
        if state.tasks:
            _, late = await asyncio.wait(state.tasks, timeout=_ANSWER_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for connection in tuple(state.connections):
            cast(HttpConnection, connection).transport.abort()

    def requests_in_hand(self) -> Callable[[], bool]:
        """The requests that are being answered now, as a function that tells whether one of them still is."""
        tasks = tuple(self.server_state.tasks)
        connections = cast(set[HttpConnection], self.server_state.connections)
        direct = [request for each in connections if (request := each.answers_directly) is not None]
        return lambda: (
            not (all(task.done() for task in tasks) and all(request.response_complete for request in direct))
        )

    def apply(self, settings: Settings, tls: ssl.SSLContext | None) -> None:
        """Apply reloaded settings; the certificate, where there is one."""
        self._context.apply(settings)
        if self._listener is not None and self._listener.tls is not None:
            self._listener.tls = tls

    def set_tls(self, tls: ssl.SSLContext | None) -> None:
        """Replace the TLS context for new connections."""
        if self._listener is not None:
            self._listener.tls = tls

    def stop_accepting(self) -> None:
        """Accept no further connections."""
        if self._listener is not None:
            self._listener.stop()
