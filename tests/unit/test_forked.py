"""A fork of the tests' fork server is what `python -m guesthouse …` is, to whoever starts it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from tests import forked
from tests.e2e.daemon import environment
from tests.e2e.waiting import until
from tests.patience import PATIENCE
from tests.tiers import thorough_after

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
async def ended() -> AsyncIterator[None]:
    yield
    forked.stop()
    assert forked.server_pid() is None


async def ran(
    folder: Path, *arguments: str, stdin: str = "", variables: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Exit code, output and errors of a command as a fork."""
    made = {**environment(folder / "home"), **(variables or {})}
    assert forked.can_fork(made)
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
        given.write(stdin.encode())
        given.seek(0)
        fork = await forked.fork(arguments, made, folder, stdin=given.fileno(), stderr=errors)
        out = (await fork.stdout.read()).decode()
        code = await fork.wait()
        assert fork.returncode == code
        errors.seek(0)
        return code, out, errors.read().decode()


async def ran_anew(
    folder: Path, *arguments: str, variables: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """The same of a new interpreter."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "guesthouse", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**environment(folder / "home"), **(variables or {})},
        cwd=folder,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize(
    "arguments",
    thorough_after(
        3,
        [
            ("--version",),
            ("--help",),
            ("run", "--help"),
            ("ps",),
            ("ps", "--home", "nowhere"),
            ("build", "nothing"),
            ("no-command",),
            ("config", "--home", "there"),
        ],
    ),
    ids=" ".join,
)
async def test_it_writes_and_ends_as_a_new_interpreter_does(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    variables = {"GUESTHOUSE_NODE": "of-a-variable.os", "COLUMNS": "80"}
    assert await ran(tmp_path, *arguments, variables=variables) == await ran_anew(
        tmp_path, *arguments, variables=variables
    )


async def test_one_fork_has_nothing_of_the_one_before(tmp_path: Path) -> None:
    one = await ran(tmp_path, "config", "--home", "there", variables={"GUESTHOUSE_NODE": "one.os"})
    two = await ran(tmp_path, "config", "--home", "there")
    assert ("one.os" in one[1], "one.os" in two[1]) == (True, False)


async def test_it_reads_its_input(tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    code, _, errors = await ran(tmp_path, "passwd", "--home", home)
    assert code != 0
    assert errors
    code, _, errors = await ran(tmp_path, "passwd", "--home", home, stdin="correct horse battery staple\n")
    assert code == 0
    assert "is set" in errors


async def test_a_node_is_signalled_and_has_what_it_is_given_and_nothing_else(tmp_path: Path) -> None:
    used = forked.used_seconds()
    made = environment(tmp_path / "home", {"inspectable": True})
    with socket.create_server(("127.0.0.1", 0)) as given, (tmp_path / "errors").open("wb") as errors:
        number = given.fileno()
        arguments = ["run", "--home", "home", "--port", "0", "--workers", "1"]
        first = await forked.fork(arguments, made, tmp_path, stderr=errors, descriptors=(number,))
        assert (await first.stdout.readline()).startswith(b"ready http://127.0.0.1:")
        assert os.readlink(f"/proc/{first.pid}/cwd") == str(tmp_path)
        assert os.readlink(f"/proc/{first.pid}/fd/{number}") == os.readlink(f"/proc/self/fd/{number}")
        assert os.readlink(f"/proc/{first.pid}/fd/2") == str(tmp_path / "errors")
        second = await forked.fork(arguments, made, tmp_path, stderr=errors)
        assert await second.wait() == 1, "another has the home"
        assert first.returncode is None
        first.send_signal(signal.SIGTERM)
        assert await first.wait() == 0
        first.send_signal(signal.SIGTERM)  # to nobody
        third = await forked.fork(arguments, made, tmp_path, stderr=errors)
        await third.stdout.readline()
        third.kill()
        assert await third.wait() == -signal.SIGKILL
    assert forked.used_seconds() > used

    pids = {first.pid, second.pid, third.pid}

    async def running() -> bool:
        return not pids.isdisjoint(map(int, filter(str.isdigit, os.listdir("/proc"))))

    await until(running, lambda there: not there, "they are waited for")


async def test_a_fork_whose_end_is_not_told_yet_may_be_killed(tmp_path: Path) -> None:
    with (tmp_path / "errors").open("wb") as errors:
        fork = await forked.fork(["--version"], environment(tmp_path / "home"), tmp_path, stderr=errors)
    end = time.monotonic() + PATIENCE
    while str(fork.pid) in os.listdir("/proc") and time.monotonic() < end:
        time.sleep(0.01)  # noqa: ASYNC251 - the event loop is not to hear of it
    assert fork.returncode is None
    fork.kill()
    assert await fork.wait() == 0


async def test_whoever_waits_is_told_that_the_server_has_ended(tmp_path: Path) -> None:
    arguments = ["run", "--home", "home", "--port", "0", "--workers", "1"]
    with (tmp_path / "errors").open("wb") as errors:
        node = await forked.fork(arguments, environment(tmp_path / "home"), tmp_path, stderr=errors)
    await node.stdout.readline()
    server = forked.server_pid()
    assert server is not None
    os.kill(server, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="the fork server ended"):
        await node.wait()
    os.kill(node.pid, signal.SIGKILL)


def test_what_is_read_when_an_interpreter_starts_takes_a_new_one(tmp_path: Path) -> None:
    made = environment(tmp_path)
    assert forked.can_fork(made)
    assert forked.can_fork({**made, "GUESTHOUSE_NODE": "a.os", "LISTEN_FDS": "1"}, (3, 4))
    for name in ("PYTHONTRACEMALLOC", "LD_PRELOAD", "LC_ALL", "TZ", "COVERAGE_PROCESS_CONFIG"):
        assert not forked.can_fork({**made, name: "1"})
    assert not forked.can_fork(made, (5000,))
