from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from msgspec.structs import replace
from tests.tiers import thorough_after

from guesthouse.core.address import ProcessId
from guesthouse.core.config import ProcessLimits, RestartSettings, Settings
from guesthouse.kernel.messaging.router import Router
from guesthouse.kernel.messaging.worker_operations import WorkerOperations
from guesthouse.kernel.process.process import ProcessState
from guesthouse.kernel.supervision.supervised import NameTaken, NoSuchProcess, ProcessNotStarted
from guesthouse.kernel.supervision.supervisor import Supervisor
from guesthouse.kernel.workers.placement import Isolation, Placement
from guesthouse.kernel.workers.pool import Worker, WorkerEvents, WorkerFailed, Workers
from guesthouse.package.spec import ProcessSpec

from .conftest import OnlyReady, nothing_kept

pytestmark = pytest.mark.slow

CHAT = ProcessId.parse("chat:chat:a.os")
FAKE_WORKER = [sys.executable, str(Path(__file__).with_name("fake_worker.py"))]


class Compiled:
    """A compiler for components that need none."""

    async def compiled(self, component: Path, package: str) -> Path:
        return component


class Socket:
    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class House:
    """A supervisor with real worker subprocesses that run no wasm, and channels that only record."""

    def __init__(
        self,
        kernel: Any,
        router: Router,
        supervisor: Supervisor,
        workers: Workers,
        became_ready: asyncio.Event,
    ) -> None:
        self.kernel = kernel
        self.log, self.http, self.router = kernel.log, kernel.http, router
        self.supervisor, self.workers = supervisor, workers
        self.pushed: asyncio.Queue[str] = asyncio.Queue()
        self.gone: asyncio.Queue[str] = asyncio.Queue()
        self.became_ready = became_ready

    async def add(self, on_exit: Literal["none", "restart"] = "restart", name: str = "good") -> Any:
        return await self.supervisor.add(spec(on_exit, name))

    def say(self, payload: bytes, channel: int = 7) -> None:
        process = self.router.find(CHAT)
        assert process is not None
        process.post_push(channel, 0, payload, Socket())

    async def both_ready(self) -> None:
        while len([worker for worker in self.workers.alive() if worker.ready]) < 2:
            self.became_ready.clear()
            await self.became_ready.wait()

    async def heard(self) -> str:
        return await self.pushed.get()


def spec(on_exit: Literal["none", "restart"] = "restart", name: str = "good") -> ProcessSpec:
    return ProcessSpec(CHAT, Path(f"/{name}.cwasm"), on_exit, public=True, ui=None)


@pytest.fixture
async def house(new_kernel: Callable[..., Any], request: pytest.FixtureRequest) -> AsyncIterator[House]:
    kernel = new_kernel()
    settings = Settings(
        node="home.os",
        restart=RestartSettings(first_delay=0.05, longest_delay=0.2, healthy_after=60),
        process=getattr(request, "param", ProcessLimits()),
    )
    router, log, http = kernel.router, kernel.log, kernel.http
    became_ready = asyncio.Event()

    def operations(worker: Worker, on_ready: Callable[[], None]) -> WorkerOperations:
        def ready() -> None:
            on_ready()
            became_ready.set()

        return WorkerOperations(
            worker.runs,
            router,
            http,
            kernel.calls,
            log,
            supervisor,
            ready,
            worker.pong,
            lambda process: None,
        )

    def pool(events: WorkerEvents) -> Workers:
        return Workers(Placement(Isolation.SHARED, 2, 2), log, operations, events, FAKE_WORKER)

    supervisor = Supervisor(router, Compiled(), settings, log, pool, nothing_kept, lambda process: None)
    workers = supervisor.workers
    house = House(kernel, router, supervisor, workers, became_ready)
    http.push = lambda owner, channel, kind, payload: house.pushed.put_nowait(payload.decode())
    http.process_gone = lambda owner, reason: house.gone.put_nowait(reason)
    async with workers:
        yield house
        await supervisor.close()


async def test_a_process_that_traps_returns_with_its_channels_and_waiting_messages(house: House) -> None:
    process = await house.add()
    house.http.open_channel(CHAT, 7)
    assert await house.heard() == "1 told of 7 resumed=False"
    for payload in (b"one", b"trap", b"two"):
        house.say(payload)
    assert await house.heard() == "1 got one"
    assert await house.heard() == "2 told of 7 resumed=True"
    assert await house.heard() == "2 got two"
    assert process.state is ProcessState.RUNNING
    assert "trapped: the guest's own words (the push of channel 7 is not delivered again)" in house.log


