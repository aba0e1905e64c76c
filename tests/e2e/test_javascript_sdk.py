"""Processes in TypeScript, built by `guesthouse build` with the SDK, behind real WebSockets."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
from pathlib import Path
from typing import Final

import httpx
import pytest
from tests.certificates import TRUSTS_NOBODY
from tests.tiers import thorough_but

from guesthouse.package.build.build_package import build_package
from guesthouse.package.build.development_component import development_component
from guesthouse.package.format.load import read_manifest

from .clients import registered
from .conftest import StartNode
from .daemon import Daemon
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
def app() -> Path:
    """A package of what the unit tests run in the fake host. It stays for the next run."""
    folder = ROOT / "build/tests/javascript-sdk"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.copy(_SOURCE, folder)
        (folder / "package.toml").write_text(_MANIFEST)
        if not (folder / "node_modules").is_symlink():
            (folder / "node_modules").symlink_to(MODULES)
        return build_package(folder)


@pytest.fixture
def unbuilt(app: Path, tmp_path: Path) -> Path:
    """The same package as its author has it."""
    return shutil.copytree(app, tmp_path / "app", symlinks=True, ignore=shutil.ignore_patterns("build"))


@pytest.fixture(scope="module")
def starlingmonkey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same package with the other engine."""
    folder = tmp_path_factory.mktemp("starlingmonkey") / "app"
    folder.mkdir()
    shutil.copy(_SOURCE, folder)
    (folder / "package.toml").write_text(f'{_MANIFEST}engine = "starlingmonkey"\n')
    (folder / "node_modules").symlink_to(MODULES)
    return build_package(folder)


@pytest.mark.thorough
@pytest.mark.parametrize("built", thorough_but([True, False], True), ids=["built", "from its sources"])
async def test_a_process_in_typescript_does_what_it_does_in_the_fake_host(
    start: StartNode, app: Path, unbuilt: Path, development: dict[str, str], built: bool
) -> None:
    await does_all(await (start(app) if built else start(unbuilt, flags=["--dev"], variables=development)))


@pytest.mark.thorough
async def test_it_does_the_same_on_starlingmonkey(start: StartNode, starlingmonkey: Path) -> None:
    daemon = await start(starlingmonkey, settings={"process_first_message_seconds": 60})
    await does_all(daemon)
    async with registered(daemon, APP, await daemon.token()) as client:
        await client.send("throw")
        assert await client.ask("still there") == "still there"
    line = await daemon.log_line(APP, "onMessage failed: TypeError: thrown on purpose")
    assert line["text"].splitlines()[1] == f"    at deep (app.ts:{line_of_error()})"


def line_of_error() -> int:
    """Where the app throws."""
    return _SOURCE.read_text().splitlines().index('  throw new TypeError("thrown on purpose");') + 1


async def does_all(daemon: Daemon) -> None:
    """Ask the app for all that it does."""
    token = await daemon.token()
    drawn = set()
    for _ in range(2):
        async with registered(daemon, APP, token) as client, registered(daemon, APP, token) as other:
            assert await client.ask("héllo ✓") == "héllo ✓"
            assert await client.ask(bytes(range(256))) == bytes(range(256))
            assert await client.ask("x" * 100_000) == "x" * 100_000
            assert json.loads(await client.ask("promises"))[4] == [0, 1, 2]
            assert json.loads(await client.ask("kv")) == [{"a": [1, "é"]}, None]
            await client.send("timer")
            assert await other.ask("meanwhile") == "meanwhile"
            assert [await client.ask("after it"), await client.receive()] == ["due", "after it"]
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


@pytest.mark.thorough
async def test_errors_are_logged_in_the_lines_of_the_source(start: StartNode, app: Path) -> None:
    daemon = await start(app)
    async with registered(daemon, APP, await daemon.token()) as client:
        for message in ("throw", "throw later", "unhandled", "no right"):
            await client.send(message)
        assert await client.ask("still there") == "still there"
    line = await daemon.log_line(APP, "onMessage failed: TypeError: thrown on purpose")
    assert f"at deep (app.ts:{line_of_error()})" in line["text"]
    await daemon.log_line(APP, "a promise failed: RangeError: nobody listens")
    await daemon.log_line(APP, "onMessage failed: NotAuthorised: this process may not message vfs:distro:sys")


