"""What a node tells monitoring: health, readiness, metrics, and the service manager."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import urllib.parse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as prometheus_text
from tests.certificates import TRUSTS_NOBODY
from tests.tiers import thorough_after

from .api import SERVED, api_url, service
from .clients import ECHO_C, bare, register_message, registered
from .conftest import StartNode
from .daemon import Daemon
from .debian_tools import found, free_port, needed
from .waiting import until

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy/monitoring"
OPEN_METRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
OF_OTHER_MEMBERS: Final = {"guesthouse_cluster_session_up", "guesthouse_cluster_heard_seconds_ago"}
"""Which a cluster of one node has not: see `tests/cluster/test_monitored.py`."""
MONITORED: Final[dict[str, object]] = {"monitoring_port": 0}


async def listener(daemon: Daemon) -> str:
    """Where a node is monitored."""
    line = await daemon.log_line("monitoring", "serves")
    text: str = line["text"]
    return text.removeprefix("serves ").removesuffix("/metrics")


async def founded(daemon: Daemon) -> None:
    """Make the node one of a cluster, whose NATS server does not run."""
    (made,) = await daemon.ask("cluster", action="init", nats="nats://127.0.0.1:1")
    assert made["nats"] == ["nats://127.0.0.1:1"]


async def metrics(url: str, accept: str = "") -> dict[tuple[str, str], float]:
    """Values by name and by the values of the labels, without the package of a process."""
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY, trust_env=False) as http:
        answer = await http.get(f"{url}/metrics", headers={"Accept": accept})
    assert answer.status_code == 200
    parse = open_metrics if "openmetrics" in answer.headers["content-type"] else prometheus_text
    return {
        (
            sample.name,
            ",".join(value for name, value in sample.labels.items() if name != "package"),
        ): sample.value
        for family in parse(answer.text)
        for sample in family.samples
    }


@pytest.mark.parametrize("accept", thorough_after(1, ["", OPEN_METRICS]), ids=["prometheus", "openmetrics"])
async def test_what_passes_through_a_node_is_counted(start: StartNode, accept: str) -> None:
    daemon = await start("echo-c", settings=MONITORED)
    url = await listener(daemon)
    token = await daemon.token()
    before = await metrics(url, accept)
    assert before["guesthouse_process_running", ECHO_C] == 1
    assert before["guesthouse_process_channels_opened_total", ECHO_C] == 0
    async with registered(daemon, ECHO_C, token) as left:
        await left.ask("one")
    async with registered(daemon, ECHO_C, token) as client:
        for text in ("two", "three"):
            await client.ask(text)

        async def seen() -> dict[tuple[str, str], float]:
            return await metrics(url, accept)

        now = await until(
            seen, lambda now: now["guesthouse_process_channels", ECHO_C] == 1, "one channel is closed"
        )
        used = "guesthouse_process_cpu_seconds_total", ECHO_C
        now = await until(seen, lambda now: now[used] > 0, "its worker reports what it uses")
    assert now["guesthouse_process_channels_opened_total", ECHO_C] == 2
    assert now["guesthouse_process_messages_received_total", ECHO_C] == 3
    assert now["guesthouse_process_messages_sent_total", ECHO_C] == 3
    assert now["guesthouse_process_channels_resumable", ECHO_C] == 0
    assert now["guesthouse_connections", ""] >= 1
    assert now["guesthouse_workers", ""] == 1
    assert now["guesthouse_worker_resident_memory_bytes", "worker-0"] > 1_000_000
    assert now["process_resident_memory_bytes", ""] > 1_000_000
    assert now["guesthouse_event_loop_lag_seconds_count", ""] >= 0
    await daemon.ask("restart", process=ECHO_C)
    now = await metrics(url, accept)
    assert now["guesthouse_process_restarts_total", ECHO_C] == 1
    assert now["guesthouse_runs_ended_total", "stopped"] == 1
    assert now["guesthouse_process_messages_sent_total", ECHO_C] == 3, "the process is the same"


async def test_refusals_are_counted_by_code_and_reason(start: StartNode) -> None:
    daemon = await start("echo-c", settings={**MONITORED, **SERVED, "connections_per_address": 64})
    url, token = await listener(daemon), await daemon.token()
    for given, process in (("no token", ECHO_C), (token, "no:such:process.os"), (token, "no process")):
        async with bare(daemon) as socket:
            await socket.send(register_message(given, process))
            await socket.wait_closed()
    async with bare(daemon) as socket:
        await socket.send("x" * 200_000)
        await socket.wait_closed()
    async with registered(daemon, ECHO_C, token) as client:
        await daemon.ask("revoke", token=token)
        await client.closed()
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY, base_url=daemon.url, trust_env=False) as http:
        assert (await http.get("/nothing:here:test.os/")).status_code == 404
        assert (await http.get("/", headers={"Host": "rebound.example"})).status_code == 421
        for page in ("text/html", "*/*"):
            answer = await http.post("/login", json={"password_hash": "wrong"}, headers={"Accept": page})
            assert answer.status_code == 401
        assert (await http.post("/token")).status_code == 401
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        assert (await http.get("/", headers=upgrade)).status_code == 400
        upgrade["Sec-WebSocket-Key"] = "AAAAAAAAAAAAAAAAAAAAAA=="
        assert (await http.get("/nothing:here:test.os/", headers=upgrade)).status_code == 404
        assert (await http.get("/x", headers={"X": "x" * 70_000})).status_code == 431
    async with service(await api_url(daemon)) as api:
        assert (await api.get("/node")).status_code == 401
    expected = {
        "websocket,4002,bad-token": 1,
        "websocket,4004,no-such-process": 1,
        "websocket,4003,bad-process-id": 1,
        "websocket,1009,register-too-big": 1,
        "websocket,1008,token-revoked": 1,
        "http,404,not-found": 2,
        "http,421,misdirected": 1,
        "http,401,login": 3,
        "http,400,bad-handshake": 1,
        "http,431,headers-too-big": 1,
        "api,401,no-key": 1,
    }

    async def refusals() -> dict[str, float]:
        found = (await metrics(url)).items()
        return {labels: value for (name, labels), value in found if "refusals" in name and value}

    await until(refusals, lambda found: found == expected, "all are counted")


async def test_the_documentation_names_each_metric_and_no_other(start: StartNode) -> None:
    more = {
        "tracing_endpoint": "http://127.0.0.1:9",
        "gateways": 1,
    }  # whose metrics are there with them alone
    daemon = await start("echo-c", settings=MONITORED | more)
    url = await listener(daemon)
    await founded(daemon)
    page = (ROOT / "docs/monitoring.md").read_text()
    table = page[page.index("## Metrics") : page.index("## Prometheus")]
    named = set(re.findall(r"`(guesthouse_[a-z_]+)", table))
    ours = {name for name, _ in await metrics(url) if name.startswith("guesthouse_")}
    ours |= OF_OTHER_MEMBERS
    assert {re.sub(r"(lag_seconds)_(bucket|count|sum)$", r"\1", name) for name in ours} == named
    used = set(re.findall(r"\bguesthouse_[a-z_]+", "".join(file.read_text() for file in DEPLOY.iterdir())))
    assert used <= ours


async def test_health_and_readiness_are_told_and_strangers_are_told_nothing(start: StartNode) -> None:
    daemon = await start("echo-c", settings=MONITORED)
    url = await listener(daemon)
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY, base_url=url) as http:
        assert (await http.get("/healthz")).text == "ok\n"
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"ready": True, "reasons": [], "failed": []})
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await http.get(path, headers={"Host": "rebound.example"})).status_code == 421
            assert (await http.post(path)).status_code == 405
            assert (await http.get(f"{daemon.url}{path}")).status_code == 404
        assert (await http.get("/")).status_code == 404


@pytest.mark.thorough
@pytest.mark.parametrize(
    "beginning", thorough_after(1, [b"", b"GET /healthz HTTP/1.1\r\nHost: lo"]), ids=["silent", "half a head"]
)
async def test_clients_that_ask_for_nothing_do_not_make_a_node_look_dead(
    start: StartNode, beginning: bytes
) -> None:
    daemon = await start("echo-c", settings=MONITORED | {"connections_handshake_seconds": 0.5})
    url = await listener(daemon)
    port = urllib.parse.urlsplit(url).port
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(64)]
    for _, writer in held:
        writer.write(beginning)

    async def healthy() -> bool:
        async with httpx.AsyncClient(verify=TRUSTS_NOBODY, trust_env=False) as http:
            try:
                return (await http.get(f"{url}/healthz")).status_code == 200
            except httpx.TransportError:  # refused, and others are refused already
                return False

    await until(healthy, bool, "the node answers")
    for _, writer in held:
        writer.close()


async def test_a_port_in_use_is_refused_by_the_settings_name(start: StartNode) -> None:
    daemon = await start("echo-c", settings=MONITORED)
    port = urllib.parse.urlsplit(await listener(daemon)).port
    with pytest.raises(Exception, match=r"choose another with monitoring\.port"):
        await start("echo-c", settings={"monitoring_port": port})


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


async def test_the_service_manager_is_told(start: StartNode, manager: socket.socket) -> None:
    variables = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "100000"}
    told: list[str] = []

    async def listen() -> None:  # all the time, as a manager does: few messages wait in its socket
        while True:
            told.append((await asyncio.get_running_loop().sock_recv(manager, 1024)).decode())

    async def states() -> list[str]:
        return told

    listening = asyncio.create_task(listen())
    try:
        daemon = await start("echo-c", variables=variables)
        await until(states, lambda told: "READY=1" in told, "it is ready")
        assert set(told) == {"READY=1", "WATCHDOG=1"}
        told.clear()
        await until(states, lambda told: "WATCHDOG=1" in told, "it is alive")
        os.kill(daemon.pid, signal.SIGTERM)
        await until(states, lambda told: "STOPPING=1" in told, "it stops")
        assert await daemon.ended() == 0  # a second signal amid its last steps would kill it
    finally:
        listening.cancel()


@pytest.mark.thorough
async def test_prometheus_takes_the_rules_scrapes_a_node_and_answers_the_dashboard(
    start: StartNode, tmp_path: Path
) -> None:
    prometheus, promtool = needed("prometheus"), found("promtool")
    daemon = await start("echo-c", settings=MONITORED, flags=("--gateways", "1"))
    await founded(daemon)
    target = urllib.parse.urlsplit(await listener(daemon)).netloc
    configuration = (DEPLOY / "prometheus.yml").read_text()
    (tmp_path / "prometheus.yml").write_text(
        configuration.replace("127.0.0.1:9464", target).replace("15s", "100ms")
    )
    shutil.copy(DEPLOY / "alerts.yml", tmp_path)
    if promtool is not None:  # Debian 13 has it in another package, and Prometheus itself checks, too
        checked = await asyncio.create_subprocess_exec(
            *(promtool, "check", "config", tmp_path / "prometheus.yml"), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await checked.communicate()
        assert checked.returncode == 0, output.decode()
    address = f"127.0.0.1:{free_port()}"
    server = await asyncio.create_subprocess_exec(
        *(prometheus, f"--config.file={tmp_path / 'prometheus.yml'}"),
        *(f"--storage.tsdb.path={tmp_path / 'data'}", f"--web.listen-address={address}", "--log.level=error"),
    )
    try:
        async with httpx.AsyncClient(verify=TRUSTS_NOBODY, base_url=f"http://{address}/api/v1") as http:

            async def asked(query: str) -> Any:
                try:
                    answer = await http.get("/query", params={"query": query})
                except httpx.TransportError:
                    return []
                if answer.status_code == 503:  # it starts
                    return []
                assert answer.json()["status"] == "success", (query, answer.text)
                return answer.json()["data"]["result"]

            for name in ('up{job="guesthouse"} == 1', "guesthouse_process_running == 1"):
                await until(partial(asked, name), bool, name)
            dashboard = json.loads((DEPLOY / "grafana.json").read_text())
            queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
            assert len(queries) > 10
            for query in queries:
                query = query.replace("$instance", ".*")
                await until(partial(asked, query), bool, query)
            (group,) = (await http.get("/rules")).json()["data"]["groups"]
            assert {rule["health"] for rule in group["rules"]} <= {"ok", "unknown"}
            assert len(group["rules"]) == 16
    finally:
        server.terminate()
        await server.wait()
