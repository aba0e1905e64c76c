"""Processes in Rust, built by `guesthouse build` with the SDK, behind real WebSockets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import httpx
import pytest
from tests.resume_client import ResumableClient
from tests.rust import needs_cargo

from guesthouse.package.build.build_package import build_package
from guesthouse.package.build.rust import SDK_LINK
from guesthouse.package.build.scaffold import scaffold

from .clients import bound, registered
from .conftest import StartNode
from .packages import ROOT

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(600)]

APP: Final = "app:app:test.os"
_PACKAGE: Final = ROOT / "tests/unit/guest_sdk_rust/app"
_QUICK: Final = {"restart_first_delay": 0}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of what the unit tests run in the fake host."""
    needs_cargo()
    return build_package(_PACKAGE)


def line_of(text: str) -> int:
    lines = (_PACKAGE / "src/lib.rs").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


async def test_a_process_in_rust_does_what_it_does_in_the_fake_host(start: StartNode, app: Path) -> None:
    daemon = await start(app)
    token = await daemon.token()
    async with registered(daemon, APP, token) as client, registered(daemon, APP, token) as other:
        assert await client.ask("héllo ✓") == "héllo ✓"
        assert await client.ask(bytes(range(256))) == bytes(range(256))
        assert await client.ask("x" * 100_000) == "x" * 100_000
        assert await client.ask('{"type": "say", "text": "hello", "loud": true}') == "HELLO"
        refused = json.loads(await client.ask('{"type": "say"}'))
        assert refused == {"type": "error", "error": "missing field `text`"}
        keys = [[107, 101, 121], [255, 0]]
        assert json.loads(await client.ask("kv")) == [{"a": [1, "é"]}, None, [1], keys, True]
        entries = [["a", True], ["e.txt", False], ["f", True]]
        assert json.loads(await client.ask("vfs")) == ["one two", 7, False, entries, [True] * 4]
        assert json.loads(await client.ask("password")) == [True, False]
        assert json.loads(await client.ask("bell")) == {"bell": True, "pending": False}
        assert json.loads(await client.ask("claims")) is None
        await client.send("alarm")
        assert [await client.receive(), await other.receive()] == ["timer alarm"] * 2
        assert abs(int(await client.ask("clock")) - (await daemon.logs())[0]["time"]) < 3600
        assert await client.ask("broadcast") == "to all"
        assert [await client.receive(), await client.receive()] == [b"\x01\xff", "by path"]
        assert [await other.receive(), await other.receive()] == ["to all", b"\x01\xff"]
        for body, answer in (
            ({"a": 1}, {"body": {"a": 1}}),
            ("refuse", {"error": "not today"}),
            ("fail", {"error": "the process failed to answer"}),
            ("later", {"body": "late"}),
        ):
            asked = json.dumps({"request": 7, "body": body}, separators=(",", ":"))
            assert json.loads(await client.ask(asked)) == {"response": 7, **answer}
        assert "does not run" in str(await client.ask("ask"))
        assert await client.ask("spawn") == "child:app:test.os"
        rights = json.loads(await client.ask("rights"))
        assert any(
            right.startswith('"messaging" of ') and right.endswith("@kv:distro:sys") for right in rights
        )


async def test_state_and_channels_outlive_a_restart(start: StartNode, app: Path) -> None:
    daemon = await start(app)
    async with registered(daemon, APP, await daemon.token()) as client:
        assert json.loads(await client.ask("state")) == {"kept": 1}
        assert (await daemon.cli("restart", APP)).code == 0
        assert await client.receive() == "resumed"
        assert json.loads(await client.ask("state")) == {"kept": 2}
        assert json.loads(await client.ask("kept")) == [2, 0]


async def test_what_a_handler_returns_and_the_log_have_the_lines_of_the_source(
    start: StartNode, app: Path
) -> None:
    daemon = await start(app)
    async with registered(daemon, APP, await daemon.token()) as client:
        for message in ("fail", "parse", "log", "print"):
            await client.send(message)
        assert await client.ask("still there") == "still there"
    line = line_of('"fail" => return')
    await daemon.log_line(APP, f"on_message failed: src/lib.rs:{line}: on purpose")
    line = line_of('"parse" => drop')
    await daemon.log_line(APP, f"on_message failed: src/lib.rs:{line}: invalid digit found in string")
    await daemon.log_line(APP, "to standard output")
    await daemon.log_line(APP, "to standard error")
    levels = {each["text"]: each["level"] for each in await daemon.logs() if each["text"] in "bcd"}
    assert levels == {"b": "info", "c": "warning", "d": "error"}


