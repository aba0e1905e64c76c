"""Processes in TypeScript, built by `guesthouse build` with the SDK, behind real WebSockets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Final

import httpx
import pytest

from guesthouse.package.build.build_package import build_package

from .clients import registered
from .conftest import StartNode
from .packages import MODULES, ROOT

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

APP: Final = "app:app:test.os"
_SOURCE: Final = ROOT / "tests/unit/guest_sdk_javascript/app.ts"
_MANIFEST: Final = """\
[package]
name = "app"
publisher = "test.os"
version = "0.1.0"

[[process]]
name = "app"
wasm = "build/app.wasm"
on-exit = "restart"
request-capabilities = ["kv:distro:sys", "timer:distro:sys"]

[process.build]
language = "javascript"
source = "app.ts"
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of what the unit tests run in the fake host."""
    folder = tmp_path_factory.mktemp("javascript") / "app"
    folder.mkdir()
    shutil.copy(_SOURCE, folder)
    (folder / "package.toml").write_text(_MANIFEST)
    (folder / "node_modules").symlink_to(MODULES)
    return build_package(folder)


async def test_a_process_in_typescript_does_what_it_does_in_the_fake_host(
    start: StartNode, app: Path
) -> None:
    daemon = await start(app)
    token = await daemon.token()
    drawn = set()
    for _ in range(2):
        async with registered(daemon, APP, token) as client, registered(daemon, APP, token) as other:
            assert await client.ask("héllo ✓") == "héllo ✓"
            assert await client.ask(bytes(range(256))) == bytes(range(256))
            assert await client.ask("x" * 100_000) == "x" * 100_000
            assert json.loads(await client.ask("promises"))[4] == [0, 1, 2]
            assert json.loads(await client.ask("kv")) == [{"a": [1, "é"]}, None]
            assert await client.ask("timer") == "due"
            assert await client.ask("cleared") == "after it"
            assert [await client.ask("order"), await client.receive(), await client.receive()] == [
                "1",
                "2",
                "3",
            ]
            assert json.loads(await client.ask("encoding"))[1:] == ["aé✓😀�", "a�✓��"]
            assert await client.ask("broadcast") == "to all"
            assert await client.receive() == b"\x01\xff"
            assert [await other.receive(), await other.receive()] == ["to all", b"\x01\xff"]
            assert (
                await client.ask('{"request": 7, "body": "wait"}') == '{"response":7,"body":{"body":"wait"}}'
            )
            drawn.add(await client.ask("random"))
            kept = json.loads(await client.ask("state"))["kept"]
            ran = await daemon.cli("restart", APP)
            assert ran.code == 0, ran.stderr
            assert await client.receive() == "resumed"
            drawn.add(await client.ask("random"))
            assert json.loads(await client.ask("state"))["kept"] == kept + 1
    assert len({json.loads(str(each))[0] for each in drawn}) == 4


async def test_errors_are_logged_in_the_lines_of_the_source(start: StartNode, app: Path) -> None:
    daemon = await start(app)
    async with registered(daemon, APP, await daemon.token()) as client:
        for message in ("throw", "throw later", "unhandled", "no right"):
            await client.send(message)
        assert await client.ask("still there") == "still there"
    line = await daemon.log_line(APP, "onMessage failed: TypeError: thrown on purpose")
    number = _SOURCE.read_text().splitlines().index('  throw new TypeError("thrown on purpose");') + 1
    assert f"at deep (app.ts:{number})" in line["text"]
    await daemon.log_line(APP, "a promise failed: RangeError: nobody listens")
    await daemon.log_line(APP, "onMessage failed: NotAuthorised: this process may not message vfs:distro:sys")


async def test_http_requests_are_answered(start: StartNode, app: Path) -> None:
    daemon = await start(app)
    async with httpx.AsyncClient(
        trust_env=False, base_url=f"{daemon.url}/{APP}", follow_redirects=True
    ) as client:
        answer = await client.get("/hello")
        assert (answer.status_code, answer.text) == (200, "hello")
        answer = await client.post("/hello", content='{"a": 1}')
        assert (answer.status_code, answer.json()) == (201, {"got": {"a": 1}, "kept": {"a": 1}})
        for why in ("now", "never"):
            assert (await client.get(f"/hello?fail={why}")).status_code == 500
    await daemon.log_line(APP, "onHttp failed: Error: onHttp waits for what a later message brings")


async def test_an_edit_is_built_and_answers_while_the_channel_stays_open(
    start: StartNode, app: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(app, tmp_path / "app", symlinks=True)
    daemon = await start(folder, flags=["--dev"])
    async with registered(daemon, APP, await daemon.token()) as client:
        assert await client.ask("hello") == "hello"
        source = folder / "app.ts"
        text = source.read_text()
        source.write_text(text.replace('"resumed"', '"edited"', 1) + "let let;\n")
        await daemon.log_line("dev", "error:", "let")
        assert await client.ask("the old one runs") == "the old one runs"
        source.write_text(text.replace('"resumed"', '"edited"', 1))
        assert await client.receive() == "edited"
