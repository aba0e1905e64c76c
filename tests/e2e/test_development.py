"""`--dev`: apps in Python run from their sources. An edit is answered while the channels stay open."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.tiers import thorough_after

from .clients import Client, registered
from .conftest import StartNode
from .daemon import Daemon
from .waiting import until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

APP = "edited:edited:test.os"
_MANIFEST = """\
[package]
name = "edited"
publisher = "test.os"
version = "0.1.0"

[[process]]
name = "edited"
wasm = "build/edited.wasm"
on-exit = "restart"

[process.build]
language = "python"
source = "src/app.py"
"""
_APP = """\
import tomllib
from pathlib import Path

import other.words
from guesthouse_sdk import Process, get_state, set_state

DATA = tomllib.loads(Path(__file__).with_name("data.toml").read_text())


class App(Process):
    def __init__(self):
        self.count = 0

    def on_start(self):
        if other.words.WORD == "no start":
            raise RuntimeError("it does not start")

    def on_resume(self, channel):
        channel.send("resumed")

    def on_message(self, channel, message):
        self.count += 1
        if message == "late":
            import csv
        if message == "fail":
            raise ValueError("on purpose")
        channel.send(f"{other.words.WORD} {DATA['data']} {self.count}")


main = App
"""

Write = Callable[[str, str], None]
"""Writes a file of the package."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("development") / "edited"


@pytest.fixture
def write(folder: Path) -> Write:
    def write(name: str, text: str) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    return write


@pytest.fixture
def node(
    shared: StartNode, folder: Path, write: Write, development: dict[str, str]
) -> Callable[[], Awaitable[Daemon]]:
    """Starts the node, once for all tests, each of which leaves the package as it is here."""
    write("package.toml", _MANIFEST)
    write("src/app.py", _APP)
    write("src/data.toml", 'data = "data"\n')
    write("src/other/words.py", 'WORD = "first"\n')
    return lambda: shared(folder, flags=("--dev",), variables=development)


async def resumed(client: Client) -> None:
    assert await client.receive() == "resumed"


async def test_an_edit_of_any_file_is_answered_while_the_channel_stays_open(
    node: Callable[[], Awaitable[Daemon]], write: Write
) -> None:
    daemon = await node()
    async with registered(daemon, APP, await daemon.token()) as client:
        assert await client.ask("a") == "first data 1"
        write("src/other/words.py", 'WORD = "second"\n')
        await resumed(client)
        assert await client.ask("a") == "second data 1"
        write("src/data.toml", 'data = "others"\n')
        await resumed(client)
        assert await client.ask("a") == "second others 1"
        restarted = await daemon.cli("restart", APP)
        assert restarted.code == 0, restarted.stderr
        await resumed(client)
        assert await client.ask("a") == "second others 1", "it is given the same again"
        write("src/other/words.py", 'WORD = "first"\n')
        await resumed(client)
        write("src/data.toml", 'data = "data"\n')
        await resumed(client)


@pytest.mark.parametrize(
    ("broken", "told"),
    thorough_after(
        1,
        [
            (
                "WORD = 'x'\ndef broken(:\n",
                r"src/other/words\.py:2:12: error: SyntaxError: invalid syntax \(",
            ),
            (
                "WORD = nothing\n",
                r"src/other/words\.py:1: error: NameError: name 'nothing' is not defined \(",
            ),
            (
                "import no_such_module\n",
                r"src/other/words\.py:1: error: ModuleNotFoundError: No module named",
            ),
            (
                "from guesthouse_sdk import get_state\nget_state()\n",
                r"src/other/words\.py:2: error: app\.py calls get-state while it is imported: call the host only",
            ),
            ("import sys\nsys.exit(3)\n", r"src/other/words\.py:2: error: SystemExit: 3 \("),
        ],
        names=2,
    ),
)
async def test_what_cannot_be_loaded_is_told_once_file_and_line_first_and_the_old_version_goes_on(
    node: Callable[[], Awaitable[Daemon]], write: Write, folder: Path, broken: str, told: str
) -> None:
    daemon = await node()

    async def errors() -> list[str]:
        lines = (line["text"] for line in await daemon.logs() if line["source"] == "dev")
        return [text for text in lines if re.match(f"{re.escape(str(folder))}/{told}", text)]

    async with registered(daemon, APP, await daemon.token()) as client:
        assert await client.ask("a") == "first data 1"
        write("src/other/words.py", broken)
        (first,) = await until(errors, bool, "the error")
        assert first.splitlines()[0].endswith("(the old version keeps running)")
        (folder / "src/other/words.py").touch()
        assert await client.ask("a") == "first data 2", "it has not even been restarted"
        write("src/other/words.py", 'WORD = "fixed"\n')
        await resumed(client)
        assert await client.ask("a") == "fixed data 1"
        write("src/other/words.py", 'WORD = "first"\n')
        await resumed(client)
    assert await errors() == [first]


@pytest.mark.thorough
async def test_a_version_that_does_not_start_is_followed_by_the_one_before(
    node: Callable[[], Awaitable[Daemon]], write: Write
) -> None:
    daemon = await node()
    async with registered(daemon, APP, await daemon.token()) as client:
        assert await client.ask("a") == "first data 1"
        write("src/other/words.py", 'WORD = "no start"\n')
        await resumed(client)
        assert await client.ask("a") == "first data 1"
        await daemon.log_line(APP, "RuntimeError: it does not start")
        write("src/other/words.py", 'WORD = "first"\n')
        await resumed(client)
        assert await client.ask("a") == "first data 1"


@pytest.mark.thorough
async def test_errors_and_late_imports_are_as_in_a_component_that_was_built(
    node: Callable[[], Awaitable[Daemon]],
) -> None:
    daemon = await node()
    async with registered(daemon, APP, await daemon.token()) as client:
        await client.send("late")
        await client.send("fail")
        assert str(await client.ask("a")).startswith("first data ")
    number = _APP.splitlines().index('            raise ValueError("on purpose")') + 1
    line = await daemon.log_line(APP, "ValueError: on purpose")
    assert (
        f'  File "app.py", line {number}, in on_message\n    raise ValueError("on purpose")' in line["text"]
    )
    await daemon.log_line(APP, "ModuleNotFoundError: No module named 'csv'")
    assert "development:distro:sys" in (await daemon.cli("explain", APP)).stdout