async def test_a_panic_ends_the_run_and_is_in_the_log_with_its_line(start: StartNode, app: Path) -> None:
    daemon = await start(app, settings=_QUICK)
    async with registered(daemon, APP, await daemon.token()) as client:
        await client.send("panic")
        assert await client.receive() == "resumed"
        line = line_of('"panic" => panic!')
        await daemon.log_line(APP, f"src/lib.rs:{line}: panicked: on purpose: 5")
        assert await client.ask("still there") == "still there"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("recurse", "trapped: out of bounds memory access"),
        ("allocate", "ran out of memory"),
        ("loop", "ran out of time"),
    ],
)
async def test_what_takes_too_much_ends_and_its_channels_are_resumed(
    start: StartNode, app: Path, message: str, said: str
) -> None:
    settings = _QUICK | {"memory_bytes": 32 << 20, "cpu_seconds_per_message": 1.0}
    daemon = await start(app, "echo-c", settings=settings)
    token = await daemon.token()
    async with (
        registered(daemon, APP, token) as client,
        registered(daemon, "echo-c:echo-c:guesthouse.os", token) as neighbour,
    ):
        await client.send(message)
        assert await neighbour.ask("hello") == "hello"
        assert await client.receive() == "resumed"
        assert await client.ask("still there") == "still there"
    await daemon.log_line(APP, said)


async def test_who_is_away_and_back_is_told(start: StartNode, app: Path) -> None:
    daemon = await start(app)
    url = f"{daemon.ws_url}/{APP}/rooms/red?name=Ben"
    async with bound(daemon, APP, "/rooms/blue?name=Ada") as ada:
        assert (await ada.json())["joined"] == ["Ada"]
        async with ResumableClient(url) as ben:
            ben.cut()
            assert await ada.receive() == "Ben is away"
            await ben.resume()
            assert await ada.receive() == "Ben is back"


async def test_http_requests_are_answered(start: StartNode, app: Path) -> None:
    daemon = await start(app)
    async with httpx.AsyncClient(
        trust_env=False, base_url=f"{daemon.url}/{APP}", follow_redirects=True
    ) as client:
        answer = await client.get("/hello")
        assert (answer.status_code, answer.text) == (200, "hello")
        answer = await client.post("/hello", content='{"a": 1}')
        assert (answer.status_code, answer.json(), answer.headers["x-mine"]) == (
            201,
            {"got": {"a": 1}},
            "yes",
        )
        assert (await client.post("/hello", content="{")).status_code == 400
        assert (await client.get("/hello?fail=1")).status_code == 500
        assert (await client.put("/hello")).status_code == 405


@pytest.mark.thorough
async def test_an_edit_is_built_and_answers_while_the_channel_stays_open(
    start: StartNode, tmp_path: Path
) -> None:
    needs_cargo()
    folder = scaffold("echo", "test.os", "rust", tmp_path)
    cargo = folder / "Cargo.toml"
    cargo.write_text(
        cargo.read_text().replace(SDK_LINK, str(ROOT / "guest_sdk/rust"))
    )  # which is compiled already
    build_package(folder)
    daemon = await start(folder, flags=["--dev"])
    async with registered(daemon, "echo:echo:test.os", await daemon.token()) as client:
        assert await client.ask("hello") == "hello"
        source = folder / "src/lib.rs"
        text = source.read_text()
        source.write_text(text + "\nfn wrong() -> u8 { nothing }\n")
        number = len(text.splitlines()) + 2
        await daemon.log_line("dev", f"src/lib.rs:{number}:20: error[E0425]: cannot find value `nothing`")
        assert await client.ask("the old one runs") == "the old one runs"
        resumed = """fn on_resume(&mut self, channel: &Channel) -> Result {
        Ok(channel.send("edited")?)
    }"""
        source.write_text(text.replace("fn on_message", f"{resumed}\n\n    fn on_message", 1))
        assert await client.receive() == "edited"
