"""A real HTTP server whose clients' sockets are held by real local gateways, in loops of the same OS process.

Scenarios of `tests/unit/http_server` run against it as they are.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.unit.http_server.conftest import (
    CHAT,
    OTHER,
    FakeLog,
    FakeProcess,
    FakeRouter,
    House,
    Start,
    _cheap_hashes,
    _no_proxy,
    directly,
    house,
    http_settings,
    limits,
    pytest_asyncio_loop_factories,
    server_settings,
)
from tests.unit.http_server.direct import answer_directly

from guesthouse.core.config import ConnectionLimits, HttpSettings
from guesthouse.http_server.server import HttpServer
from guesthouse.local_gateway.gateway_loop import GatewayLoop
from guesthouse.local_gateway.local_gateways import LocalGateway, LocalGateways

__all__ = [
    "_cheap_hashes",
    "_no_proxy",
    "directly",
    "house",
    "http_settings",
    "limits",
    "pytest_asyncio_loop_factories",
]


class NearGateways(LocalGateways):
    """Gateways in this OS process, so that a test need not wait for others to start."""

    async def _one_life(self, name: str, begun: asyncio.Future[None]) -> str:
        ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with theirs:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(GatewayLoop(theirs).run())
                gateway = LocalGateway(name, ours, os.getpid(), self._log)
                return await self._serve(gateway, begun) or "was closed"


def _check(log: FakeLog) -> None:
    """Gateways have nothing to complain of."""
    assert [line for line in log.lines if line[1] != "debug"] == []


@pytest.fixture
async def start(tmp_path: Path, directly: bool, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Starts servers that end with the test."""
    async with AsyncExitStack() as stack:

        async def start_one(
            limits: ConnectionLimits | None = None, http: HttpSettings | None = None
        ) -> House:
            settings = server_settings(limits, http, gateways=2)
            router, log = FakeRouter(), FakeLog()
            for process in (CHAT, OTHER):
                router.known[process] = FakeProcess(process)
            server = HttpServer(router, log, settings, tmp_path)
            gateways_log = FakeLog()
            server.front = gateways = await stack.enter_async_context(NearGateways(settings, gateways_log))
            stack.callback(_check, gateways_log)
            await gateways.begun()
            await stack.enter_async_context(server)
            if directly:
                answer_directly(server._app, monkeypatch)
            return House(server, router, log, tmp_path)

        yield start_one
