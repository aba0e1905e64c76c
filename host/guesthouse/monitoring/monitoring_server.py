"""Serves `/healthz`, `/readyz` and `/metrics` on a listener of its own, which is no part of what clients reach."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from guesthouse import __version__
from guesthouse.core.config import Settings
from guesthouse.core.ports import LogPort
from guesthouse.http_server import close_codes
from guesthouse.http_server.listening import MONITORING, Listeners
from guesthouse.http_server.refusals import refused
from guesthouse.http_server.routing.hosts import Hosts
from guesthouse.http_server.routing.origin import shown_address
from guesthouse.monitoring.exposition import Exposition
from guesthouse.monitoring.figures import MeasuredNode, measure, unready_reasons

_LAG_SECONDS: Final = 0.5
"""Between two looks at how late the loop is."""
_MOST_CONNECTIONS: Final = 64
_NO_STORE: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class MonitoringServer:
    """The listener. An async context manager.

    Args:
        node: whom it reports on.
        settings: the node's; `monitoring.port` is set, or a socket was passed.
        log: the node's log.
        listeners: the node's sockets.

    Raises:
        CannotListen: on entry.
    """

    def __init__(self, node: MeasuredNode, settings: Settings, log: LogPort, listeners: Listeners) -> None:
        self._node = node
        self._listeners = listeners
        self._host, self._port = settings.monitoring.host, settings.monitoring.port or 0
        self._hosts = Hosts((*settings.http.hosts, self._host), "shared")
        self._log = log
        self._tasks = asyncio.TaskGroup()
        self._rendering = asyncio.Lock()
        self._exposition = Exposition(__version__)
        self._routes = Router(
            [
                Route("/healthz", self._health),
                Route("/readyz", self._readiness),
                Route("/metrics", self._metrics),
            ],
            redirect_slashes=False,
        )
        context = node.http.side_context(_MOST_CONNECTIONS, "monitoring")
        self._server = node.http.side_server(context, self._app, tls=False)

    async def __aenter__(self) -> Self:
        """Listen."""
        listening = self._listeners.listen(
            MONITORING, self._host, self._port, ("monitoring.host", "monitoring.port")
        )
        host, port = listening.getsockname()[:2]
        await self._tasks.__aenter__()
        self._tasks.create_task(self._server.serve([listening]))
        await self._server.accepting.wait()
        self._looks = self._tasks.create_task(self._look_at_lag())
        self.url = f"http://{shown_address(host, port)}"
        self._log.write("monitoring", "info", f"serves {self.url}/metrics")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._looks.cancel()
        self._server.stop_accepting()
        self._server.ending.set()
        await self._tasks.__aexit__(kind, error, trace)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer those who know where they are: a page that resolves its own host to this one does not."""
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        known = self._hosts.site(hosts) is not None
        await (self._routes if known else refused(close_codes.MISDIRECTED))(scope, receive, send)

    async def _health(self, _: Request) -> Response:
        """The event loop runs: that is what the answer says."""
        return PlainTextResponse("ok\n", headers=_NO_STORE)

    async def _readiness(self, request: Request) -> Response:
        """Failed processes are told of. They make the node unready for those who ask for that alone: a guest must not
        take the others' clients away.
        """
        reasons, failed = list(unready_reasons(self._node)), self._node.failures()
        if "processes" in request.query_params:
            reasons += failed
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        return JSONResponse({"ready": not reasons, "reasons": reasons, "failed": failed}, status, _NO_STORE)

    async def _metrics(self, request: Request) -> Response:
        async with self._rendering:  # one at a time, whoever asks
            figures = await measure(self._node)
            text, content_type = await asyncio.to_thread(
                self._exposition.render, figures, request.headers.get("accept", "")
            )
        return Response(text, headers={"Content-Type": content_type, **_NO_STORE})

    async def _look_at_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_SECONDS
            await asyncio.sleep(_LAG_SECONDS)
            self._exposition.saw_lag(max(0.0, loop.time() - due))
