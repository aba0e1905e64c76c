"""A disk that is full, read-only or broken, and a database that another program holds: processes are told, nobody is
held up, what was stored stays, and all is well once the disk is.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random
from typing import Final

import pytest
from tests.e2e.api import SERVED, api_url, key, problem, service
from tests.e2e.clients import ECHO_C, registered
from tests.e2e.compiles import KEY_FILE
from tests.e2e.conftest import StartNode, home_in
from tests.e2e.daemon import Daemon, environment, run_command
from tests.e2e.packages import package
from tests.e2e.restarting import restart
from tests.e2e.test_packages import version_of_echo
from tests.e2e.test_resume import resumable
from tests.e2e.waiting import until
from tests.patience import PATIENCE, tried_again, within
from tests.tiers import thorough_after

from guesthouse.control.control_client import CommandRefused
from guesthouse.core.config import PackageLimits
from guesthouse.http_api.api_keys import ApiKeys
from guesthouse.http_server.auth.credentials import CredentialsError, load_secret, replace_secret
from guesthouse.http_server.auth.revocations import RevocationList
from guesthouse.http_server.auth.tokens import Tokens
from guesthouse.package.compile.compiler import Compiler
from guesthouse.package.errors import CompileError

from .machine import Machine
from .test_compilers import install
from .writers import ONE, TWO, LogTail, Writer, connected, ledger, reading

ROOT: Final = Path(__file__).parents[2]


@pytest.fixture
def machine(tmp_path: Path, compiled: Path) -> Machine:
    return Machine(tmp_path, compiled)


@asynccontextmanager
async def writers_of(daemon: Daemon) -> AsyncIterator[list[Writer]]:
    """A client of each of two processes."""
    writers = [Writer(name, process, Random(name)) for name, process in (("w1", ONE), ("w2", TWO))]
    async with connected(daemon, await daemon.token(), writers), reading(writers):
        yield writers


async def answered(writer: Writer, verb: str, seconds: float = PATIENCE) -> bool:
    """Send a number; whether it was entered, and not refused."""
    refused = writer.refused
    number = await writer.send(verb)

    async def seen() -> int:
        return writer.seen

    await until(seen, lambda last: last >= number, f"an answer to {verb}", seconds)
    assert writer.seen == number
    return writer.refused == refused


async def entered(writer: Writer, *verbs: str) -> list[bool]:
    return [await answered(writer, verb) for verb in verbs]


@pytest.mark.parametrize("error", thorough_after(1, [errno.ENOSPC, errno.EROFS]))
async def test_what_cannot_be_written_is_refused_and_nothing_else_notices(
    start: StartNode, machine: Machine, error: int
) -> None:
    daemon = await start(ledger(), "echo-c", variables=machine.variables)
    lines = LogTail(daemon.home)
    async with writers_of(daemon) as (one, two), registered(daemon, ECHO_C, await daemon.token()) as echo:
        assert all(await entered(one, "keep", "kv", "timer"))
        machine.writes_fail_with(error)
        for _ in range(3):
            assert await entered(one, "keep", "kv", "timer") == [False] * 3
            assert await answered(two, "say")
            assert await echo.ask("hello") == "hello"
        machine.writes_fail_with(0)
        assert all(await entered(one, "keep", "kv", "timer"))
        await daemon.ask("restart", process=TWO)  # which is logged
        assert await until(lambda: _said(lines), lambda said: "missing here" in said, "the log goes on")
        held = stored(daemon.home)
        assert held[ONE] == {"w1": one.entered["keep"]}
    assert (await daemon.ps())[ONE]["restarts"] == 0


async def _said(lines: LogTail) -> str:
    return "\n".join(text for _, text in lines.take())


def stored(home: Path) -> dict[str, dict[str, int]]:
    """The state of each ledger, as another program reads it."""
    database = sqlite3.connect(home / "state.sqlite")
    rows = database.execute("SELECT process, bytes FROM state").fetchall()
    database.close()
    return {process: json.loads(content)["last"] for process, content in rows}


async def test_a_commit_that_the_disk_does_not_confirm_is_not_confirmed_to_the_process(
    start: StartNode, machine: Machine
) -> None:
    daemon = await start(ledger(), variables=machine.variables)
    async with writers_of(daemon) as (one, _):
        assert await answered(one, "keep")
        machine.syncs_fail_with(errno.EIO)
        assert not await answered(one, "keep")
        machine.syncs_fail_with(0)
        assert await answered(one, "keep")


@pytest.mark.thorough
async def test_a_package_that_finds_no_room_is_refused_and_what_ran_runs_on(
    machine: Machine, tmp_path: Path
) -> None:
    home = tmp_path / "node" / "home"
    home.mkdir(parents=True, mode=0o700)
    old, new = (version_of_echo(tmp_path, version) for version in ("0.2.0", "0.3.0"))
    async with Daemon(home, [], variables=machine.variables, new=True) as daemon:
        await install(daemon, old)
        async with registered(daemon, ECHO_C, await daemon.token()) as client:
            machine.writes_fail_with(errno.ENOSPC)
            with pytest.raises(CommandRefused, match=r"No space left|has room"):
                await install(daemon, new)
            assert await client.ask("old") == "old"
            machine.writes_fail_with(0)
            (listed,) = await daemon.ask("packages")
            assert (listed["version"], listed["running_version"]) == ("0.2.0", "0.2.0")
            assert {path.name for path in daemon.home.joinpath("packages").iterdir()} == {listed["hash"]}
            assert (await install(daemon, new))["version"] == "0.3.0"
            assert await client.ask("new") == "new"


@contextmanager
def held(home: Path) -> Iterator[sqlite3.Connection]:
    """Another program has the database for itself."""
    other = sqlite3.connect(home / "state.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield other
    finally:
        other.close()


@pytest.mark.thorough
async def test_a_database_that_another_program_holds_holds_up_only_who_stores(start: StartNode) -> None:
    daemon = await start(ledger(), "echo-c")
    async with writers_of(daemon) as (one, two), registered(daemon, ECHO_C, await daemon.token()) as echo:
        assert await answered(one, "keep")
        with held(daemon.home) as other:  # for less than the node waits
            keeping = asyncio.ensure_future(answered(one, "keep"))
            for _ in range(3):
                assert await echo.ask("meanwhile") == "meanwhile"
                assert await answered(two, "say")
            assert not keeping.done()
            other.execute("ROLLBACK")
            assert await keeping
        with held(daemon.home):  # for ever
            keeping = asyncio.ensure_future(answered(one, "keep"))
            while not keeping.done():
                assert await echo.ask("meanwhile") == "meanwhile"
                await asyncio.sleep(0.005)
            assert not await keeping
            await daemon.log_line("state", "another program has locked it")
        assert await answered(one, "keep")
        assert stored(daemon.home)[ONE] == {"w1": one.entered["keep"]}


@tried_again
async def test_a_node_that_stops_does_not_wait_for_a_program_that_holds_its_database(
    start: StartNode,
) -> None:
    daemon = await start(ledger())
    token = await daemon.token()
    async with registered(daemon, ONE, token) as client:
        with held(daemon.home):
            await client.send("keep w1 1")
            with within(5):
                assert await daemon.terminate() == 0


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[], None]]:
    """A file system of its own on `folder`. Gives what makes it read-only."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted without root: {mounted.stderr.strip()}")

    def make_read_only() -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)

    try:
        yield make_read_only
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def home_on_small_disk(folder: Path, compiled: Path) -> Iterator[Path]:
    """A home on a disk of 4 MiB; compiled components and their key are those of another."""
    home = folder / "disk"
    home.mkdir(mode=0o700)
    with small_disk(home, "4m"):
        home.chmod(0o700)
        (home / "compiled").symlink_to(compiled / "compiled")
        shutil.copy(compiled / KEY_FILE, home / KEY_FILE)
        yield home


