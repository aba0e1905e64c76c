"""The dashboard of a node: who may open a socket, who is logged in, and links for logging in."""

from __future__ import annotations

import asyncio
import secrets
import time
from types import TracebackType
from typing import Any, Final, Self

from websockets.http11 import Request

from guesthouse.http_api.api_keys import ApiKey, ApiKeys, BadApiKey, KeysUnreadable, Role
from guesthouse.http_api.dashboard.actions import Actions
from guesthouse.http_api.dashboard.feed import Feed
from guesthouse.http_api.dashboard.login_links import LoginLinks
from guesthouse.http_api.dashboard.page_messages import PageRequest, ShownLogin
from guesthouse.http_api.dashboard.pages import SOCKET_PATH
from guesthouse.http_api.dashboard.socket import GOING_AWAY, DashboardSocket
from guesthouse.http_api.dashboard.watcher import Watcher
from guesthouse.http_api.key_check import KeyCheck
from guesthouse.http_api.operations import SOURCE, Operations
from guesthouse.http_api.problems import NO_KEY, STOPPING, ApiProblem
from guesthouse.http_api.rows import AdministeredNode
from guesthouse.http_server.auth.access import Peer
from guesthouse.http_server.context import Context
from guesthouse.http_server.routing.hosts import Hosts
from guesthouse.http_server.routing.origin import client_scheme, is_own_origin

MOST_PAGES: Final = 128
"""Half of the listener's connections: pages leave some to services."""
KEY_NAME: Final = "dashboard-"
"""How the names of keys begin that links give."""


class Dashboard:
    """Serves the pages that are open. An async context manager: leaving it closes them.

    Args:
        node: of which.
        operations: of the API.
        keys: of the node.
        check: finds keys.
        context: of the listener.
        hosts: names that the node answers for here.
    """

    def __init__(
        self,
        node: AdministeredNode,
        operations: Operations,
        keys: ApiKeys,
        check: KeyCheck,
        context: Context,
        hosts: Hosts,
    ) -> None:
        self.node = node
        self.login_seconds = context.settings.connections.handshake_seconds
        self.feed = Feed(node)
        self._keys = keys
        self._check = check
        self._context = context
        self._hosts = hosts
        self._tickets = LoginLinks()
        self._actions = Actions(node, operations, keys, self.feed)
        self._open: dict[DashboardSocket, tuple[Watcher, asyncio.Task[None]]] = {}
        self._tasks = asyncio.TaskGroup()
        keys.revoked = self._revoked

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._feeding = self._tasks.create_task(self.feed.run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._feeding.cancel()
        for socket, (_, task) in tuple(self._open.items()):
            socket.close(GOING_AWAY, "the node is shutting down")
            task.cancel()
        await self._tasks.__aexit__(kind, error, trace)

    def link(self, url: str, role: str, seconds: int) -> str:
        """A link that logs in once, within ten minutes. What comes after the `#` is not sent to servers.

        Raises:
            BadApiKey: there is no such role.
        """
        if role not in tuple(Role):
            raise BadApiKey(f"a role is one of {', '.join(Role)}")
        return f"{url}#{self._tickets.issue(Role(role), seconds, time.time())}"

    # See `socket.SocketOwner`.

    def connection(self, context: Context, peer: Peer, released: Any) -> DashboardSocket:
        """What takes over a connection."""
        return DashboardSocket(self, context.log, peer, released)

    def refusal(self, request: Request, peer: Peer) -> tuple[int, str] | None:
        """Status and text by which an upgrade is refused. Browsers say whose page opens a socket: only the dashboard's
        own may, and what says nothing is no browser.
        """
        headers = request.headers
        hosts, origins = headers.get_all("Host"), headers.get_all("Origin")
        site = self._hosts.site(hosts)
        if site is None or site.label:
            return 421, "the node does not answer for that host: name it in http.hosts\n"
        if request.path != SOCKET_PATH:
            return 404, "there is nothing at this path\n"
        forwarded = headers.get_all("X-Forwarded-Proto")
        scheme = client_scheme(peer.scheme, peer.address, forwarded, self._context.access.trusted_proxies)
        own = is_own_origin(origins, scheme=scheme, hosts=hosts, allowed=())
        sites = headers.get_all("Sec-Fetch-Site")
        if not origins or not own or any(said != "same-origin" for said in sites):
            return 403, "only the dashboard's own page may open this\n"
        if self.node.stopping:
            return 503, "the node is shutting down\n"
        if len(self._open) >= MOST_PAGES:
            return 503, "too many dashboards are open\n"
        return None

    def opened(self, socket: DashboardSocket, request: Request) -> None:
        """A page has opened a socket."""
        address = self._check.address(socket.peer.address, request.headers.get_all("X-Forwarded-For"))
        watcher = Watcher(self, socket, address)
        self._open[socket] = watcher, self._tasks.create_task(watcher.run())

    def lost(self, socket: DashboardSocket) -> None:
        """A socket is closed."""
        watcher, _ = self._open.pop(socket)
        self._actions.left(watcher)

    # See `watcher.Service`.

    def login(self, shown: ShownLogin, address: str) -> tuple[ApiKey, str | None]:
        """The key of a page. A link's ticket gives a new one."""
        if self.node.stopping:
            raise ApiProblem(STOPPING)
        if shown.key is not None:
            return self._check.key(shown.key, address), None
        now = self._context.now()
        ticket = self._tickets.use(shown.ticket or "", now)
        if ticket is None:
            self._check.refuse(address, "a link to the dashboard was refused")
        self._keys.forget_expired(KEY_NAME, now)
        name = KEY_NAME + secrets.token_hex(3)
        try:
            text, key = self._keys.create(name, ticket.role, now, seconds=ticket.seconds)
        except (BadApiKey, KeysUnreadable) as error:
            self.node.log.write(SOURCE, "error", f"a link to the dashboard gave no key: {error}")
            raise ApiProblem(NO_KEY) from None
        told = f"a link to the dashboard gave the key {name} ({key.id}) with the role {key.role}"
        self.node.log.write(SOURCE, "info", told)
        return key, text

    async def carry_out(self, watcher: Watcher, asked: PageRequest) -> Any:
        """Carry out a request of a page."""
        return await self._actions.carry_out(watcher, asked)

    def is_valid(self, key: str) -> bool:
        """Whether a key is still valid."""
        return self._keys.has(key, self._context.now())

    def _revoked(self, key: str) -> None:
        for watcher, _ in tuple(self._open.values()):
            if watcher.key_id == key:
                watcher.revoked()
