"""The API's listener, which is no part of what clients and pages of processes reach."""

from __future__ import annotations

import asyncio
import ipaddress
from types import TracebackType
from typing import Final, Self

from guesthouse.core.config import Settings
from guesthouse.core.ports import LogPort
from guesthouse.http_api.api_keys import ApiKeys
from guesthouse.http_api.dashboard.dashboard import Dashboard
from guesthouse.http_api.dashboard.pages import PREFIX, pages
from guesthouse.http_api.door import NO_PAGES, Door
from guesthouse.http_api.key_check import KeyCheck
from guesthouse.http_api.operations import SOURCE, Operations
from guesthouse.http_api.rows import AdministeredNode
from guesthouse.http_server.listening import API, CannotListen, Listeners
from guesthouse.http_server.routing.hosts import Hosts
from guesthouse.http_server.routing.origin import shown_address

MOST_CONNECTIONS: Final = 256


class ApiServer:
    """The listener. An async context manager.

    Args:
        node: what it is the API of.
        settings: the node's; `api.port` is set, or a socket was passed.
        keys: of the node.
        log: the node's log.
        listeners: the node's sockets.

    Raises:
        CannotListen: on entry.
    """

    def __init__(
        self,
        node: AdministeredNode,
        settings: Settings,
        keys: ApiKeys,
        log: LogPort,
        listeners: Listeners,
    ) -> None:
        self._listeners = listeners
        self._settings = settings
        self._log = log
        api = settings.api
        context = node.http.side_context(MOST_CONNECTIONS, SOURCE)
        hosts = Hosts((*settings.http.hosts, api.host), "shared")
        self._operations = Operations(node)
        check = KeyCheck(keys, context)
        self._dashboard: Dashboard | None = None
        if api.dashboard:
            self._dashboard = Dashboard(node, self._operations, keys, check, context, hosts)
        door = Door(
            *(self._operations, check, context, hosts, lambda: node.stopping),
            NO_PAGES if self._dashboard is None else pages(),
        )
        takes_over = None if self._dashboard is None else self._dashboard.connection
        self._server = node.http.side_server(context, door, tls=api.tls, websockets=takes_over)
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        """Listen."""
        api = self._settings.api
        if api.tls and self._settings.http.tls_cert is None:
            raise CannotListen("api.tls is set, but http.tls_cert is not: set it to a PEM certificate chain")
        listening = self._listeners.listen(API, api.host, api.port or 0, ("api.host", "api.port"))
        host, port = listening.getsockname()[:2]
        await self._tasks.__aenter__()
        if self._dashboard is not None:
            await self._dashboard.__aenter__()
        self._tasks.create_task(self._server.serve([listening]))
        await self._server.accepting.wait()
        scheme = "https" if api.tls else "http"
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - shown
        self.url = f"{scheme}://{shown_address(shown, port)}"
        self._log.write(SOURCE, "info", f"serves {self.url}/api/v1")
        if self._dashboard is not None:
            self._log.write(SOURCE, "info", f"shows the dashboard at {self.url}{PREFIX}")
        if not api.tls and not ipaddress.ip_address(host).is_loopback:
            text = "API keys come in clear text from other machines: set api.tls, or put a proxy with TLS in front"
            self._log.write(SOURCE, "warning", text)
        return self

    def dashboard_link(self, role: str, seconds: int) -> str | None:
        """A link to the dashboard that logs in once; None if it is off.

        Raises:
            BadApiKey: there is no such role.
        """
        if self._dashboard is None:
            return None
        return self._dashboard.link(self.url + PREFIX, role, seconds)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop_accepting()
        try:
            if self._dashboard is not None:
                await self._dashboard.__aexit__(None, None, None)
        finally:
            self._server.ending.set()
        try:
            await self._tasks.__aexit__(kind, error, trace)
        finally:
            self._operations.close()
