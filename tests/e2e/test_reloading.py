"""SIGHUP: a node takes up certificates, settings and the log's file again, and its channels stay open."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import ssl
import sys
from pathlib import Path

import httpx
import pytest
from tests.certificates import self_signed
from tests.patience import PATIENCE
from websockets.asyncio.client import connect

from guesthouse.node.reload import RELOADED

from .clients import ECHO_C, Client, close_of, register_message, registered
from .conftest import StartNode
from .daemon import NODE, Daemon, environment
from .waiting import until

ROOT = Path(__file__).parents[2]


async def served(daemon: Daemon) -> str:
    """The certificate that a client is shown now."""
    port = int(daemon.url.rpartition(":")[2])
    return await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))


def hang_up(daemon: Daemon) -> None:
    os.kill(daemon.pid, signal.SIGHUP)


async def test_a_renewed_certificate_is_served_without_a_restart(start: StartNode, tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    daemon = await start("echo-c", flags=["--tls-cert", str(cert), "--tls-key", str(key)])
    first = cert.read_text()
    trust = ssl.create_default_context(cafile=cert)
    async with connect(daemon.ws_url, ssl=trust, proxy=None) as socket:
        await socket.send(register_message(await daemon.token(), ECHO_C))
        client = Client(socket, json.loads(await socket.recv())["channel_id"])
        assert await served(daemon) == first
        self_signed(tmp_path)
        second = cert.read_text()
        hang_up(daemon)
        await daemon.log_line("node", "reloaded", "no setting has changed")
        assert await served(daemon) == second != first
        assert await client.ask("a channel from before") == "a channel from before"

        cert.write_text("no certificate")
        hang_up(daemon)
        await daemon.log_line("node", "nothing is reloaded", "give a PEM certificate chain and its key")
        assert await served(daemon) == second
        assert await client.ask("still there") == "still there"


async def test_the_names_of_a_renewed_certificate_and_of_the_settings_are_the_nodes(
    start: StartNode, tmp_path: Path
) -> None:
    cert, key = self_signed(tmp_path)
    daemon = await start("echo-c", flags=["--tls-cert", str(cert), "--tls-key", str(key)])
    names = ("renewed.example", "named.example", "x-y.renewed.example")

    async def statuses() -> list[int]:
        trust = ssl.create_default_context(cafile=cert)
        async with httpx.AsyncClient(verify=trust, trust_env=False, timeout=PATIENCE) as client:
            return [
                (await client.get(f"{daemon.url}/login", headers={"Host": name})).status_code
                for name in names
            ]

    assert await statuses() == [421, 421, 421]
    self_signed(tmp_path, "renewed.example")
    (daemon.home / "guesthouse.toml").write_text('[http]\nhosts = ["named.example"]\n')
    hang_up(daemon)
    await daemon.log_line("node", "reloaded", "http.hosts")
    assert await statuses() == [200, 200, 403]


async def test_settings_that_can_be_are_taken_up_and_others_are_named(start: StartNode) -> None:
    daemon = await start("echo-c")
    async with registered(daemon, ECHO_C, await daemon.token()) as client:
        settings = daemon.home / "guesthouse.toml"
        settings.write_text("[process]\nmemory_bytes = 33554432\n[connections]\ntotal = 77\n")
        hang_up(daemon)
        await daemon.log_line("node", "reloaded", "process.memory_bytes")
        await daemon.log_line("node", "take effect at the next start of the node: connections.total")
        await daemon.ask("restart", process=ECHO_C)
        (process,) = (await daemon.ps()).values()
        assert process["limits"]["memory_bytes"] == 33554432
        settings.write_text("[process]\nmemory_bytes = 'much'\n")
        hang_up(daemon)

        async def refused() -> bool:  # commands read the same file, and refuse it too
            return "nothing is reloaded" in daemon.stderr()

        await until(refused, bool, "the node says that it does not reload")
        assert "process.memory_bytes must be a whole number" in daemon.stderr()
        assert await client.ask("still there") == "still there"


async def test_the_log_goes_on_in_a_new_file_when_it_was_moved(start: StartNode) -> None:
    daemon = await start("echo-c")
    current, moved = daemon.home / "logs/node.jsonl", daemon.home / "logs/moved.jsonl"
    current.rename(moved)
    hang_up(daemon)
    await daemon.log_line("node", "reloaded")
    assert await daemon.terminate() == 0
    assert "reloaded" in current.read_text()
    assert "stops" in current.read_text()
    assert "reloaded" not in moved.read_text()


@pytest.mark.thorough
async def test_a_node_whose_terminal_is_closed_stops_as_it_does_otherwise(
    start: StartNode, tmp_path: Path
) -> None:
    """Each client is told 1001."""
    ours, theirs = pty.openpty()
    home = tmp_path / "home"
    command = ["setsid", "--ctty", sys.executable, "-m", "guesthouse", "run", "--home", str(home)]
    command += ["--node", NODE, "--port", "0", "--workers", "1", str(ROOT / "sample_processes/echo-c")]
    node = await asyncio.create_subprocess_exec(
        *command, stdin=theirs, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env=environment(home), cwd=tmp_path,
    )  # fmt: skip
    os.close(theirs)
    try:
        assert node.stdout is not None
        line = (await asyncio.wait_for(node.stdout.readline(), 120)).decode()
        found = re.match(r"ready http://127\.0\.0\.1:(\d+) ", line)
        assert found is not None
        async with connect(f"ws://127.0.0.1:{found[1]}", proxy=None) as socket:
            os.close(ours)
            code, _ = await close_of(socket)
            assert code == 1001
        assert await asyncio.wait_for(node.wait(), PATIENCE) == 0
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()


def test_the_page_lists_the_settings_that_are_reloaded() -> None:
    section = (ROOT / "docs/cli.md").read_text().split("### Reloading", 1)[1].split("\n## ", 1)[0]
    rows = "\n".join(line.rpartition(" | ")[0] for line in section.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`([\w.]+)`", rows)) == RELOADED