async def test_a_process_that_keeps_trapping_waits_longer_each_time(house: House) -> None:
    await house.add()
    house.http.open_channel(CHAT, 7)
    for _ in range(4):
        house.say(b"trap")
    house.say(b"still here")
    while await house.heard() != "5 got still here":
        pass
    pauses = [text for _, _, text in house.log.lines if text.startswith("is started again")]
    assert pauses == ["is started again in 0.05 s", "is started again in 0.1 s", "is started again in 0.2 s"]


@pytest.mark.parametrize("last_words", [b"trap", b"return", b"die"])
async def test_a_process_without_restart_is_gone_when_its_run_ends(house: House, last_words: bytes) -> None:
    process = await house.add("none")
    house.http.open_channel(CHAT, 7)
    house.say(last_words)
    await house.gone.get()
    assert process.gone
    assert house.router.find(CHAT) is None


@pytest.mark.parametrize(
    ("last_words", "in_log"),
    thorough_after(1, [(b"die", "status 9"), (b"garbage", "a malformed link frame")], names=2),
)
async def test_a_lost_worker_is_replaced_and_its_processes_go_on_elsewhere(
    house: House, last_words: bytes, in_log: str
) -> None:
    await house.add()
    house.http.open_channel(CHAT, 7)
    await house.heard()
    house.say(last_words)
    house.say(b"after")
    heard = [await house.heard()]
    while heard[-1] != "2 got after":
        heard.append(await house.heard())
    assert "2 told of 7 resumed=True" in heard
    await house.both_ready()
    assert in_log in house.log
    assert "lost its worker" in house.log


async def test_a_message_that_ends_every_worker_is_given_up(house: House) -> None:
    await house.add()
    house.http.open_channel(CHAT, 7)
    await house.heard()
    house.say(b"poison")
    house.say(b"after")
    while not (await house.heard()).endswith("got after"):
        pass
    ends = [text for _, _, text in house.log.lines if text.startswith("lost its worker")]
    assert len(ends) == 3
    assert ends[-1].endswith("(the push of channel 7 is not delivered again)")


