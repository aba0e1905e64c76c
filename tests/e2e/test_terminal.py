"""Commands on a terminal: `top`, completion, colours, progress."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.tiers import thorough_after

from .conftest import StartNode
from .daemon import environment, run_command
from .packages import package
from .test_processes import A, C, tell

_BROKEN = """\
[package]
name = "broken"
publisher = "test.os"
version = "0.1.0"

[[process]]
name = "broken"
wasm = "build/broken.wasm"

[process.build]
language = "c"
source = "src/broken.c"
"""


def on_terminal(
    home: Path, *arguments: str | Path, keys: bytes = b"", until: bytes = b"", **variables: str
) -> tuple[int, bytes]:
    """Run a command whose streams are a terminal, press keys once it has shown something. Returns its exit code and
    what it showed.
    """
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "guesthouse", *map(str, arguments)]
    env = {**environment(home), "TERM": "xterm-256color", "COLUMNS": "160", "LINES": "40", **variables}
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=home.parent
    ) as ran:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while data := os.read(ours, 65536):
                shown += data
                if keys and until in shown:
                    os.write(ours, keys)
                    keys = b""
        code = ran.wait()
    os.close(ours)
    return code, shown


async def test_top_once_is_a_table_and_json_for_scripts(start: StartNode) -> None:
    node = await start(package("puppet"))
    await tell(node, C, "trap")
    ran = await node.cli("top", "--once", "--interval", "0.2")
    assert (ran.code, ran.stdout.splitlines()[0].split()[:3]) == (0, ["PROCESS", "STATE", "CPU"])
    ran = await node.cli("top", "--json", "--interval", "0.2", "--sort", "process")
    items = ran.json()
    assert [item["process"] for item in items] == sorted(await node.ps())
    assert {"cpu", "messages_per_second", "memory_bytes", "channels"} <= set(items[0])


async def test_top_is_live_on_a_terminal_and_ends_with_q(start: StartNode) -> None:
    node = await start(package("puppet"))
    code, shown = await asyncio.to_thread(
        on_terminal, node.home, "top", "--home", node.home, keys=b"q", until=A.encode()
    )
    assert code == 0
    assert b"3 processes" in shown
    assert b"\x1b[?1049l" in shown, "the screen is given back"


@pytest.mark.thorough
async def test_colours_are_for_terminals_that_want_them(start: StartNode) -> None:
    node = await start(package("puppet"))
    _, coloured = await asyncio.to_thread(on_terminal, node.home, "doctor", "--home", node.home)
    _, plain = await asyncio.to_thread(on_terminal, node.home, "doctor", "--home", node.home, NO_COLOR="1")
    assert b"\x1b[32mok" in coloured
    assert b"\x1b[" not in plain
    assert "\x1b" not in (await node.cli("doctor")).stdout


async def test_errors_of_a_build_have_their_places_in_colours_on_a_terminal(tmp_path: Path) -> None:
    folder = tmp_path / "package"
    (folder / "src").mkdir(parents=True)
    (folder / "package.toml").write_text(_BROKEN)
    (folder / "src/broken.c").write_text("int broken = none;\n")
    arguments = (tmp_path / "home", "build", folder)
    code, shown = await asyncio.to_thread(on_terminal, *arguments)
    assert code == 1
    assert b"src/broken.c:1:14: \x1b[1;31merror\x1b[0m: use of undeclared identifier" in shown
    _, plain = await asyncio.to_thread(on_terminal, *arguments, NO_COLOR="1")
    assert b"src/broken.c:1:14: error: use of undeclared identifier" in plain


async def test_what_takes_long_is_shown_on_a_terminal_alone(start: StartNode, tmp_path: Path) -> None:
    node = await start(package("puppet"))
    _, shown = await asyncio.to_thread(
        on_terminal, node.home, "install", "--home", node.home, "--yes", package("echo-c")
    )
    assert b"checking and compiling" in shown
    ran = await node.cli("install", package("echo-c"), "--yes")
    assert "checking and compiling" not in ran.stderr


@pytest.mark.parametrize(
    "words", thorough_after(1, [["res"], ["restart", "a:pup"], ["logs", "--lev"], ["uninstall", "pup"]])
)
async def test_bash_completes_commands_options_processes_and_packages(
    start: StartNode, words: list[str], tmp_path: Path
) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    node = await start()
    await node.install(package("puppet"), yes=True)
    script = (await run_command(node.home, "completion", "bash")).stdout
    line = ["guesthouse", *words]
    asked = f"{script}\nCOMP_WORDS=({' '.join(line)}); COMP_CWORD={len(line) - 1}\n"
    asked += "_guesthouse_completion guesthouse\nprintf '%s\\n' \"${COMPREPLY[@]}\""
    env = {**environment(node.home), "GUESTHOUSE_HOME": str(node.home)}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    ran = await asyncio.to_thread(
        subprocess.run, [bash, "-c", asked], capture_output=True, text=True, env=env, check=False
    )
    found = ran.stdout.split()
    expected = {
        "res": {"restart", "restart-node", "restore"},
        "a:pup": {A},
        "--lev": {"--level"},
        "pup": {"puppet:test.os"},
    }
    assert set(found) == expected[words[-1]], ran.stderr


async def test_completing_without_a_node_is_quiet(tmp_path: Path) -> None:
    variables = {
        "_GUESTHOUSE_COMPLETE": "bash_complete",
        "COMP_WORDS": "guesthouse restart ",
        "COMP_CWORD": "2",
    }
    env = {**environment(tmp_path / "home"), **variables}
    command = [sys.executable, "-m", "guesthouse"]
    ran = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, env=env, check=False
    )
    assert (ran.stdout.strip(), ran.stderr) == ("", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_a_script_of_a_shell_is_one(tmp_path: Path, shell: str) -> None:
    script = (await run_command(tmp_path / "home", "completion", shell)).stdout
    assert "_GUESTHOUSE_COMPLETE" in script
    program = shutil.which(shell)
    if program is not None:
        checked = await asyncio.to_thread(
            subprocess.run, [program, "-n"], input=script, text=True, check=False
        )
        assert checked.returncode == 0
