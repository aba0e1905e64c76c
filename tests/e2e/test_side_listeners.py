"""The listeners of monitoring and of the HTTP API over restarts of the node, and opened by the service manager."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest
from tests.certificates import TRUSTS_NOBODY
from tests.patience import PATIENCE

from .api import SERVED, api_url, key, service
from .conftest import StartNode
from .restarting import restart
from .test_monitoring import MONITORED, listener
from .test_passed_sockets import as_passed, assert_has

ANYWHERE = ("127.0.0.1", 0)


def listening(pid: int, *urls: str) -> Iterator[str]:
    """The inodes of sockets that listen at these ports, of an OS process."""
    ports = {urlsplit(url).port for url in urls}
    with open(f"/proc/{pid}/net/tcp") as table:
        for line in table.readlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].partition(":")[2], 16) in ports:
                yield fields[9]


async def assert_serves(api: str, secret: str, monitoring: str) -> None:
    """Both listeners answer."""
    async with service(api, secret) as client:
        assert (await client.get("/node")).json()["ready"]
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY, base_url=monitoring, timeout=PATIENCE) as client:
        assert (await client.get("/readyz")).json()["ready"]
        assert (await client.get("/metrics")).status_code == 200


@pytest.mark.thorough
async def test_a_restart_keeps_both_sockets_so_no_connection_is_refused(start: StartNode) -> None:
    daemon = await start("echo-c", settings={**SERVED, **MONITORED})
    api, monitoring, secret = await api_url(daemon), await listener(daemon), await key(daemon, "read")
    sockets = sorted(listening(daemon.pid, api, monitoring))
    assert len(sockets) == 2
    await assert_serves(api, secret, monitoring)
    for _ in range(2):
        await restart(daemon)
        assert sorted(listening(daemon.pid, api, monitoring)) == sockets
        await assert_serves(api, secret, monitoring)


async def test_sockets_of_the_service_manager_are_served_without_settings_and_over_a_restart(
    start: StartNode,
) -> None:
    with ExitStack() as stack:
        http, api, monitoring = (stack.enter_context(socket.create_server(ANYWHERE)) for _ in range(3))
        early = stack.enter_context(socket.create_connection(api.getsockname(), PATIENCE))
        daemon = await start("echo-c", **as_passed(http=http, api=api, monitoring=monitoring))
        early.sendall(b"GET /api/v1/node HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        early.settimeout(PATIENCE)
        assert (await asyncio.to_thread(early.recv, 100)).startswith(b"HTTP/1.1 401 "), "it waited"
        secret = await key(daemon, "read")
        at = [f"http://127.0.0.1:{each.getsockname()[1]}" for each in (api, monitoring)]
        for restarts in (True, False):
            await assert_serves(f"{at[0]}/api/v1", secret, at[1])
            assert_has(daemon, http, api, monitoring)
            if restarts:
                await restart(daemon)


@pytest.mark.thorough
async def test_a_listener_that_is_turned_off_is_gone_after_a_restart(start: StartNode) -> None:
    daemon = await start("echo-c")
    settings = daemon.home / "guesthouse.toml"
    settings.write_text("[api]\nport = 0\n[monitoring]\nport = 0\n")
    await restart(daemon)
    api, monitoring = await api_url(daemon), await listener(daemon)
    await assert_serves(api, await key(daemon, "read"), monitoring)
    settings.unlink()
    await restart(daemon)
    for url in (api, monitoring):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), PATIENCE).close()
