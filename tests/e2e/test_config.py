"""`guesthouse config`, of nodes that run and of those that do not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

from .conftest import StartNode
from .daemon import run_command
from .packages import package


async def test_a_running_node_says_what_it_goes_by_and_why(start: StartNode) -> None:
    node = await start(package("puppet"), settings={"process_kv_bytes": 1234567})
    items = {item["setting"]: item for item in (await node.cli("config", "--json")).json()}
    assert items["http.port"] == {"setting": "http.port", "value": 0, "source": "flag", "place": "--port"}
    kv = items["process.kv_bytes"]
    assert (kv["value"], kv["place"]) == (1234567, "GUESTHOUSE_PROCESS_KV_BYTES")
    assert items["http.host"]["source"] == "default"
    file = node.home / "guesthouse.toml"
    await asyncio.to_thread(file.write_text, "most_workers = 3\n[process]\ncpu_share = 0.5\n")
    os.kill(node.pid, signal.SIGHUP)
    await node.log_line("node", "reloaded")
    items = {item["setting"]: item for item in (await node.cli("config", "--json")).json()}
    share, most = items["process.cpu_share"], items["most_workers"]
    assert (share["value"], share["place"], "next" in share) == (0.5, str(file), False)
    assert (most["value"], most["next"]) == (64, 3)
    assert "has 3 now: not taken up" in (await node.cli("config")).stdout


async def test_without_a_node_it_says_what_the_next_one_goes_by(tmp_path: Path) -> None:
    home = tmp_path / "home"
    await asyncio.to_thread(home.mkdir, 0o700)
    await asyncio.to_thread((home / "guesthouse.toml").write_text, 'node = "mine.os"\n')
    items = {
        item["setting"]: item for item in (await run_command(home, "config", "--home", home, "--json")).json()
    }
    assert (items["node"]["value"], items["node"]["source"]) == ("mine.os", "file")
    assert json.loads((await run_command(home, "config", "schema")).stdout)["properties"]["node"]["default"]


async def test_check_names_each_fault_and_ends_with_1(tmp_path: Path) -> None:
    home = tmp_path / "home"
    await asyncio.to_thread(home.mkdir, 0o700)
    assert (await run_command(home, "config", "--home", home, "check")).code == 0
    await asyncio.to_thread((home / "guesthouse.toml").write_text, "a = 1\n[http]\nport = -1\n")
    ran = await run_command(home, "config", "--home", home, "check")
    assert (ran.code, len(ran.stderr.splitlines())) == (1, 2)
    same = "[http]\nhost = '0.0.0.0'\nport = 9001\n[api]\nport = 9001\n[monitoring]\nport = 9002\n"
    await asyncio.to_thread((home / "guesthouse.toml").write_text, same)
    for file in ((), (home / "guesthouse.toml",)):
        ran = await run_command(home, "config", "--home", home, "check", *file)
        assert (ran.code, len(ran.stderr.splitlines())) == (1, 1)
        assert "http.port and api.port are both 9001" in ran.stderr
    wrong = {"http_prot": 1}
    await asyncio.to_thread((home / "guesthouse.toml").unlink)
    ran = await run_command(home, "config", "--home", home, "check", "--json", settings=wrong)
    assert ran.code == 1
    assert "GUESTHOUSE_HTTP_PROT" in json.loads(ran.stdout)["faults"][0]
    assert (await run_command(home, "config", "show", "file")).code == 2
