"""Python processes have an interpreter in common: compiled once, and mapped once by a worker."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from guesthouse.wasm.artifact_files import PLAN_SUFFIX, shared_names
from guesthouse.wasm.engine.engines import engine_key

from .clients import COUNTER, ECHO, bound, registered
from .conftest import StartNode
from .daemon import Daemon
from .packages import package
from .waiting import Subprocess


async def shared_by(daemon: Daemon, name: str) -> set[str]:
    """The files of the modules that a package's component shares."""
    folder = await asyncio.to_thread(package, name)
    digest = hashlib.sha256((folder / f"build/{name}.wasm").read_bytes()).hexdigest()
    return set(shared_names(daemon.home / "compiled" / f"{digest}-{engine_key()}{PLAN_SUFFIX}").values())


def code_mapped(worker: Subprocess, file: str) -> int:
    """How often a worker has mapped the code in a file."""
    lines = Path(f"/proc/{worker.pid}/maps").read_text().splitlines()
    return sum(line.endswith(f"/{file}") and line.split()[1] == "r-xp" for line in lines)


async def test_two_python_processes_of_a_worker_run_one_interpreter(start: StartNode) -> None:
    daemon = await start("echo", "counter", workers=1)
    shared = await shared_by(daemon, "echo")
    assert shared
    assert await shared_by(daemon, "counter") == shared
    token = await daemon.token()
    async with registered(daemon, ECHO, token) as echo, bound(daemon, COUNTER, "/", token) as counter:
        assert await echo.ask("hello") == "hello"
        assert await counter.receive() == "0"
        assert await counter.ask("+") == "1"
        (worker,) = daemon.workers()
        assert [code_mapped(worker, file) for file in shared] == [1] * len(shared)
