"""The command line: what it shows of a running node, and one clear line for whatever is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime
from tests.tiers import thorough_after

from guesthouse.control.control_client import CommandRefused

from .clients import ECHO, ECHO_C, ROGUE, registered
from .conftest import StartNode
from .daemon import LOG_LINE, Ran, environment, run_command
from .packages import package

CORE_MODULE = wasmtime.wat2wasm("(module)")
NO_EXPORT = wasmtime.wat2wasm("(component)")
HAMMER = wasmtime.wat2wasm('(component (import "acme:tools/hammer@1.0.0" (instance (export "hit" (func)))))')


def complaint(ran: Ran) -> str:
    """The one line with which a command failed."""
    assert ran.code == 1, ran
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""
    lines = [
        line
        for line in ran.stderr.splitlines()
        if line.startswith("guesthouse: ") or not LOG_LINE.match(line)
    ]
    assert len(lines) == 1, ran.stderr
    assert lines[0].startswith("guesthouse: ")
    return lines[0]


async def refused(home: Path, *packages: str | Path, flags: tuple[str, ...] = ("--port", "0")) -> str:
    """How `guesthouse run` refuses packages."""
    return complaint(await run_command(home, "run", "--home", home, *flags, *packages))


@pytest.mark.parametrize("command", thorough_after(1, ["run", "inspect"]))
@pytest.mark.parametrize(
    ("content", "says"),
    thorough_after(
        2,
        [
            (CORE_MODULE, "is a core module, not a component: build it with"),
            (b"Hello, I am a text.\n", "is text, not a component: build"),
            (b"", "is empty: build it again"),
            (bytes(range(200, 256)), "is not a WebAssembly component: name the .wasm"),
            (CORE_MODULE[:6], "is truncated: copy or build it again"),
            (NO_EXPORT[:4] + b"\x77\x00\x01\x00", "unknown version"),
            ("half of echo-c", "is truncated: copy or build it again"),
            (NO_EXPORT, "exports no guesthouse:process/guest@0.1.0"),
            ("one other import", "guesthouse:process/http-sorter@0.1.0"),
        ],
        names=2,
    ),
    ids=["core", "text", "empty", "bytes", "header", "version", "truncated", "no-export", "unknown-import"],
)
async def test_what_is_no_component_for_this_host_is_refused_by_name(
    new_home: Callable[[], Path], tmp_path: Path, command: str, content: bytes | str, says: str
) -> None:
    file = tmp_path / "guest.wasm"
    if isinstance(content, str):
        whole = (package("echo-c") / "build/echo-c.wasm").read_bytes()
        other = whole.replace(b"guesthouse:process/http-server@", b"guesthouse:process/http-sorter@")
        content = whole[: len(whole) // 2] if content.startswith("half") else other
    file.write_bytes(content)
    home = new_home()
    if command == "run":
        line = await refused(home, file)
    else:
        ran = await run_command(home, "inspect", file)
        line = complaint(Ran(ran.code, "", ran.stderr))
    assert says in line
    assert "guest" in line


async def test_a_port_in_use_is_refused_by_name(new_home: Callable[[], Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = await refused(new_home(), flags=("--port", str(port)))
    assert str(port) in line
    assert "in use" in line
    assert "--port" in line


@pytest.mark.parametrize(
    "argument",
    thorough_after(
        2, ["a b:c:d.os", "a:b", "a:b:c:d", ":b:c.os", "A:b:c.os\x1b[2J", "http-server:distro:sys"]
    ),
)
async def test_a_bad_process_id_is_refused_by_name(new_home: Callable[[], Path], argument: str) -> None:
    wasm = package("echo-c") / "build/echo-c.wasm"
    line = await refused(new_home(), f"{argument}={wasm}")
    assert argument.partition("\x1b")[0] in line
    assert "\x1b" not in line


async def test_a_home_that_cannot_be_used_is_refused_by_name(tmp_path: Path) -> None:
    beside = tmp_path / "node" / "x"
    beside.parent.mkdir()
    file = tmp_path / "file"
    file.write_text("not a folder")
    homes = [file, file / "below"]
    if os.geteuid() == 0:
        foreign = tmp_path / "foreign"
        foreign.mkdir()
        os.chown(foreign, 12345, 12345)
        homes.append(foreign)
    else:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o000)
        homes.append(closed / "home")
    for home in homes:
        line = complaint(await run_command(beside, "run", "--port", "0", "--home", home))
        assert str(home) in line
        assert "--home" in line


async def test_a_second_node_on_a_home_is_refused_and_the_first_goes_on(start: StartNode) -> None:
    daemon = await start("echo-c")
    line = await refused(daemon.home)
    assert str(daemon.home) in line
    assert f"pid {daemon.pid}" in line
    assert "--home" in line
    async with registered(daemon, ECHO_C, await daemon.token()) as client:
        assert await client.ask("still") == "still"


@pytest.mark.thorough
async def test_packages_that_are_not_there_or_not_built_are_refused_by_name(
    new_home: Callable[[], Path], tmp_path: Path
) -> None:
    missing = tmp_path / "missing"
    assert str(missing) in await refused(new_home(), missing)
    empty = tmp_path / "empty"
    empty.mkdir()
    line = await refused(new_home(), empty)
    assert str(empty) in line
    assert "package.toml" in line
    ignore = shutil.ignore_patterns("build")
    unbuilt = shutil.copytree(package("echo-c"), tmp_path / "unbuilt", ignore=ignore)
    line = await refused(new_home(), unbuilt)
    assert f"guesthouse build {unbuilt}" in line
    (unbuilt / "package.toml").write_text("[package\nname = ")
    assert "package.toml" in await refused(new_home(), unbuilt)
    archive = tmp_path / "package.zip"
    archive.write_bytes(b"PK\x03\x04 and no more")
    assert str(archive) in await refused(new_home(), archive)


async def test_two_processes_of_one_id_are_refused_by_name(new_home: Callable[[], Path]) -> None:
    line = await refused(new_home(), package("echo-c"), package("echo-c"))
    assert ECHO_C in line


async def test_wrong_usage_is_said_with_exit_code_2(new_home: Callable[[], Path]) -> None:
    home = new_home()
    for arguments in (
        ("run", "--port", "99999"),
        ("run", "--nope"),
        ("token", "--ttl", "0"),
        ("frobnicate",),
    ):
        ran = await run_command(home, *arguments)
        assert ran.code == 2
        assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("command", ["ps", "channels", "logs"])
async def test_without_a_node_a_command_says_how_to_start_one(
    new_home: Callable[[], Path], command: str
) -> None:
    home = new_home()
    line = complaint(await run_command(home, command, "--home", home))
    assert f"guesthouse run --home {home}" in line


async def test_ps_and_channels_show_what_runs_and_who_is_connected(start: StartNode) -> None:
    daemon = await start("echo", "echo-c", "rogue", workers=2)
    processes = await daemon.ps()
    assert {ECHO, ECHO_C, ROGUE} < set(processes)
    for item in processes.values():
        assert item["state"] == "running"
        assert item["worker"] in ("worker-0", "worker-1")
        assert (item["restarts"], item["channels"], item["mailbox_messages"]) == (0, 0, 0)
    assert {item["worker"] for item in processes.values()} == {"worker-0", "worker-1"}
    assert await daemon.channels() == []
    async with registered(daemon, ECHO, await daemon.token()) as client:
        for _ in range(3):
            await client.ask("hello")
        (channel,) = await daemon.channels()
        assert (channel["channel_id"], channel["process"]) == (client.channel_id, ECHO)
        assert (channel["messages_in"], channel["messages_out"]) == (3, 3)
        assert channel["client"].startswith("127.0.0.1:")
        assert (await daemon.ps())[ECHO]["channels"] == 1
        table = (await daemon.cli("channels")).stdout.splitlines()
        assert table[0].split()[:3] == ["CHANNEL", "PROCESS", "PATH"]
        assert table[1].split()[:2] == [str(client.channel_id), ECHO]
        table = (await daemon.cli("ps")).stdout.splitlines()
        assert [line.split()[0] for line in table] == ["PROCESS", *processes]
        in_json = (await daemon.cli("ps", "--json")).json()
        assert {item["process"]: item["channels"] for item in in_json} == {
            **dict.fromkeys(processes, 0),
            ECHO: 1,
        }
        assert [item["channel_id"] for item in (await daemon.cli("channels", "--json")).json()] == [
            client.channel_id
        ]


async def test_logs_goes_on_with_each_line_as_it_is_written(start: StartNode) -> None:
    daemon = await start("echo-c")
    follow = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "guesthouse", "logs", "--home", str(daemon.home), "--json", "-f"),
        stdout=PIPE,
        env=environment(daemon.home),
    )
    assert follow.stdout is not None
    try:
        async with asyncio.timeout(60):
            first = json.loads(await follow.stdout.readline())
            assert first == (await daemon.logs())[0]
            await daemon.ask("revoke", all=True)
            while json.loads(await follow.stdout.readline())["text"] != "all tokens were revoked":
                pass
    finally:
        follow.kill()
        await follow.communicate()


async def test_logs_shows_what_it_is_asked_for(start: StartNode) -> None:
    daemon = await start("echo-c")

    async def shown(*arguments: str) -> list[str]:
        return [
            line["source"]
            for line in map(json.loads, (await daemon.cli("logs", "--json", *arguments)).stdout.splitlines())
        ]

    assert {"node", ECHO_C} <= set(await shown())
    assert set(await shown(ECHO_C)) == set(await shown("echo-c:guesthouse.os", "--level", "info")) == {ECHO_C}
    assert await shown("--level", "error") == []
    assert set(await shown("--grep", "RUNS ON WORKER")) == {ECHO_C}
    assert await shown("--since", "1h") == await shown()
    assert await shown("--since", "2999-01-01T00:00") == []
    assert (await daemon.cli("logs", "--since", "yesterday")).code == 2
    with pytest.raises(CommandRefused, match="level"):
        await daemon.ask("logs", lines=1, level="loud")
    with pytest.raises(CommandRefused, match="since"):
        await daemon.ask("logs", lines=1, since="now")


async def test_inspect_tells_what_a_component_wants(new_home: Callable[[], Path]) -> None:
    home, wasm = new_home(), package("echo-c") / "build/echo-c.wasm"
    shown = (await run_command(home, "inspect", "--json", wasm)).json()
    assert (shown["file"], shown["runnable"], shown["problems"]) == (str(wasm), True, [])
    imports = {item["name"]: item["functions"] for item in shown["imports"]}
    assert "receive" in imports["guesthouse:process/messaging@0.1.0"]
    assert [item["name"] for item in shown["exports"]] == ["guesthouse:process/guest@0.1.0"]
    text = (await run_command(home, "inspect", wasm)).stdout
    assert "guesthouse:process/messaging@0.1.0" in text
    assert "can run it" in text


async def test_inspect_says_why_a_component_cannot_run_here(
    new_home: Callable[[], Path], tmp_path: Path
) -> None:
    file = tmp_path / "hammer.wasm"
    file.write_bytes(HAMMER)
    ran = await run_command(new_home(), "inspect", "--json", file)
    shown = json.loads(ran.stdout)
    assert (ran.code, shown["runnable"]) == (1, False)
    assert "imports hit of acme:tools/hammer@1.0.0" in shown["problems"][0]
    assert "exports no guesthouse:process/guest@0.1.0" in shown["problems"][1]


@pytest.mark.thorough
async def test_a_token_of_a_node_that_does_not_run_opens_a_channel_once_it_does(start: StartNode) -> None:
    daemon = await start("echo-c")
    assert await daemon.terminate() == 0
    token = (await daemon.cli("token")).stdout.strip()
    again = await start("echo-c", home=daemon.home)
    async with registered(again, ECHO_C, token) as client:
        assert await client.ask("hello") == "hello"


async def test_bare_components_and_archives_run_under_their_ids(start: StartNode, tmp_path: Path) -> None:
    folder = package("echo-c")
    bare = shutil.copy(folder / "build/echo-c.wasm", tmp_path / "plain.wasm")
    archive = tmp_path / "echo.zip"
    home = tmp_path / "builder" / "home"
    home.mkdir(parents=True)
    built = await run_command(home, "build", folder, "-o", archive)
    assert (built.code, built.stdout.strip()) == (0, str(archive))
    daemon = await start(archive, Path(bare), f"named:by:me.os={bare}")
    token = await daemon.token()
    for process in (ECHO_C, "plain:plain:local.os", "named:by:me.os"):
        async with registered(daemon, process, token) as client:
            assert await client.ask(process) == process
