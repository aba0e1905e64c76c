"""Two real HTTP servers: clients are at one, the processes that they open channels to at the other.

`house` is both as if they were one server, so that scenarios of `tests/unit/http_server` run against processes of
another node as they are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from tests.peers_pair import PairedPeers, Web
from tests.unit.http_server.conftest import (
    CHAT,
    NODE,
    OTHER,
    FakeLog,
    FakeProcess,
    FakeRouter,
    House,
    Start,
    _cheap_hashes,
    _no_proxy,
    directly,
    http_settings,
    limits,
    pytest_asyncio_loop_factories,
    server_settings,
)

from guesthouse.cluster.gateway.gateways import Gateways
from guesthouse.core.config import ConnectionLimits, HttpSettings
from guesthouse.http_server.api.port import HttpServerActions
from guesthouse.http_server.server import HttpServer

__all__ = [
    "_cheap_hashes",
    "_no_proxy",
    "directly",
    "http_settings",
    "limits",
    "pytest_asyncio_loop_factories",
]

HOME, GATEWAY = "home.os", "gateway.os"
"""What they are to each other. In the scenarios, each has the name that the one server has."""


@dataclass
class Side:
    """One node of the pair."""

    server: HttpServer
    router: FakeRouter
    log: FakeLog
    peers: PairedPeers
    gateways: Gateways
    home: Path

    def announce_now(self) -> None:
        """Tell the other node what has changed in this iteration of the loop."""
        self.gateways._announce()
        for peer in self.gateways._peers.values():
            peer.link.flush()
        for node in self.peers.nodes():
            self.peers.web.nodes[node].take(self.peers.name)


class BothServers:
    """Both servers as one: what processes ask for goes to the home, and all else to the gateway."""

    def __init__(self, gateway: Side, home: Side) -> None:
        self._gateway, self._home = gateway.server, home.server
        self._announcing = home

    def __getattr__(self, name: str) -> Any:
        of_processes = {*vars(HttpServerActions), "serve_ui", "unserve_ui"}
        of_listeners = {"connections", "refusals", "sessions_given_up", "ended_sessions", "away_bytes"}
        at_home = name in of_processes and name not in of_listeners
        found = getattr(self._home if at_home else self._gateway, name)
        return (
            self._announced(found) if name.startswith(("bind_", "unbind_", "serve_ui", "request")) else found
        )

    def _announced(self, bind: Callable[..., Any]) -> Callable[..., Any]:
        """A call that binds, after which the gateway knows at once."""

        def bind_and_announce(*arguments: Any, **named: Any) -> Any:
            result = bind(*arguments, **named)
            self._announcing.announce_now()
            return result

        return bind_and_announce


@dataclass
class Pair(House):
    """A gateway and a home, as one server and everything around it."""

    web: Web
    gateway_side: Side
    home_side: Side


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts pairs of servers that end with the test."""
    async with AsyncExitStack() as stack:

        async def side(
            name: str,
            web: Web,
            log: FakeLog,
            limits: ConnectionLimits | None,
            http: HttpSettings | None,
            node: str,
        ) -> Side:
            settings = server_settings(limits, http, node=node)
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            router, peers = FakeRouter(node=node), web.node(name)
            server = await stack.enter_async_context(HttpServer(router, log, settings, folder))
            return Side(server, router, log, peers, Gateways(server, peers, log), folder)

        async def start_one(
            limits: ConnectionLimits | None = None,
            http: HttpSettings | None = None,
            *,
            name_apart: bool = False,
        ) -> Pair:
            web, log = Web(), FakeLog()
            home = await side(HOME, web, log, limits, http, HOME if name_apart else NODE)
            gateway = await side(GATEWAY, web, log, limits, http, NODE)
            for process in (CHAT, OTHER):
                home.router.known[process] = FakeProcess(process)
            web.up()
            both = cast(HttpServer, BothServers(gateway, home))
            return Pair(both, home.router, gateway.log, gateway.home, web, gateway, home)

        yield start_one


@pytest.fixture
async def house(start: Start, limits: ConnectionLimits, http_settings: HttpSettings) -> AsyncIterator[Pair]:
    """One pair, none of which must have failed on its own by the end of the test."""
    running: Pair = await start(limits, http_settings)
    yield running
    assert running.log.errors == []
    assert [line for line in running.log.lines if line[0] == "gateway"] == [], "one complains about the other"