@pytest.mark.thorough
async def test_a_disk_that_fills_up_and_is_cleared_is_lived_through(tmp_path: Path, compiled: Path) -> None:
    """A real one, of 4 MiB, with another program's file on it."""
    with home_on_small_disk(tmp_path, compiled) as home:
        async with Daemon(home, [ledger()], new=True) as daemon, writers_of(daemon) as (one, two):
            assert all(await entered(one, "keep", "kv", "timer"))
            _fill(home / "other")
            outcomes = [await answered(one, "keep") for _ in range(12)]
            assert outcomes[-1] is False
            assert await answered(two, "say")
            (home / "other").unlink()
            assert all(await entered(one, "keep", "kv", "timer"))
            assert stored(home)[ONE] == {"w1": one.entered["keep"]}


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


async def test_a_disk_that_is_full_while_a_component_is_compiled_is_named(tmp_path: Path) -> None:
    """Not the component, nor the memory of its compiler."""
    folder = tmp_path / "compiled"
    folder.mkdir()
    component = ROOT / "sample_processes/echo-c/build/echo-c.wasm"
    with small_disk(folder, "16k"):
        folder.chmod(0o700)
        with pytest.raises(CompileError) as refused:
            await Compiler(folder, PackageLimits()).compiled(component)
        text = f"was not compiled because the disk of {folder} is full: make room, and try again"
        assert str(refused.value) == f"{component} {text}"
        assert [path.name for path in folder.iterdir()] == []


