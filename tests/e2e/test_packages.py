"""`guesthouse install`, `uninstall` and `rollback`: on a running node and without one, whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.tiers import thorough_after

from guesthouse.control.control_client import ask

from .clients import COUNTER, ECHO_C, registered
from .conftest import StartNode
from .daemon import Daemon, Ran, environment, run_command
from .packages import package
from .test_reload import another

PACKAGE = "echo-c:guesthouse.os"


def version_of_echo(tmp_path: Path, version: str) -> Path:
    """The package echo-c under another version number, with other bytes and the same behaviour."""
    folder = shutil.copytree(package("echo-c"), tmp_path / f"echo-{version}")
    manifest = folder / "package.toml"
    manifest.write_text(manifest.read_text().replace('version = "0.1.0"', f'version = "{version}"'))
    component = folder / "build/echo-c.wasm"
    component.write_bytes(another(component.read_bytes(), version.encode()))
    return folder


def refused(ran: Ran, *texts: str) -> bool:
    return ran.code == 1 and ran.stderr.count("\n") == 1 and all(text in ran.stderr for text in texts)


@pytest.mark.thorough
async def test_what_is_installed_runs_at_once_and_after_the_next_start(
    start: StartNode, tmp_path: Path
) -> None:
    daemon = await start()
    folder = version_of_echo(tmp_path, "0.2.0")
    item = (await daemon.cli("install", folder, "--json")).json()
    assert (item["package"], item["version"], item["processes"]) == (PACKAGE, "0.2.0", [ECHO_C])
    shutil.rmtree(folder)
    async with registered(daemon, ECHO_C, await daemon.token()) as client:
        assert await client.ask("hello") == "hello"
    await daemon.terminate()
    again = await start(home=daemon.home)
    (listed,) = (await again.cli("packages", "--json")).json()
    assert listed == item
    shown = (await again.ps())[ECHO_C]
    assert (shown["version"], shown["hash"]) == ("0.2.0", item["hash"])
    assert "0.2.0 (" + item["hash"][:12] + ")" in (await again.cli("ps")).stdout
    async with registered(again, ECHO_C, await again.token()) as client:
        assert await client.ask("again") == "again"


@pytest.mark.thorough
async def test_a_folder_and_its_archive_are_the_same_content(start: StartNode, tmp_path: Path) -> None:
    daemon = await start()
    folder, archive = version_of_echo(tmp_path, "0.2.0"), tmp_path / "echo.zip"
    assert (await run_command(daemon.home, "build", folder, "-o", archive)).code == 0
    first = (await daemon.cli("install", folder, "--json")).json()
    second = (await daemon.cli("install", archive, "--json")).json()
    assert first == second
    assert first["previous_version"] is None


def greedy(tmp_path: Path, version: str, *lines: str) -> Path:
    """The package echo-c in a version whose process has these lines in its manifest."""
    folder = version_of_echo(tmp_path, version)
    manifest = folder / "package.toml"
    manifest.write_text(manifest.read_text().replace("[[process]]\n", "[[process]]\n" + "".join(lines), 1))
    return folder


REQUESTS = 'request-capabilities = [{ process = "kernel:distro:sys", params = "network" }]\n'
NETWORK = f'{ECHO_C} requests "network" of kernel:distro:sys'


@pytest.mark.parametrize("running", thorough_after(1, [True, False]))
async def test_a_version_that_asks_for_more_is_installed_by_a_word_of_the_operator_alone(
    start: StartNode, tmp_path: Path, running: bool
) -> None:
    daemon = await start()
    if not running:
        await daemon.terminate()
    assert (await daemon.cli("install", version_of_echo(tmp_path, "0.2.0"))).code == 0
    folder = greedy(tmp_path, "0.3.0", REQUESTS)
    assert refused(await daemon.cli("install", folder), NETWORK, "with --yes")
    assert refused(await daemon.cli("install", folder, "--json"), NETWORK, "with --yes")
    (item,) = (await daemon.cli("packages", "--json")).json()
    assert (item["version"], item["previous_version"]) == ("0.2.0", None)
    assert len(list((daemon.home / "packages").iterdir())) == 1, "nothing of it is left"
    done = await daemon.cli("install", folder, "--yes")
    assert (done.code, f"  + {NETWORK}\n" in done.stderr) == (0, True)
    shown = (await daemon.cli("packages", "--rights")).stdout
    assert f"  {NETWORK} (granted by the operator, by installing it)\n" in shown
    less = await daemon.cli("install", version_of_echo(tmp_path, "0.4.0"))
    assert (less.code, f"  - {NETWORK}\n" in less.stderr) == (0, True)


@pytest.mark.parametrize("running", thorough_after(1, [True, False]))
async def test_a_package_that_would_be_served_on_the_host_of_another_is_refused(
    start: StartNode, tmp_path: Path, running: bool
) -> None:
    daemon = await start()
    if not running:
        await daemon.terminate()
    assert (await daemon.cli("install", version_of_echo(tmp_path, "0.2.0"))).code == 0
    folder = renamed(version_of_echo(tmp_path, "0.3.0"))
    assert refused(
        await daemon.cli("install", folder, "--yes"),
        "echo:c.guesthouse.os would be served on the host of echo-c:guesthouse.os, echo-c-guesthouse-os",
    )
    (item,) = (await daemon.cli("packages", "--json")).json()
    assert item["version"] == "0.2.0"
    assert (await daemon.cli("uninstall", "echo-c:guesthouse.os")).code == 0
    gets = "echo:c.guesthouse.os gets the former host of echo-c:guesthouse.os"
    assert refused(await daemon.cli("install", folder), gets)
    taken = await daemon.cli("install", folder, "--yes")
    assert (taken.code, gets in taken.stderr) == (0, True)
    again = await daemon.cli("install", folder)
    assert (again.code, gets in again.stderr) == (0, False), "it has it now"
    if running:
        home = tmp_path / "both"
        arguments = ("run", "--home", home, "--port", "0", folder, version_of_echo(tmp_path, "0.4.0"))
        both = await run_command(home, *arguments)
        assert both.code == 1
        assert "would be served on the host of" in both.stderr


def renamed(folder: Path) -> Path:
    """Let a version of echo-c be of another package, with the label of that one."""
    manifest = folder / "package.toml"
    text = manifest.read_text().replace('name = "echo-c"', 'name = "echo"')
    manifest.write_text(text.replace('publisher = "guesthouse.os"', 'publisher = "c.guesthouse.os"'))
    return folder


def not_started(ran: Ran, *texts: str) -> bool:
    return ran.code == 1 and not ran.stdout and all(text in ran.stderr.splitlines()[-1] for text in texts)


@pytest.mark.thorough
async def test_a_package_that_is_named_to_run_gets_the_host_of_no_other(
    start: StartNode, tmp_path: Path
) -> None:
    """As one that is installed: that of another that is installed not at all, that of one that is gone by a word."""
    home = tmp_path / "home"
    theirs, other = version_of_echo(tmp_path, "0.2.0"), renamed(version_of_echo(tmp_path, "0.3.0"))
    assert (await run_command(home, "install", theirs, "--home", home)).code == 0
    named = ("run", "--home", home, "--port", "0", other)
    for more in ((), ("--yes",)):
        assert not_started(
            await run_command(home, *named, *more), "would be served on the host of echo-c:guesthouse.os"
        )
    assert (await run_command(home, "uninstall", "echo-c:guesthouse.os", "--home", home)).code == 0
    assert not_started(
        await run_command(home, *named),
        "echo:c.guesthouse.os gets the former host of echo-c:guesthouse.os",
        "with --yes",
    )
    daemon = await start(other, home=home, flags=["--yes"])
    assert (await daemon.ps()).keys() == {"echo:echo:c.guesthouse.os"}
    await daemon.terminate()
    daemon = await start(other, home=home)
    await daemon.terminate()
    gets = "echo-c:guesthouse.os gets the former host of echo:c.guesthouse.os"
    assert refused(await daemon.cli("install", theirs), gets), "the one that was named had it last"


@pytest.mark.thorough
async def test_a_manifest_that_changes_under_dev_gets_the_host_of_no_other(
    start: StartNode, tmp_path: Path
) -> None:
    daemon = await start()
    assert (await daemon.cli("install", version_of_echo(tmp_path, "0.2.0"))).code == 0
    assert (await daemon.cli("uninstall", "echo-c:guesthouse.os")).code == 0
    await daemon.terminate()
    folder = version_of_echo(tmp_path, "0.3.0")
    manifest = folder / "package.toml"
    manifest.write_text(manifest.read_text().replace('name = "echo-c"', 'name = "else"'))
    daemon = await start(folder, home=daemon.home, flags=["--dev"])
    renamed_at = manifest.read_text().replace('name = "else"', 'name = "echo"')
    manifest.write_text(renamed_at.replace('publisher = "guesthouse.os"', 'publisher = "c.guesthouse.os"'))
    line = await daemon.log_line("dev", "the old version keeps running")
    assert "echo:c.guesthouse.os gets the former host of echo-c:guesthouse.os" in line["text"]
    assert (await daemon.ps()).keys() == {"else:else:guesthouse.os"}


async def at_a_terminal(daemon: Daemon, answer: str, *arguments: str | Path) -> tuple[int, str]:
    """Run a command at a terminal, at which somebody answers its question. Returns how it ended, and what it showed."""
    ours, theirs = pty.openpty()
    command = (sys.executable, "-m", "guesthouse", *map(str, arguments), "--home", str(daemon.home))
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(daemon.home),
        cwd=daemon.home.parent,
    )
    os.close(theirs)
    shown = b""
    try:
        async with asyncio.timeout(60):
            while b"[y/N]: " not in shown:
                shown += await asyncio.to_thread(os.read, ours, 4096)
            os.write(ours, answer.encode())
            code = await process.wait()
        with contextlib.suppress(OSError):  # nobody has the other end any more
            while piece := os.read(ours, 4096):
                shown += piece
    finally:
        os.close(ours)
        if process.returncode is None:
            process.kill()
            await process.wait()
    return code, shown.decode()


@pytest.mark.thorough
@pytest.mark.parametrize("running", thorough_after(1, [True, False]))
async def test_at_a_terminal_the_operator_is_asked(start: StartNode, tmp_path: Path, running: bool) -> None:
    daemon = await start()
    if not running:
        await daemon.terminate()
    folder = greedy(tmp_path, "0.3.0", REQUESTS)
    for answer in ("n\n", "\n", "\x04"):
        code, shown = await at_a_terminal(daemon, answer, "install", folder)
        assert code == 1
        assert f"{PACKAGE} 0.3.0\r\n  + {NETWORK}\r\nGrant that? [y/N]: " in shown
        assert "is installed" not in shown
        assert (await daemon.cli("packages", "--json")).json() == []
    code, shown = await at_a_terminal(daemon, "y\n", "install", folder)
    assert code == 0
    assert f"{PACKAGE} 0.3.0" in shown.partition("[y/N]: ")[2]
    (item,) = (await daemon.cli("packages", "--json")).json()
    assert item["version"] == "0.3.0"


@pytest.mark.thorough
@pytest.mark.parametrize("running", thorough_after(1, [True, False]))
async def test_a_rollback_shows_how_rights_change(start: StartNode, tmp_path: Path, running: bool) -> None:
    daemon = await start()
    if not running:
        await daemon.terminate()
    assert (await daemon.cli("install", greedy(tmp_path, "0.2.0", REQUESTS), "--yes")).code == 0
    assert (await daemon.cli("install", version_of_echo(tmp_path, "0.3.0"))).code == 0
    for sign in "+-+":
        done = await daemon.cli("rollback", PACKAGE)
        assert (done.code, done.stderr.count("\n")) == (0, 2)
        assert f"  {sign} {NETWORK}\n" in done.stderr


async def test_the_first_version_is_asked_too_and_consent_is_to_what_was_shown(
    start: StartNode, tmp_path: Path
) -> None:
    daemon = await start()
    folder = greedy(tmp_path, "0.2.0", REQUESTS)

    async def install(consent: object) -> dict[str, Any]:
        arguments = {"package": str(folder), "consent": consent}
        (item,) = await asyncio.to_thread(lambda: list(ask(daemon.home, "install", **arguments)))
        return dict(item)

    shown = await install(None)
    assert (shown["asks_more"], shown["needs_consent"] is None) == ([NETWORK], False)
    manifest = folder / "package.toml"
    manifest.write_text(manifest.read_text().replace('"network"', '"spawn"'))
    other = await install(shown["hash"])
    assert other["asks_more"] == [NETWORK.replace("network", "spawn")], "another than was shown"
    assert (await daemon.cli("packages", "--json")).json() == []
    assert (await install(other["hash"]))["version"] == "0.2.0"


async def test_an_upgrade_a_rollback_and_a_rollback_of_it(start: StartNode, tmp_path: Path) -> None:
    daemon = await start()
    for version in ("0.1.1", "0.2.0"):
        await daemon.cli("install", version_of_echo(tmp_path, version))
    async with registered(daemon, ECHO_C, await daemon.token()) as client:
        for version in ("0.1.1", "0.2.0"):
            item = (await daemon.cli("rollback", PACKAGE, "--json")).json()
            assert (item["version"], item["running_version"]) == (version, version)
            assert (await daemon.ps())[ECHO_C]["version"] == version
            assert await client.ask(version) == version
    assert len(list((daemon.home / "packages").iterdir())) == 2
    await daemon.cli("install", version_of_echo(tmp_path, "0.3.0"))
    folders = {path.name for path in (daemon.home / "packages").iterdir()}
    (listed,) = (await daemon.cli("packages", "--json")).json()
    assert folders == {listed["hash"], listed["previous_hash"]}
    assert (listed["version"], listed["previous_version"]) == ("0.3.0", "0.2.0")


async def test_uninstalling_ends_the_processes_and_keeps_their_state_unless_purged(start: StartNode) -> None:
    daemon = await start()
    counts = []
    for purge in ([], ["--purge"], []):
        assert (await daemon.cli("install", package("counter"))).code == 0
        async with registered(daemon, COUNTER, await daemon.token()) as client:
            counts.append(await client.receive())
            assert await client.ask("+") == str(int(counts[-1]) + 1)
            assert (await daemon.cli("uninstall", "counter:guesthouse.os", *purge)).code == 0
            assert (await client.closed())[0] == 1011
        assert await daemon.ps() == {}
        assert not list((daemon.home / "packages").iterdir())
    assert counts == ["0", "1", "0"]
    assert refused(await daemon.cli("uninstall", "counter:guesthouse.os"), "is not installed")


async def test_a_package_is_installed_rolled_back_and_uninstalled_while_no_node_runs(
    start: StartNode, new_home: Callable[[], Path], tmp_path: Path
) -> None:
    home = new_home()

    async def command(name: str, *arguments: str | Path) -> Ran:
        return await run_command(home, name, "--home", home, *arguments)

    assert refused(await command("install", package("echo-c") / "build/echo-c.wasm"), "is not a package")
    assert refused(await command("rollback", PACKAGE), "is not installed")
    for version in ("0.1.1", "0.2.0"):
        assert (await command("install", version_of_echo(tmp_path, version))).code == 0
    assert (await command("rollback", PACKAGE)).code == 0
    (listed,) = (await command("packages", "--json")).json()
    assert (listed["version"], listed["previous_version"]) == ("0.1.1", "0.2.0")
    assert (listed["running_version"], listed["processes"]) == (None, [])
    daemon = await start(home=home)
    assert (await daemon.ps())[ECHO_C]["version"] == "0.1.1"
    await daemon.terminate()
    assert (await command("uninstall", PACKAGE, "--purge")).code == 0
    assert json.loads((home / "installed.json").read_text())["purging"] == [PACKAGE]
    again = await start(home=home)
    assert await again.ps() == {}
    assert json.loads((home / "installed.json").read_text())["purging"] == []


async def test_a_package_that_is_refused_changes_nothing(start: StartNode, tmp_path: Path) -> None:
    daemon = await start()
    await daemon.cli("install", version_of_echo(tmp_path, "0.1.1"))
    before = (daemon.home / "installed.json").read_bytes()
    folder = version_of_echo(tmp_path, "0.2.0")
    (folder / "build/echo-c.wasm").write_bytes(b"no component")
    assert refused(await daemon.cli("install", folder), "echo-c.wasm", "is text, not a component")
    assert refused(await daemon.cli("install", tmp_path / "nothing"), "is not a package")
    assert (daemon.home / "installed.json").read_bytes() == before
    assert (await daemon.ps())[ECHO_C]["version"] == "0.1.1"


async def test_a_broken_installation_is_logged_and_the_node_starts(start: StartNode, tmp_path: Path) -> None:
    daemon = await start()
    await daemon.cli("install", version_of_echo(tmp_path, "0.1.1"))
    await daemon.terminate()
    shutil.rmtree(daemon.home / "packages")
    again = await start("counter", home=daemon.home)
    await again.log_line("packages", "is gone: install it again")
    listed = {name: row["state"] for name, row in (await again.ps()).items()}
    assert listed == {COUNTER: "running", "echo-c:guesthouse.os": "failed"}


async def test_an_installation_goes_on_when_whoever_asked_for_it_is_gone(
    start: StartNode, tmp_path: Path
) -> None:
    daemon = await start()
    await daemon.cli("install", version_of_echo(tmp_path, "0.1.1"))
    folder = version_of_echo(tmp_path, "0.2.0")
    request = {"command": "install", "package": str(folder)}
    _, asking = await asyncio.open_unix_connection(str(daemon.home / "control.sock"))
    asking.write(json.dumps(request).encode() + b"\n")
    await asking.drain()
    asking.close()
    await daemon.log_line("packages", f"{PACKAGE} 0.2.0 runs")
    (listed,) = (await daemon.cli("packages", "--json")).json()
    assert (listed["version"], listed["running_version"]) == ("0.2.0", "0.2.0")


async def test_a_package_that_is_named_takes_the_place_of_the_installed_one(
    start: StartNode, tmp_path: Path
) -> None:
    daemon = await start("echo-c")
    assert (await daemon.cli("install", version_of_echo(tmp_path, "0.2.0"))).code == 0
    assert (await daemon.ps())[ECHO_C]["version"] == "0.2.0"
    await daemon.terminate()
    again = await start("echo-c", home=daemon.home)
    await again.log_line("packages", "runs as named, not as installed (0.2.0)")
    shown = (await again.ps())[ECHO_C]
    assert (shown["version"], shown["hash"]) == ("0.1.0", None)