async def test_killed_workers_lose_nothing_that_the_guest_had_not_taken(house: House) -> None:
    await house.add()
    house.http.open_channel(CHAT, 7)
    sent = [f"message {number}" for number in range(300)]
    got: list[str] = []
    for number, text in enumerate(sent):
        house.say(text.encode())
        if number % 100 == 50:
            worker = next(worker for worker in house.workers.alive() if worker.runs)
            os.kill(worker.os_pid, signal.SIGKILL)
            await house.log.has("runs on", 2 + number // 100)
    while not got or got[-1] != sent[-1]:
        heard = await house.heard()
        if " got " in heard:
            got.append(heard.partition(" got ")[2])
    assert got == sorted(set(got), key=sent.index), "delivered twice or out of order"
    assert len(sent) - len(got) <= 3, "at most the one message in hand for each death"


@pytest.mark.parametrize(("name", "why"), [("bad", "unknown import x:y/z"), ("kills", "worker-")])
async def test_a_process_that_never_asks_for_a_message_is_said_so_and_forgotten(
    house: House, name: str, why: str
) -> None:
    with pytest.raises(ProcessNotStarted, match=rf"chat:chat:a\.os cannot be started: {why}"):
        await house.add(name=name)
    assert house.router.find(CHAT) is None


async def test_a_process_that_traps_at_its_start_is_left_to_its_on_exit(house: House) -> None:
    await house.add("none", name="traps")
    assert house.router.find(CHAT) is None
    assert "unreachable" in house.log


async def test_a_process_may_do_its_work_and_return_without_a_message(house: House) -> None:
    await house.add("none", name="returns")
    assert house.router.find(CHAT) is None


async def test_an_id_is_taken_once(house: House) -> None:
    await house.add()
    with pytest.raises(NameTaken, match="give one of them another id"):
        await house.add()


async def test_a_replaced_process_keeps_its_channels_and_messages(house: House) -> None:
    process = await house.add()
    house.http.open_channel(CHAT, 7)
    assert await house.heard() == "1 told of 7 resumed=False"
    replacing = asyncio.ensure_future(house.supervisor.replace(spec(name="better")))
    await asyncio.sleep(0)
    house.say(b"meanwhile")
    await replacing
    assert [await house.heard(), await house.heard()] == ["2 told of 7 resumed=True", "2 got meanwhile"]
    assert process.component == Path("/better.cwasm")
    assert house.gone.empty()


@pytest.mark.parametrize(
    ("name", "why"), [("bad", "unknown import x:y/z"), ("traps", "unreachable"), ("returns", "returned")]
)
async def test_a_component_that_cannot_start_is_given_up_for_the_one_before(
    house: House, name: str, why: str
) -> None:
    process = await house.add()
    house.http.open_channel(CHAT, 7)
    await house.heard()
    with pytest.raises(ProcessNotStarted, match=why):
        await house.supervisor.replace(replace(spec("none", name), public=False))
    assert (process.on_exit, process.public) == ("restart", True)
    house.say(b"still there?")
    while await house.heard() != "3 got still there?":
        pass
    assert process.component == Path("/good.cwasm")
    assert why in house.log


async def test_one_that_is_added_strictly_and_traps_before_it_asks_is_gone(house: House) -> None:
    with pytest.raises(ProcessNotStarted, match="unreachable"):
        await house.supervisor.add(spec(name="traps"), strict=True)
    assert house.router.find(CHAT) is None


FIRST_SECONDS = 2
"""Far longer than one takes that asks at once, on a busy machine too."""

IMPATIENT = pytest.mark.parametrize(
    "house", [ProcessLimits(first_message_seconds=FIRST_SECONDS)], indirect=True
)


@IMPATIENT
async def test_a_version_that_never_asks_for_a_message_is_given_up_for_the_one_before(house: House) -> None:
    process = await house.add()
    house.http.open_channel(CHAT, 7)
    await house.heard()
    replacing = asyncio.ensure_future(house.supervisor.replace(replace(spec("none", "idles"), public=False)))
    await asyncio.sleep(0)
    house.say(b"meanwhile")
    with pytest.raises(ProcessNotStarted, match=r"has not asked for a message in 2 s"):
        await replacing
    assert (process.on_exit, process.public) == ("restart", True)
    assert [await house.heard(), await house.heard()] == ["3 told of 7 resumed=True", "3 got meanwhile"]
    assert house.gone.empty()
    assert "has not asked for a message in 2 s: it is given up" in house.log


@IMPATIENT
async def test_one_that_is_added_strictly_and_never_asks_for_a_message_is_gone(house: House) -> None:
    with pytest.raises(ProcessNotStarted, match="has not asked for a message"):
        await house.supervisor.add(spec(name="idles"), strict=True)
    assert house.router.find(CHAT) is None
    assert not any(worker.runs for worker in house.workers.alive())


@IMPATIENT
async def test_one_that_takes_long_is_left_to_itself_when_there_is_nothing_to_go_back_to(
    house: House,
) -> None:
    process = await house.add(name="idles")
    assert process.state is ProcessState.STARTING
    assert "continues without waiting for it" in house.log


async def test_only_a_process_whose_manifest_says_so_is_asked_to_hand_over(house: House) -> None:
    await house.supervisor.add(replace(spec(), handover=True))
    house.http.open_channel(CHAT, 7)
    await house.heard()
    await house.supervisor.replace(replace(spec(), version="2.0"))
    asked = '1 asked home.os@kernel:distro:sys {"handover": {"version": "2.0", "seconds": 5.0}}'
    assert [await house.heard(), await house.heard()] == [asked, "2 told of 7 resumed=True"]
    await house.supervisor.replace(spec())
    assert await house.heard() == "3 told of 7 resumed=True"


@pytest.mark.parametrize("house", [ProcessLimits(handover_seconds=0.05)], indirect=True)
async def test_a_run_that_does_not_finish_in_its_time_is_stopped(house: House) -> None:
    await house.add(name="stubborn")
    house.http.open_channel(CHAT, 7)
    await house.heard()
    await house.supervisor.replace(spec())
    assert await house.heard() == "2 told of 7 resumed=True"
    assert "did not finish within 0.05 s" in house.log


async def test_a_worker_that_does_not_stop_a_run_is_ended(house: House) -> None:
    await house.add()
    house.http.open_channel(CHAT, 7)
    await house.heard()
    house.say(b"hang")
    await house.supervisor.stop(CHAT, "asked to")
    assert house.router.find(CHAT) is None
    assert "did not stop chat:chat:a.os within" in house.log
    with pytest.raises(NoSuchProcess):
        await house.supervisor.stop(CHAT, "asked to")


async def test_one_that_is_killed_and_then_stopped_ends(house: House) -> None:
    process = await house.add()
    house.http.open_channel(CHAT, 7)
    await house.heard()
    house.say(b"hang")
    await asyncio.gather(house.supervisor.kill(CHAT), house.supervisor.stop(CHAT, "asked to"))
    assert process.gone
    assert house.router.find(CHAT) is None


async def test_one_that_is_being_stopped_is_neither_restarted_nor_replaced(house: House) -> None:
    process = await house.add()
    stopping = asyncio.ensure_future(house.supervisor.stop(CHAT, "asked to"))
    await asyncio.sleep(0)
    with pytest.raises(NoSuchProcess, match="is being stopped"):
        await house.supervisor.restart(CHAT)
    with pytest.raises(NoSuchProcess, match="is being stopped"):
        await house.supervisor.replace(spec(name="better"))
    await stopping
    assert process.gone


@IMPATIENT
async def test_one_that_is_given_up_while_another_replaces_it_runs_as_that(house: House) -> None:
    adding = asyncio.ensure_future(house.supervisor.add(spec(name="idles"), strict=True))
    await house.log.has("it is given up")
    await house.supervisor.replace(spec())
    process = await adding
    assert process.component == Path("/good.cwasm")
    assert process.state is ProcessState.RUNNING


async def test_the_least_loaded_worker_takes_the_next_process(house: House) -> None:
    await house.both_ready()
    for number in range(4):
        process_id = ProcessId("p", str(number), "a.os")
        await house.supervisor.add(ProcessSpec(process_id, Path("/good"), "none", public=True, ui=None))
    assert [len(worker.runs) for worker in house.workers.alive()] == [2, 2]


class Nobody:
    def worker_ready(self, worker: Worker) -> None:
        pass

    def worker_lost(self, worker: Worker) -> None:
        pass


async def test_a_worker_that_cannot_start_is_said_with_its_last_words(new_kernel: Callable[..., Any]) -> None:
    kernel = new_kernel()
    placement = Placement(Isolation.SHARED, 1, 1)
    command = [*FAKE_WORKER, "--dies"]
    workers = Workers(placement, kernel.log, lambda _, ready: OnlyReady(ready), Nobody(), command)
    with pytest.raises(WorkerFailed, match="status 3: this machine is too old"):
        await workers.__aenter__()


async def test_workers_get_no_environment_and_a_session_of_their_own(house: House) -> None:
    (worker, *_) = house.workers.alive()
    names = await asyncio.to_thread(environment_of, worker.os_pid)
    assert names <= {"PYTHONPATH", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONHOME", "TMPDIR"}
    assert os.getsid(worker.os_pid) == worker.os_pid


def environment_of(os_pid: int) -> set[str]:
    entries = Path(f"/proc/{os_pid}/environ").read_text().split("\0")
    return {entry.partition("=")[0] for entry in entries if entry}


@pytest.mark.thorough
@IMPATIENT
async def test_a_process_is_not_blamed_for_the_time_in_which_its_own_worker_starts(house: House) -> None:
    placement = Placement(Isolation.PACKAGE, 1, 2)
    placement.enter("first:test.os")  # has the worker that there is at the start
    kernel, supervisor = house.kernel, house.supervisor

    def operations(worker: Worker, on_ready: Callable[[], None]) -> WorkerOperations:
        return WorkerOperations(
            worker.runs,
            house.router,
            kernel.http,
            kernel.calls,
            kernel.log,
            supervisor,
            on_ready,
            worker.pong,
            lambda process: None,
        )

    async with Workers(placement, kernel.log, operations, supervisor, [*FAKE_WORKER, "--slow"]) as workers:
        supervisor.workers = workers
        process = await supervisor.add(spec(), strict=True)
        assert process.run is not None
        assert (process.state, process.run.worker) == (ProcessState.RUNNING, "worker-1")
        await supervisor.stop(CHAT, "the test is over")
