"""The node's HTTP server: binds the port, serves and shuts down."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlencode

from msgspec.structs import replace
from starlette.types import ASGIApp

from guesthouse.core.address import ForeignProcess, ProcessId, canonical
from guesthouse.core.config import Settings
from guesthouse.core.ports import LogPort, ProcessPort, RouterPort
from guesthouse.http_server.accepting_server import AcceptingServer
from guesthouse.http_server.auth import credentials
from guesthouse.http_server.close_codes import GOING_AWAY, RESTARTING
from guesthouse.http_server.context import Context
from guesthouse.http_server.deadlines import run_deadlines
from guesthouse.http_server.departures import Departures
from guesthouse.http_server.front import Front
from guesthouse.http_server.http.app import HttpApp
from guesthouse.http_server.http.direct_routes import DirectRoutes
from guesthouse.http_server.http.forwarding import Forwarding
from guesthouse.http_server.http.login.login import local_path
from guesthouse.http_server.http.node_api import NodeApi
from guesthouse.http_server.http.own_origin import OwnOrigin
from guesthouse.http_server.http.process_routes import ProcessPages
from guesthouse.http_server.http_connection import TakesOver
from guesthouse.http_server.listening import HTTP, Listeners
from guesthouse.http_server.routing.origin import shown_address
from guesthouse.http_server.server_config import server_config
from guesthouse.http_server.sessions.handed_channel import HandedChannel
from guesthouse.http_server.state.admission import Admission
from guesthouse.http_server.state.client_log import ClientFaultLog
from guesthouse.http_server.state.connection_limits import ConnectionAdmission
from guesthouse.http_server.state.descriptors import SPARE_OF_OTHERS
from guesthouse.http_server.state.pending_responses import PendingResponses
from guesthouse.http_server.state.relays import Relays
from guesthouse.http_server.token_actions import TokenActions
from guesthouse.http_server.websocket.connection import WebSocketConnection
from guesthouse.http_server.websocket.resumable.handed_channels import HandedChannels

CLOSE_SECONDS: Final = 2.0
"""Seconds that a shutdown waits for clients to answer their close frames."""


class HttpServer(TokenActions):
    """A node's HTTP server.

    ```
    async with HttpServer(router, log, settings, home) as server:
        print(server.url)
    ```

    It accepts connections inside the block. On exit it closes all channels with 1001, then all sockets. Cancelling
    the block closes the sockets at once.

    Args:
        router: finds the node's processes.
        log: the node's log.
        settings: `http` and `connections` are used.
        home: the node's folder, with its secrets and password.
        listeners: the node's sockets; by default it makes its own.
        wait: accept no connections before `accept`; they wait in the socket.

    Raises:
        CannotListen: on entry.
        CredentialsError: from the constructor: a secret cannot be read.
    """

    def __init__(
        self,
        router: RouterPort,
        log: LogPort,
        settings: Settings,
        home: Path,
        listeners: Listeners | None = None,
        *,
        wait: bool = False,
    ) -> None:
        super().__init__(router, log, settings, home)
        self.front: Front | None = None
        """What holds the clients' sockets, if not this; set before it is entered."""
        context, exchanges, bodies = self._context, self._exchanges, self._bodies
        own_origin, routes = OwnOrigin(context, self._login), DirectRoutes(context)
        pages = ProcessPages(context, self._login, Forwarding(context, exchanges, bodies), own_origin, routes)
        api = NodeApi(context, bodies, credentials.load_node_key(home))
        self._app = HttpApp(context, self._login, pages, api)
        self._stack = AsyncExitStack()
        self._wait = wait
        self._server: AcceptingServer | None = None
        self._sides: list[AcceptingServer] = []
        self._handed = HandedChannels(context)
        self._closed = False
        self._listeners = Listeners() if listeners is None else listeners
        self._host, self._port = settings.http.host, settings.http.port
        self._sweeper: asyncio.Task[None] | None = None
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Bind the port and start accepting."""
        http = self._context.settings.http
        listening = self._listeners.listen(HTTP, http.host, http.port)
        try:
            config = server_config(self._context.settings, self._app, WebSocketConnection)
            server = self._server = AcceptingServer(self._context, config, self.front)
        except BaseException:
            listening.close()
            raise
        host, self._port = listening.getsockname()[:2]
        if self._listeners.passed(HTTP):
            self._host = host
        tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._sweeper = tasks.create_task(run_deadlines(self._context))
        self._writer = tasks.create_task(self.pending_writes.keep_trying())
        if self._wait:
            server.may_accept.clear()
        tasks.create_task(server.serve([listening]))
        if not self._wait:
            await server.accepting.wait()
        return self

    async def accept(self) -> None:
        """Accept connections, if it has waited until now."""
        if self._server is not None:
            self._server.may_accept.set()
            await self._server.accepting.wait()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.close()
        finally:
            await self._stack.__aexit__(kind, error, trace)
            await self.pending_writes.finish()

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Stop accepting, close all channels with 1001, wait up to `seconds` for the clients' close frames, and close
        all sockets. Idempotent.
        """
        server, context = self._server, self._context
        if server is None or self._closed:
            return
        self._closed = context.stopping = True
        server.stop_accepting()
        self._exchanges.stop()
        for channel in context.sessions:
            channel.revoke(GOING_AWAY)
        for relayed in tuple(context.relayed):
            relayed.end(GOING_AWAY)
        for connection in tuple(context.connections):
            connection.end(GOING_AWAY)
        try:
            await self._wait_for_clients(seconds)
        finally:
            for connection in tuple(context.connections):
                connection.abort()
            server.ending.set()
            server.may_accept.set()
            for task in (self._sweeper, self._writer):
                if task is not None:
                    task.cancel()

    def join(self, connect: Callable[[Context, PendingResponses], tuple[RouterPort, Relays]]) -> None:
        """Find processes of other nodes, too, and let their nodes find those of this one.

        Args:
            connect: given this server's state, returns what finds processes from now on, and what relays channels.
        """
        context = self._context
        router, context.relays = connect(context, self._exchanges)
        context.router = router
        context.access = replace(context.access, router=router)

    def part(self, router: RouterPort) -> None:
        """Undo `join`: find this node's processes alone, by the router that was there before."""
        context = self._context
        context.router, context.relays = router, None
        context.access = replace(context.access, router=router)

    # The node's run before, and the next one.

    @property
    def handover_key(self) -> bytes:
        """What is handed over is encrypted with it: a key of this home, until all tokens are revoked."""
        return self._context.tokens.mac(b"handover", b"")

    def take_over(self, channels: Sequence[HandedChannel], away_seconds: float) -> None:
        """Go on with channels that the node's run before has left, and accept no connection before `accept`. To be
        called first.

        Raises:
            BadHandover: they cannot be so; none is taken.
        """
        self._handed.take(channels, away_seconds)

    def adopt(self, process: ProcessPort) -> None:
        """A process is there: the channels that were left for it are its own."""
        self._handed.adopt(process)

    def left_over(self) -> Sequence[tuple[ProcessId, int]]:
        """All processes are there: give up the channels of others. Returns how many of whom."""
        return list(self._handed.left())

    def let_go(self) -> None:
        """The node ends, and another run of it will go on with the resumable channels: stop accepting connections and
        reading. Sockets of sessions are closed without a close frame, the others with 1012.
        """
        server, context = self._server, self._context
        if server is None:
            return
        context.stopping = True
        server.stop_accepting()
        for channel in context.sessions:
            if isinstance(channel.owner, ForeignProcess):
                channel.revoke(RESTARTING)  # its home learns that this node is gone
            else:
                channel.let_go()
        for relayed in tuple(context.relayed):
            relayed.end(RESTARTING)
        for connection in tuple(context.connections):
            if connection.has_session:
                connection.let_go()
            else:
                connection.end(RESTARTING)

    def take_no_more(self) -> None:
        """Stop accepting connections, and reading from those that are open, while responses and pushes still go out."""
        if self._server is not None:
            self._context.stopping = True
            self._server.stop_accepting()
            for connection in tuple(self._context.connections):
                connection.pause_reading()

    def starts(self, starting: bool) -> None:
        """Whether the node is starting: clients of what is not there are asked to come again."""
        self._context.starts(starting)
        if not starting and self._context.relays is not None:
            self._context.relays.started()

    # Draining.

    def admit(self, admission: Admission) -> None:
        """Take this of new clients from now on."""
        self._context.admission = admission

    @property
    def channel_count(self) -> int:
        """Open channels."""
        return len(self._context.channels)

    def departures(self) -> Departures:
        """The clients there are now, to be told to go elsewhere."""
        return Departures(self._context)

    def requests_in_hand(self) -> Callable[[], bool]:
        """The HTTP requests that are being answered now, as a function that tells whether one of them still is."""
        return (lambda: False) if self._server is None else self._server.requests_in_hand()

    def hand_over(self) -> list[HandedChannel]:
        """The channels, after `let_go` and once no process runs."""
        return [channel.handed() for channel in self._context.sessions]

    def handover_bytes(self) -> int:
        """About what the channels take that `hand_over` returns."""
        return sum(channel.handed_bytes() for channel in self._context.sessions)

    async def _wait_for_clients(self, seconds: float) -> None:
        changed = asyncio.Event()
        self._context.disconnected = changed.set
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._context.connections:
                    changed.clear()
                    await changed.wait()

    def side_context(self, connections: int, source: str) -> Context:
        """State for a listener beside this one, with a limit on connections of its own. One address has three quarters
        of them at most, so that it does not keep others out.

        Args:
            connections: the limit.
            source: of the log lines about its clients.
        """
        exempt = self._context.connection_limits.exempt
        limits = ConnectionAdmission(connections, connections * 3 // 4, exempt, spare=SPARE_OF_OTHERS)
        faults = ClientFaultLog(self._context.log, source)
        return replace(self._context, connection_limits=limits, client_faults=faults)

    def side_server(
        self, context: Context, app: ASGIApp, *, tls: bool, websockets: TakesOver | None = None
    ) -> AcceptingServer:
        """A server for another socket, without channels, whose connections have the limits of this one's.

        Args:
            context: see `side_context`.
            app: what answers.
            tls: whether it has this server's certificate; without one, nothing is encrypted.
            websockets: what takes upgrades to WebSocket; by default nothing does.
        """
        config = server_config(context.settings, app, websockets or "none", tls=tls)
        server = AcceptingServer(context, config)
        self._sides.append(server)
        return server

    def reload(self, settings: Settings) -> None:
        """Apply settings and reload the certificate, for new connections.

        Raises:
            CannotListen: the certificate or its key cannot be loaded; nothing has changed.
        """
        tls = server_config(settings, self._app, WebSocketConnection).ssl
        if self._server is not None:
            self._server.set_tls(tls)
        self._context.apply(settings)
        for side in self._sides:
            side.apply(settings, tls)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def url(self) -> str:
        """The server's URL, such as `http://127.0.0.1:8080`."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104 - shown
        scheme = "https" if self._context.settings.http.tls_cert else "http"
        return f"{scheme}://{shown_address(host, self.port)}"

    def login_url(self, redirect: str = "/") -> str:
        """Issue a URL that logs in once, within 10 minutes, and redirects to the local path `redirect`."""
        token = self._login.one_time.issue(self._context.now())
        query = {"token": token} if redirect == "/" else {"token": token, "redirect": local_path(redirect)}
        return f"{self.url}/login?{urlencode(query, safe='/:')}"

    def serve_ui(self, process_id: ProcessId, folder: Path) -> None:
        """Serve the files of `folder` at `/<process-id>/` to logged-in users."""
        self._context.ui_folders[canonical(process_id)] = folder
        self._changed(process_id)

    def unserve_ui(self, process_id: ProcessId) -> None:
        """Stop serving a process's files."""
        self._context.ui_folders.pop(canonical(process_id), None)
        self._changed(process_id)
