"""The HTTP server as the node runs it: binds the port, serves, closes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast
from urllib.parse import urlencode

import uvicorn

from guesthouse.core.address import ProcessId, canonical
from guesthouse.core.config import ConnectionLimits, Settings
from guesthouse.core.ports import LogPort, RouterPort
from guesthouse.http_server.api.port import HttpServerActions
from guesthouse.http_server.auth import credentials
from guesthouse.http_server.auth.local_access import LocalAccess
from guesthouse.http_server.auth.revocations import RevocationList
from guesthouse.http_server.auth.tokens import Scope, Tokens
from guesthouse.http_server.close_codes import GOING_AWAY, TOKEN_REVOKED
from guesthouse.http_server.http.app import HttpApp
from guesthouse.http_server.http.login import Login, local_path
from guesthouse.http_server.http.node_api import NodeApi
from guesthouse.http_server.http.own_origin import OwnOrigin
from guesthouse.http_server.http.process_routes import ProcessPages
from guesthouse.http_server.http_connection import HttpConnection
from guesthouse.http_server.listener import Listener
from guesthouse.http_server.listening import BACKLOG, CannotListen, listen
from guesthouse.http_server.refusals import HSTS
from guesthouse.http_server.state.client_log import SOURCE
from guesthouse.http_server.state.context import Context, new_context
from guesthouse.http_server.state.pending_responses import BodyBudget, PendingResponses
from guesthouse.http_server.websocket.connection import WebSocketConnection

CLOSE_SECONDS: Final = 2.0
"""How long a shutdown waits for clients to answer their close frames."""

_ANSWER_SECONDS: Final = 1.0
_KEEP_ALIVE_SECONDS: Final = 5
_LOOKS_AT_ONCE: Final = 8
_LATE_SECONDS: Final = 1.0
_BODIES_AT_ONCE: Final = 16


class HttpServer(HttpServerActions):
    """A node's HTTP server.

    ```
    async with HttpServer(router, log, settings, home) as server:
        print(server.url)
    ```

    Inside the block it accepts connections; at its end all channels were closed with 1001 and all
    sockets are closed. Cancelling the block closes the sockets without the wait.

    Args:
        router: finds the processes of this node.
        log: where to write what a person should know.
        settings: the node's; `http` and `connections` are used.
        home: the node's folder, where the token secret and the password are.

    Raises:
        CannotListen: on entry.
        CredentialsError: from the constructor: the secret cannot be read.
    """

    def __init__(self, router: RouterPort, log: LogPort, settings: Settings, home: Path) -> None:
        revoked = self._revoked = RevocationList(home, time.time())
        self._login_key = credentials.LoginKey(home)
        tokens = Tokens(
            router.node,
            credentials.load_secret(home),
            revoked.__contains__,
            self._login_key,
            settings.http.renewable_seconds,
        )
        required = settings.http.local_access == "secret"
        local = LocalAccess(credentials.load_local_secret(home), required)
        context = new_context(router, log, settings, tokens, local)
        self._home = home
        exchanges = PendingResponses(context.router.forget)
        super().__init__(context, exchanges)
        bodies = BodyBudget(_BODIES_AT_ONCE * settings.connections.http_body_bytes)
        self._login = Login(context, home, bodies, revoked, self.family_revoked)
        pages = ProcessPages(context, exchanges, self._login, bodies, OwnOrigin(context, self._login))
        api = NodeApi(context, bodies, credentials.load_node_key(home))
        self._app = HttpApp(context, self._login, pages, api)
        self._stack = AsyncExitStack()
        self._server: _Server | None = None
        self._port = settings.http.port
        self._sweeper: asyncio.Task[None] | None = None

    # Life.

    async def __aenter__(self) -> Self:
        """Bind the port and start to accept."""
        listening = listen(self._context.settings)
        try:
            server = self._server = _Server(self._context, self._config(self._context.settings))
        except BaseException:
            listening.close()
            raise
        self._port = listening.getsockname()[1]
        tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._sweeper = tasks.create_task(self._sweep())
        tasks.create_task(server.serve([listening]))
        await server.accepting.wait()
        return self

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

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Accept nothing more, close every channel with 1001, wait up to `seconds` for the clients'
        answers, and close all sockets. May be called twice.
        """
        server, context = self._server, self._context
        if server is None or context.stopping:
            return
        context.stopping = True
        server.stop_accepting()
        self._exchanges.stop()
        for connection in tuple(context.connections):
            connection.end(GOING_AWAY)
        try:
            await self._wait_for_clients(seconds)
        finally:
            for connection in tuple(context.connections):
                connection.abort()
            server.ending.set()
            if self._sweeper is not None:
                self._sweeper.cancel()

    async def _wait_for_clients(self, seconds: float) -> None:
        changed = asyncio.Event()
        self._context.disconnected = changed.set
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._context.connections:
                    changed.clear()
                    await changed.wait()

    async def _sweep(self) -> None:
        context = self._context
        tick = _tick(context.settings.connections)
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + tick
            await asyncio.sleep(tick)
            if loop.time() - due > _LATE_SECONDS:
                await asyncio.sleep(tick)  # the node was stopped: what clients sent meanwhile is read first
            self._look()

    def _look(self) -> None:
        """Look at deadlines that have come; when there are many, the others wait for their turn."""
        context = self._context
        try:
            more = context.deadlines.run(context.monotonic(), _LOOKS_AT_ONCE)
        except Exception:
            context.log.write(SOURCE, "error", f"a deadline failed: {traceback.format_exc()}")
            return
        if more:
            context.turns.add(self._look)

    def _config(self, settings: Settings) -> uvicorn.Config:
        http = settings.http
        config = uvicorn.Config(
            cast(Any, self._app),
            http=HttpConnection,
            ws=WebSocketConnection,
            loop="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=_keep_alive(settings.connections),
            ssl_certfile=http.tls_cert,
            ssl_keyfile=http.tls_key,
            headers=[HSTS] if http.tls_cert else [],
        )
        if http.tls_key and not http.tls_cert:
            raise CannotListen(
                f"TLS with key {http.tls_key} and no certificate cannot be: give a PEM certificate as tls_cert"
            )
        try:
            config.load()
        except (OSError, ssl.SSLError, AssertionError, ValueError) as error:
            raise CannotListen(
                f"TLS with certificate {http.tls_cert} and {_key_in_words(http.tls_key)} failed ({error}): "
                "give a PEM certificate chain and its key"
            ) from None
        return config

    def reload(self, settings: Settings) -> None:
        """Go by these settings, and by the certificate as its files are now, for connections that come after this.

        Raises:
            CannotListen: the certificate or its key is of no use; nothing has changed.
        """
        tls = self._config(settings).ssl
        if self._server is not None:
            self._server.serve_by(tls)
        self._context.apply(settings)

    # Where it is.

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def url(self) -> str:
        """Its address for people, such as `http://127.0.0.1:8080`."""
        http = self._context.settings.http
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.host, http.host)  # noqa: S104 - shown
        scheme = "https" if http.tls_cert else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    # Who may come in.

    def login_url(self, redirect: str = "/") -> str:
        """A URL that logs in once, within 10 minutes, and goes to the local path `redirect`."""
        token = self._login.one_time.issue(self._context.now())
        query = {"token": token} if redirect == "/" else {"token": token, "redirect": local_path(redirect)}
        return f"{self.url}/login?{urlencode(query, safe='/:')}"

    def issue_token(self, ttl: float, scope: Scope | None = None) -> str:
        """An auth token that is valid for `ttl` seconds."""
        return self._context.tokens.issue(ttl, self._context.now(), scope or Scope())

    def revoke(self, token: str) -> bool:
        """Take a token back, and all of its family: they open nothing any more, and channels that were opened with
        them are closed with 1008. False when it is no token of this node. Durable once it returns.

        Raises:
            CredentialsError: it cannot be written down; the token is refused until the node ends.
        """
        known = self._context.tokens.revocable(token)
        if known is None:
            return False
        family, ends = known
        try:
            self._revoked.add(family, ends, self._context.now())
        finally:
            self.family_revoked(family)
        return True

    def revoke_all(self) -> None:
        """Take back every token that there is, and all that becomes one: one-time links, tickets, and what is made
        for requests that are under way. Durable once it returns.

        Raises:
            CredentialsError: it cannot be written down; nothing is revoked.
        """
        self._context.tokens.sign_with(credentials.replace_secret(self._home))
        self._login.forget_unused()
        self._end_channels(lambda connection: bool(connection.token_family))

    def password_changed(self) -> None:
        """End the logins by the password before: one-time links, tickets and channels. Their cookies are refused
        already.
        """
        self._login.forget_unused()
        key = self._login_key()
        self._end_channels(lambda connection: connection.token_login not in (None, key))

    def family_revoked(self, family: str) -> None:
        """Close the channels that were opened with tokens of a family."""
        self._end_channels(lambda connection: connection.token_family == family)

    def _end_channels(self, concerned: Callable[[WebSocketConnection], bool]) -> None:
        for connection in tuple(self._context.connections):
            if concerned(connection):
                connection.end(TOKEN_REVOKED)

    def serve_ui(self, process_id: ProcessId, folder: Path) -> None:
        """Serve the files of `folder` at `/<process-id>/` to people who are logged in."""
        self._context.ui_folders[canonical(process_id)] = folder

    def unserve_ui(self, process_id: ProcessId) -> None:
        """Stop serving them."""
        self._context.ui_folders.pop(canonical(process_id), None)


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals to the node, accepts by itself and says when it does."""

    def __init__(self, context: Context, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._context = context
        self._acceptor: Listener | None = None
        self.accepting = asyncio.Event()
        self.ending = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        assert sockets  # noqa: S101 - for the type checker: `HttpServer` gives its one
        context, limits = self._context, self._context.settings.connections
        self._acceptor = Listener(
            sockets[0],
            context.connection_limits,
            functools.partial(HttpConnection, context, self.config, self.server_state, {}),
            tls=self.config.ssl,
            tls_seconds=limits.handshake_seconds,
            log_fault=lambda fault: context.client_faults.log(SOURCE, fault, context.monotonic()),
        )
        self.started = True

    async def main_loop(self) -> None:
        """Accept, and renew the `Date` header each second, until `ending` is set."""
        assert self._acceptor is not None  # noqa: S101 - for the type checker: `startup` came before
        async with self._acceptor:
            self.accepting.set()
            while not self.ending.is_set():
                await self.on_tick(0)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.ending.wait(), 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let answers that are under way be sent, for a while, and close all sockets."""
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

    def serve_by(self, tls: ssl.SSLContext | None) -> None:
        """Use this for the handshakes of sockets that are accepted after this."""
        if self._acceptor is not None:
            self._acceptor.tls = tls

    def stop_accepting(self) -> None:
        if self._acceptor is not None:
            self._acceptor.stop()


def _key_in_words(tls_key: str | None) -> str:
    return "the key in the same file (no tls_key is given)" if tls_key is None else f"key {tls_key}"


def _keep_alive(limits: ConnectionLimits) -> int:
    """Seconds that a client may take from an answer to its next request: no more than for a request."""
    return max(1, min(_KEEP_ALIVE_SECONDS, int(limits.handshake_seconds)))


def _tick(limits: ConnectionLimits) -> float:
    """How often to look at the deadlines: a fourth of the shortest, within reason."""
    shortest = min(
        limits.handshake_seconds,
        limits.register_seconds,
        limits.ping_seconds,
        limits.pong_seconds,
        limits.close_seconds,
    )
    return min(0.5, max(0.01, shortest / 4))
