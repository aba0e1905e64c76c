"""What the operating system says of the node, its workers and the compiler while they live."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from subprocess import PIPE

import pytest
from tests.tiers import thorough_after

from guesthouse.package.compile.job import Job, Task

from .clients import ECHO_C, registered
from .conftest import StartNode
from .daemon import Daemon, environment
from .waiting import until

LOOKS_INTO = """
import sys
for name in ("environ", "maps"):
    try:
        open(f"/proc/{sys.argv[1]}/{name}", "rb").close()
        print("open")
    except PermissionError:
        print("refused")
"""

WITHOUT = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def fails(number, error):
    return [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | error)]
x86 = os.uname().machine == "x86_64"
for right in (19, 21, 38):  # CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON: with them root may look into anything
    libc.prctl(24, right, 0, 0, 0)
code = {
    "nothing": [],
    "Landlock": fails(444, 38),
    "seccomp": fails(317 if x86 else 277, 38),
}[sys.argv[1]] + [(0x06, 0, 0, 0x7FFF0000)]
buffer = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in code))
libc.prctl(38, 1, 0, 0, 0)
if libc.prctl(22, 2, struct.pack("<H6xQ", len(code), ctypes.addressof(buffer)), 0, 0) != 0:
    sys.exit("no filter")
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
"""Runs Python on a kernel that lacks something, as far as Python can tell, and without rights that root has."""


def status(path: str | int) -> dict[str, str]:
    lines = Path(f"/proc/{path}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def of_thread(pid: int, thread: str) -> dict[str, str]:
    """Empty when it is gone: each tick has a thread of its own."""
    try:
        return status(f"{pid}/task/{thread}")
    except (FileNotFoundError, ProcessLookupError):
        return {}


def limits(pid: int) -> dict[str, tuple[str, str]]:
    text = Path(f"/proc/{pid}/limits").read_text()
    return {name: (soft, hard) for name, soft, hard in re.findall(r"^Max (.+?) {2,}(\S+) +(\S+)", text, re.M)}


def descriptors(pid: int) -> list[str]:
    names = (os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir())
    return sorted(re.sub(r"\d+", "N", re.sub(r".*/compiled/.*", "module", name)) for name in names)


def of_proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


def variables(pid: int) -> set[str]:
    return {line.partition("=")[0] for line in of_proc(pid, "environ").split("\0") if line}


def worker_of(daemon: Daemon) -> int:
    (worker,) = daemon.workers()
    return worker.pid


def interpreter_without(what: str, folder: Path) -> Path:
    """An interpreter whose kernel lacks Landlock, seccomp or nothing."""
    script = folder / "without.py"
    script.write_text(WITHOUT)
    interpreter = folder / "python"
    interpreter.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" {what} "$@"\n')
    interpreter.chmod(0o700)
    return interpreter


async def test_every_thread_of_a_worker_is_filtered_and_gains_no_privileges(start: StartNode) -> None:
    daemon = await start("echo-c")
    async with registered(daemon, ECHO_C, await daemon.token()) as client:
        assert await client.ask("hello") == "hello"
    worker = worker_of(daemon)
    seen = [found for thread in os.listdir(f"/proc/{worker}/task") if (found := of_thread(worker, thread))]
    assert len(seen) > 1  # the ticker has one
    for found in seen:
        assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")


async def test_a_worker_has_its_limits_no_environment_and_no_descriptor_but_its_own(start: StartNode) -> None:
    daemon = await start("echo-c", settings={"worker_memory_bytes": 2**36})
    worker = worker_of(daemon)
    found = limits(worker)
    assert {name: found[name] for name in ("core file size", "open files", "file size", "data size")} == {
        "core file size": ("0", "0"),
        "open files": ("16384", "16384"),
        "file size": ("0", "0"),
        "data size": (str(2**36), str(2**36)),
    }
    assert [each for each in descriptors(worker) if "/libffi." not in each] == [  # 3.8 keeps its own open
        "/dev/null",
        "/dev/null",
        "/memfd:guesthouse-to-node (deleted)",
        "/memfd:guesthouse-to-worker (deleted)",
        *["module"] * 5,  # its three, the gate through which it calls the host, and what answers from batches
        "pipe:[N]",
        "socket:[N]",
    ]
    assert variables(worker) <= {"PYTHONPATH", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONHOME", "TMPDIR"}
    assert int(of_proc(worker, "oom_score_adj")) >= 500


async def test_a_node_gains_no_privileges_and_leaves_no_core_file(start: StartNode) -> None:
    daemon = await start("echo-c")
    assert status(daemon.pid)["NoNewPrivs"] == "1"
    assert limits(daemon.pid)["core file size"] == ("0", "0")


@pytest.mark.parametrize(("inspectable", "expected"), [("false", "refused"), ("true", "open")])
async def test_other_programs_of_the_user_look_into_neither_node_nor_worker_unless_allowed(
    start: StartNode, tmp_path: Path, inspectable: str, expected: str
) -> None:
    python = interpreter_without("nothing", tmp_path)
    daemon = await start("echo-c", settings={"inspectable": inspectable}, python=python)
    for pid in (daemon.pid, *(child.pid for child in daemon.workers())):
        program = await asyncio.create_subprocess_exec(
            *(python, "-c", LOOKS_INTO, str(pid)), stdout=PIPE, stderr=PIPE
        )
        out, err = await program.communicate()
        assert (out.decode().split(), err) == ([expected] * 2, b"")


async def test_the_compiler_is_confined_before_it_reads_a_component(tmp_path: Path) -> None:
    job = Job(Task.COMPONENT, os.getpid(), 2, 1 << 20, 1 << 32, 1 << 32, 60)
    compiler = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-m", "guesthouse.package.compile.main", job.to_argument()),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env={},
    )

    async def seen() -> dict[str, str]:
        return status(compiler.pid)

    found = await until(seen, lambda seen: seen["Seccomp"] == "2", "the compiler is not filtered")
    assert found["NoNewPrivs"] == "1"
    bounds = limits(compiler.pid)
    assert bounds["core file size"] == ("0", "0")
    assert bounds["address space"] == (str(1 << 32), str(1 << 32))
    assert bounds["open files"] == ("64", "64")
    out, err = await compiler.communicate(b"no component")
    assert (compiler.returncode, out) == (3, b"")
    assert b"magic" in err or b"expected" in err, err


@pytest.mark.parametrize("what", thorough_after(1, ["Landlock", "seccomp"]))
async def test_a_kernel_that_lacks_something_is_named_in_the_log_and_the_node_runs(
    start: StartNode, tmp_path: Path, what: str
) -> None:
    daemon = await start("echo-c", python=interpreter_without(what, tmp_path))
    text = {"Landlock": "no Landlock: workers can open this user's files", "seccomp": "system call filter"}[
        what
    ]
    await daemon.log_line("worker-0", "is not fully confined", text)
    async with registered(daemon, ECHO_C, await daemon.token()) as client:
        assert await client.ask("hello") == "hello"


@pytest.mark.parametrize("what", thorough_after(1, ["Landlock", "seccomp"]))
async def test_a_node_that_requires_confinement_does_not_start_without(tmp_path: Path, what: str) -> None:
    home = tmp_path / "node" / "home"
    home.mkdir(parents=True)
    node = await asyncio.create_subprocess_exec(
        *(interpreter_without(what, tmp_path), "-m", "guesthouse", "run", "--home", home, "--port", "0"),
        stdout=PIPE,
        stderr=PIPE,
        env=environment(home, {"worker_confinement": "required"}),
    )
    out, err = await asyncio.wait_for(node.communicate(), 60)
    assert (node.returncode, out) == (1, b"")
    assert b"set worker_confinement to best-effort" in err, err