async def test_a_home_where_no_code_may_be_mapped_is_refused_with_the_remedy(tmp_path: Path) -> None:
    home = tmp_path / "disk"
    home.mkdir(mode=0o700)
    with small_disk(home, "4m,noexec"):
        home.chmod(0o700)
        ran = await run_command(home, "run", "--home", home, "--port", "0")
    assert (ran.code, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
    assert "mounted noexec" in ran.stderr
    assert "mount it with exec, or give another --home" in ran.stderr


@pytest.mark.parametrize("kilobytes", thorough_after(1, [300_000, 600_000, 3_000_000]))
async def test_too_little_address_space_is_named_with_its_limit(tmp_path: Path, kilobytes: int) -> None:
    """And not taken for another wasmtime."""
    home = tmp_path / "home"
    command = f"ulimit -v {kilobytes}; exec {sys.executable} -m guesthouse run --home {home} --port 0"
    node = await asyncio.create_subprocess_exec(
        *("sh", "-c", command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(home),
        cwd=tmp_path,
    )
    out, err = await asyncio.wait_for(node.communicate(), 60)
    (last,) = (line for line in err.decode().splitlines() if line.startswith("guesthouse: "))
    assert (node.returncode, out) == (1, b"")
    assert f"limited to {1024 * kilobytes} bytes" in last
    assert "raise that limit (`ulimit -v`, LimitAS=)" in last


async def test_a_guest_that_its_worker_has_no_addresses_for_is_told_so_and_tried_again(
    tmp_path: Path, compiled: Path
) -> None:
    """The worker has enough for one guest and not for three, of 4 GiB each."""
    home = home_in(tmp_path, compiled)
    run = f"{sys.executable} -m guesthouse run --home {home} --port 0 --workers 1 {package('puppet')}"
    node = await asyncio.create_subprocess_exec(
        *("sh", "-c", f"ulimit -v 6000000; exec {run}"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=environment(home),
        cwd=tmp_path,
    )
    assert node.stderr is not None
    said: list[str] = []
    async with asyncio.timeout(100):
        while not said or "is started again" not in said[-1]:
            line = (await node.stderr.readline()).decode()
            assert line, said
            said.append(line)
    node.terminate()
    await asyncio.wait_for(node.communicate(), 60)
    (why,) = {line.partition("test.os: ")[2] for line in said if " error " in line}
    assert why.startswith("ended by a fault of the host: its worker has no room for it: ")
    assert f"limited to {1024 * 6_000_000} bytes" in why
    assert "raise that limit (`ulimit -v`, LimitAS=)" in why


async def test_a_home_on_a_read_only_disk_is_refused_in_one_line(tmp_path: Path) -> None:
    home = tmp_path / "disk"
    home.mkdir(mode=0o700)
    with small_disk(home, "4m") as make_read_only:
        home.chmod(0o700)
        make_read_only()
        ran = await run_command(home / "node", "run", "--home", home / "node", "--port", "0")
        assert (ran.code, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
        assert "Read-only file system" in ran.stderr
        ran = await run_command(home, "run", "--home", home, "--port", "0")
        assert (ran.code, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
        assert str(home) in ran.stderr
    assert os.listdir(home) == []


def test_on_a_full_disk_tokens_and_keys_are_revoked_for_good(tmp_path: Path) -> None:
    home = tmp_path / "disk"
    home.mkdir(mode=0o700)
    with small_disk(home, "256k"):
        families = RevocationList(home, 0)
        families.reserve()
        keys, secret = ApiKeys(home), load_secret(home)
        keys.create("old", "read", 0)
        _fill(home / "other")
        names = [f"{number:016}" for number in range(500)]
        for name in names:
            families.add(name, 1000, 0)
        after = RevocationList(home, 0)
        assert all(name in after for name in names)
        with pytest.raises(CredentialsError, match=r"No space left on device: see that the disk has room"):
            _revoke_many(families)
        assert keys.revoke("old").name == "old"
        assert ApiKeys(home).listed() == ()
        assert replace_secret(home) == load_secret(home) != secret
        (home / "other").unlink()
        families.add("later", 1000, 0)
        assert "later" in RevocationList(home, 0)


def _revoke_many(families: RevocationList) -> None:
    for number in range(1000):
        families.add(f"more{number:012}", 1000, 0)


async def test_what_is_revoked_on_a_broken_disk_is_said_and_revoked_after_a_restart_once_it_works(
    start: StartNode, machine: Machine
) -> None:
    daemon = await start("echo-c", variables=machine.variables, settings=SERVED)
    tokens = [await daemon.token() for _ in range(3)]
    async with service(await api_url(daemon), await key(daemon, "push")) as api:
        issued = (await api.post("/tokens", json={"process": ECHO_C})).json()
        machine.writes_fail_with(errno.ENOSPC)
        for _ in range(2):
            assert problem(await api.delete(f"/tokens/{issued['id']}")) == (503, "not-stored")
        machine.writes_fail_with(0)
        assert (await api.delete(f"/tokens/{issued['id']}")).status_code == 204
    (made,) = await daemon.ask("api-key-create", name="old", role="read", seconds=None, process=None)
    machine.writes_fail_with(errno.ENOSPC)
    for _ in range(2):
        full = r"tokens\.revoked: No space left on device: see that the disk has room; the revocation holds until"
        with pytest.raises(CommandRefused, match=full):
            await daemon.ask("revoke", token=tokens[0])
        with pytest.raises(CommandRefused, match=r"api\.keys: No space left on device: see that the disk"):
            await daemon.ask("api-key-revoke", name="old")
    with pytest.raises(CommandRefused, match=r"not restarted.*valid again: .*tokens\.revoked: No space"):
        await daemon.ask("restart-node")
    machine.writes_fail_with(0)
    assert await daemon.ask("revoke", token=tokens[1]) == [True]
    assert (await daemon.ask("api-key-revoke", name="old"))[0]["id"] == made["id"]
    await daemon.kill()
    families = RevocationList(daemon.home, 0)
    secret = load_secret(daemon.home)
    known = [Tokens(daemon.node, secret).revocable(token) for token in tokens]
    assert [each is not None and each[0] in families for each in known] == [True, True, False]
    assert Tokens(daemon.node, secret).revocable(issued["token"])[0] in families  # type: ignore[index]
    assert [each.name for each in ApiKeys(daemon.home).listed()] == ["push"]


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_node_that_finds_no_room_to_hand_over_says_so_before_it_gives_anything_up(
    tmp_path: Path, compiled: Path, stopped: bool
) -> None:
    with home_on_small_disk(tmp_path, compiled) as home:
        (home / "guesthouse.toml").write_text("handover = true\n")
        async with Daemon(home, [package("echo-c")], new=True) as daemon:
            async with resumable(daemon, ECHO_C, await daemon.token()) as client:
                await client.send("before")
                assert await client.receive() == "before"
                _fill(home / "other")
                if stopped:
                    assert await daemon.terminate() == 0
                    assert (await client.closed())[0] == 1001
                    said = daemon._stderr.read_text()
                    assert re.search(r"nothing is handed over.*handover: No space left.*has room", said)
                    return
                with pytest.raises(CommandRefused, match=r"not restarted.*handover: No space left.*has room"):
                    await daemon.ask("restart-node")
                await client.send("still")
                assert await client.receive() == "still"
                (home / "other").unlink()
                await restart(daemon)
                await client.send("after")
                await client.resume()
                assert await client.receive() == "after"
            await daemon.no_channels()
        left = {path.name for path in home.iterdir() if "handover" in path.name}
        assert left <= {"handover"}, (
            "no room is kept; its process may not have taken the end of the channel yet"
        )