async def test_http_requests_are_answered(start: StartNode, app: Path) -> None:
    daemon = await start(app)
    async with httpx.AsyncClient(
        verify=TRUSTS_NOBODY, trust_env=False, base_url=f"{daemon.url}/{APP}", follow_redirects=True
    ) as client:
        answer = await client.get("/hello")
        assert (answer.status_code, answer.text) == (200, "hello")
        answer = await client.post("/hello", content='{"a": 1}')
        assert (answer.status_code, answer.json()) == (201, {"got": {"a": 1}, "kept": {"a": 1}})
        for why in ("now", "never"):
            assert (await client.get(f"/hello?fail={why}")).status_code == 500
    await daemon.log_line(APP, "onHttp failed: Error: onHttp waits for what a later message brings")


@pytest.mark.thorough
async def test_an_edit_is_answered_while_the_channel_stays_open(
    start: StartNode, app: Path, tmp_path: Path, development: dict[str, str]
) -> None:
    folder = shutil.copytree(app, tmp_path / "app", symlinks=True)
    daemon = await start(folder, flags=["--dev"], variables=development)
    source = folder / "app.ts"
    text = source.read_text()
    last = len(text.splitlines()) + 1
    async with registered(daemon, APP, await daemon.token()) as client:
        assert await client.ask("hello") == "hello"
        for broken, told in (
            ("let let;", f"app.ts:{last}:5: error: "),
            ("throw new RangeError('top');", f"app.ts:{last}: error: RangeError: top (the old version"),
            ("bindWsPath('/x');", "error: Error: bindWsPath is called while the module is loaded: call"),
            (
                "import './none.ts';",
                f'app.ts:{last}:8: error: Could not resolve "./none.ts" (the old version',
            ),
        ):
            source.write_text(f"{text.replace('resumed', 'edited', 1)}{broken}\n")
            await daemon.log_line("dev", told)
            assert await client.ask("the old one runs") == "the old one runs"
        source.write_text(text.replace('"resumed"', '"edited"', 1))
        assert await client.receive() == "edited"
        await client.send("throw")
        line = await daemon.log_line(APP, "onMessage failed: TypeError: thrown on purpose")
        assert line["text"].splitlines()[1] == f"    at deep (app.ts:{line_of_error()})"
        assert "input" not in line["text"]
        source.write_text(text)
        assert await client.receive() == "resumed"


MODULES_APP: Final = "modules:modules:test.os"


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that uses what the node and the SDK have beside channels."""
    folder = tmp_path_factory.mktemp("javascript") / "modules"
    folder.mkdir()
    shutil.copy(_SOURCE.with_name("modules.ts"), folder / "app.ts")
    rights = '["kv:distro:sys", "vfs:distro:sys", "passwords:distro:sys"'
    rights += ', { process = "kernel:distro:sys", params = "spawn" }]'
    text = re.sub(r"request-capabilities = .*", f"request-capabilities = {rights}", _MANIFEST)
    (folder / "package.toml").write_text(
        text.replace('"app"', '"modules"').replace("build/app", "build/modules")
    )
    (folder / "node_modules").symlink_to(MODULES)
    return build_package(folder)


@pytest.mark.thorough
async def test_files_passwords_rights_and_children_are_as_the_sdk_says(
    start: StartNode, modules: Path
) -> None:
    daemon = await start(modules)
    async with registered(daemon, MODULES_APP, await daemon.token()) as client:
        found = {
            name: await client.ask(name) for name in ("files", "passwords", "keys", "rights", "children")
        }
    assert set(found.values()) == {"ok"}, found


async def test_a_node_that_does_not_develop_gives_no_sources(
    start: StartNode, app: Path, development: dict[str, str], tmp_path: Path
) -> None:
    """What runs apps from their sources is no more than another component there."""
    manifest = read_manifest(app)
    (entry,) = manifest.processes
    assert entry.build is not None
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", development["XDG_CACHE_HOME"])
        component = development_component(app, entry.build, lambda line: None)
    folder = tmp_path / "package"
    (folder / "build").mkdir(parents=True)
    shutil.copy(component, folder / "build/app.wasm")
    requests = 'request-capabilities = ["development:distro:sys"]'
    text = (app / "package.toml").read_text().partition("[process.build]")[0]
    (folder / "package.toml").write_text(re.sub(r"request-capabilities = .*", requests, text))
    ran = await start(folder, settings={"restart_first_delay": 60})
    await ran.log_line(APP, "only under `guesthouse run --dev`: build the app instead")
