"""`isolation = "package"`: which worker runs whose guests, asked of the operating system."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import signal
from pathlib import Path

from .clients import ECHO_C, MAYFLY, ROGUE, registered
from .conftest import StartNode
from .daemon import Daemon, run_command
from .packages import package
from .waiting import Subprocess, until

ALONE = {"isolation": "package"}


def mapped(worker: Subprocess) -> set[str]:
    """The compiled components that a worker has mapped, whatever number of modules each has."""
    try:
        maps = Path(f"/proc/{worker.pid}/maps").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return set()
    return set(re.findall(r"/compiled/([^.\s]+)", maps))


async def worker_of(daemon: Daemon, name: str) -> Subprocess:
    """The worker that has mapped a package's component."""
    folder = await asyncio.to_thread(package, name)
    digest = hashlib.sha256((folder / f"build/{name}.wasm").read_bytes()).hexdigest()
    (worker,) = (w for w in daemon.workers() if any(digest in component for component in mapped(w)))
    return worker


async def placed(daemon: Daemon) -> dict[str, str]:
    """The worker of each process that runs."""
    return {name: item["worker"] for name, item in (await daemon.ps()).items() if item["worker"]}


async def test_each_package_has_a_worker_that_maps_its_components_alone(start: StartNode) -> None:
    daemon = await start("echo-c", "rogue", "puppet", settings=ALONE)
    places = await placed(daemon)
    assert places[ROGUE] == places[MAYFLY]
    assert len(set(places.values())) == 3
    workers = daemon.workers()
    assert {await worker_of(daemon, name) for name in ("echo-c", "rogue", "puppet")} == workers
    assert [len(mapped(worker)) for worker in workers] == [1, 1, 1]


async def test_a_killed_worker_is_replaced_for_its_package_and_no_other_notices(start: StartNode) -> None:
    daemon = await start("echo-c", "rogue", settings=ALONE)
    token = await daemon.token()
    before = await placed(daemon)
    old = daemon.workers()
    of_rogue = await worker_of(daemon, "rogue")
    async with registered(daemon, ECHO_C, token) as echo:
        os.kill(of_rogue.pid, signal.SIGKILL)
        await daemon.log_line(ROGUE, "lost its worker")
        assert await echo.ask("still here") == "still here"

        async def now() -> dict[str, str]:
            return await placed(daemon)

        back = await until(now, lambda places: ROGUE in places, "rogue is not back")
    assert back[ROGUE] == before[ROGUE]
    assert back[ECHO_C] == before[ECHO_C]
    assert len(daemon.workers()) == 2
    assert len(daemon.workers() & old) == 1
    assert (await daemon.ps())[ECHO_C]["restarts"] == 0


async def test_a_worker_ends_with_the_last_process_of_its_package_and_is_nobody_elses(
    start: StartNode,
) -> None:
    daemon = await start("echo-c", "rogue", settings=ALONE)
    places = await placed(daemon)
    of_echo = await worker_of(daemon, "echo-c")
    await daemon.ask("stop", process=ECHO_C)
    await daemon.log_line(places[ECHO_C], "stopping: echo-c:guesthouse.os has no processes left")

    async def workers() -> set[Subprocess]:
        return daemon.workers()

    await until(workers, lambda left: of_echo not in left, "the worker of a package that is gone lives")
    await daemon.ask("restart", process=ECHO_C)
    again = await placed(daemon)
    assert again[ROGUE] == places[ROGUE]
    assert again[ECHO_C] not in places.values()
    async with registered(daemon, ECHO_C, await daemon.token()) as echo:
        assert await echo.ask("hello") == "hello"


async def test_a_package_too_many_is_refused_by_name_and_the_others_run_on(start: StartNode) -> None:
    daemon = await start("echo-c", settings={**ALONE, "most_workers": 1})
    refused = await daemon.cli("install", await asyncio.to_thread(package, "puppet"), "--yes")
    assert refused.code != 0
    assert "puppet:test.os needs a worker of its own, and all 1 belong to other packages" in (refused.stderr)
    assert len(daemon.workers()) == 1
    async with registered(daemon, ECHO_C, await daemon.token()) as echo:
        assert await echo.ask("hello") == "hello"


async def test_an_unknown_isolation_is_refused_with_those_there_are(tmp_path: Path) -> None:
    ran = await run_command(tmp_path / "home", "run", settings={"isolation": "process"})
    assert ran.code != 0
    assert "GUESTHOUSE_ISOLATION must be one of shared, package, not 'process'" in ran.stderr
