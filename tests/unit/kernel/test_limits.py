"""Every limit that the kernel holds processes to, at its edge: one less, the limit, one more.

Real routers, real storage; what is timed is driven, not waited for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

import pytest
from tests.wire import Call, ToNode, ToWorker

from guesthouse.core.address import Address, ProcessId
from guesthouse.core.capabilities import KERNEL, SPAWN, of_node
from guesthouse.core.config import PackageLimits, ProcessLimits, RestartSettings, Settings
from guesthouse.core.exit_cause import ExitCause
from guesthouse.core.messages import LazyLoadBlob
from guesthouse.kernel.messaging.modules import Module, ModuleRequest
from guesthouse.kernel.messaging.pending_requests import REQUEST_OVERHEAD
from guesthouse.kernel.messaging.router import Router
from guesthouse.kernel.process.mailbox import MESSAGE_OVERHEAD
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.storage.database import State
from guesthouse.kernel.supervision.backoff import Backoff
from guesthouse.kernel.supervision.children import Children
from guesthouse.kernel.supervision.spawner import Spawner
from guesthouse.kernel.supervision.supervised import ProcessNotStarted
from guesthouse.kernel.supervision.supervisor import Supervisor
from guesthouse.kernel.workers.pool import Worker, Workers
from guesthouse.link.calls import Spawn, Spawned
from guesthouse.link.schema import Message
from guesthouse.link.to_worker import Finish, Start, Stop
from guesthouse.modules.drives import FILE_OVERHEAD
from guesthouse.modules.kv import ENTRY_BYTES, Kv
from guesthouse.modules.registry import TABLES
from guesthouse.modules.vfs import Vfs
from guesthouse.package.spec import ProcessSpec

from ..driven import MOMENT, SECONDS, DrivenLoop, in_driven_time, settled
from .conftest import Kernel, Lines, RecordingHttp, nothing_kept
from .test_router import CHAT, OTHER, send

LIMIT: Final = 10_000
"""Of what is counted in bytes."""

OVERS: Final = (-1, 0, 1)
NewKernel = Callable[..., Kernel]
Edge = Callable[[NewKernel, Path, int], Awaitable[None]]


def is_late(over: int) -> bool:
    """Whether time is over: at the limit, a time-out has come."""
    return over >= 0


# Messages


async def mailbox_bytes(new_kernel: NewKernel, _: Path, over: int) -> None:
    """As much waits as may: the next message is refused, and its sender told."""
    kernel = new_kernel(mailbox_bytes=LIMIT)
    worker = await kernel.worker()
    (_process, chat), (other, _handle) = kernel.process(worker, CHAT), kernel.process(worker, OTHER)
    target = f"home.os@{OTHER}"
    size = LIMIT + over - MESSAGE_OVERHEAD - len(target) - len("{}")
    await worker.say(send(chat, target, b"x" * size), send(chat, target, b"y"))
    first, second = await worker.hear(2)
    assert (first[0], len(first[4])) == (ToWorker.REQUEST, size)
    assert second[0] == (ToWorker.SEND_FAILURE if over >= 0 else ToWorker.REQUEST)
    if over >= 0:
        assert second[2] == "mailbox-full"
        assert other.mailbox.size == LIMIT + over


async def message_bytes(new_kernel: NewKernel, _: Path, over: int) -> None:
    """A body, and a blob: what is over is given back whole."""
    kernel = new_kernel(message_bytes=LIMIT)
    worker = await kernel.worker()
    (_process, chat), _other = kernel.process(worker, CHAT), kernel.process(worker, OTHER)
    for body, blob in ((b"x" * (LIMIT + over), None), (b"", b"x" * (LIMIT + over))):
        await worker.say(send(chat, f"home.os@{OTHER}", body, blob=blob))
        (heard,) = await worker.hear()
        assert heard[0] == (ToWorker.SEND_FAILURE if over > 0 else ToWorker.REQUEST)
        if over > 0:
            assert (heard[2], heard[4], heard[10]) == ("mailbox-full", body, blob)
            assert f"is over the limit of {LIMIT} bytes" in kernel.log


async def outstanding_bytes(new_kernel: NewKernel, _: Path, over: int) -> None:
    """So much waits for responses already: another request is refused when it is more than may."""
    kernel = new_kernel(outstanding_bytes=LIMIT)
    worker = await kernel.worker()
    (_process, chat), _other = kernel.process(worker, CHAT), kernel.process(worker, OTHER)
    target = f"home.os@{OTHER}"
    size = LIMIT + over - REQUEST_OVERHEAD - len(target) - len("{}")
    await worker.say(send(chat, target, b"x" * size, expects=60), send(chat, target, expects=60))
    first, second = await worker.hear(2)
    assert first[0] == ToWorker.REQUEST
    assert second[0] == (ToWorker.SEND_FAILURE if over > 0 else ToWorker.REQUEST)
    assert ("too many of its requests are pending" in kernel.log) is (over > 0)


# What is kept


async def state_bytes(new_kernel: NewKernel, _: Path, over: int) -> None:
    kernel = new_kernel(state_bytes=LIMIT)
    worker = await kernel.worker()
    _process, chat = kernel.process(worker, CHAT)
    await worker.say([ToNode.CALL, chat, 1, Call.SET_STATE, [b"x" * (LIMIT + over)]])
    refusal = ["too-big", "home.os@state:distro:sys", f'{{"bytes":{LIMIT + over}}}']
    assert await worker.hear() == [[ToWorker.REPLY, chat, 1, refusal if over > 0 else None]]
    await worker.say([ToNode.CALL, chat, 2, Call.GET_STATE, []])
    kept = None if over > 0 else b"x" * (LIMIT + over)
    assert await worker.hear() == [[ToWorker.REPLY, chat, 2, kept]]
    assert (f"keeping {LIMIT + 1} bytes was refused: it lacks the capability" in kernel.log) is (over > 0)


async def asked(module: Module, body: Any, blob: bytes) -> Any:
    """The answer of a runtime module."""
    answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    source = Address.parse(f"home.os@{CHAT}")
    module.request(
        ModuleRequest(
            source,
            json.dumps(body).encode(),
            LazyLoadBlob(None, blob),
            60,
            lambda answer, _: answered.set_result(answer),
            lambda: True,
        )
    )
    return json.loads(await answered)


@asynccontextmanager
async def storage(folder: Path) -> AsyncIterator[State]:
    state = State(folder / "kept.sqlite", LIMIT, Lines(), TABLES)
    yield state
    await state.close()


async def kv_bytes(_: NewKernel, folder: Path, over: int) -> None:
    """Two entries, of which the second fills what the first left."""
    async with storage(folder) as state:
        kv, half = Kv(state, LIMIT), b"x" * (LIMIT // 2)
        assert await asked(kv, {"db": "d", "action": {"Set": {"key": [1]}}}, half) == "Ok"
        rest = b"x" * (LIMIT - len(half) - 2 * (1 + ENTRY_BYTES) + over)
        answer = await asked(kv, {"db": "d", "action": {"Set": {"key": [2]}}}, rest)
        assert ("QuotaExceeded" in str(answer)) is (over > 0)


async def drive_bytes(_: NewKernel, folder: Path, over: int) -> None:
    """One file in one folder, whose names count too, each as often as there are names."""
    async with storage(folder) as state:
        vfs, package = Vfs(state, lambda _: None, LIMIT, LIMIT), ProcessId.parse(CHAT).package_id
        names = 2 * (len("drive") + FILE_OVERHEAD + len("file") + FILE_OVERHEAD)
        content = b"x" * (LIMIT - names + over)
        answer = await asked(vfs, {"path": f"/{package}/drive/file", "action": "Write"}, content)
        assert ("QuotaExceeded" in str(answer)) is (over > 0)


# What is timed


class Subprocess(Worker):
    """A worker that does what a test says."""

    def __init__(self) -> None:
        super().__init__("worker-0")
        self.heard: list[Message] = []

    def send(self, message: Message, size: int = 0) -> None:
        self.heard.append(message)

    def count(self, kind: type[Message]) -> int:
        return sum(type(heard) is kind for heard in self.heard)


class Stage:
    """A real supervisor in driven time, whose one worker is scripted."""

    def __init__(self, process: ProcessLimits | None = None, restart: RestartSettings | None = None) -> None:
        settings = Settings(
            node="home.os", process=process or ProcessLimits(), restart=restart or RestartSettings()
        )
        self.log = Lines()
        self.router = Router(settings, self.log, RecordingHttp)
        self.worker = Subprocess()
        self.supervisor = Supervisor(
            *(self.router, self, settings, self.log),
            lambda events: cast(Workers, self),
            nothing_kept,
            lambda process: None,
        )

    async def compiled(self, component: Path, package: str) -> Path:
        return component

    def enter(self, package: str) -> None:
        """See `Workers`: there is room for any."""

    async def there_for(self, package: str) -> None:
        """See `Workers`: it is there."""

    def leave(self, package: str) -> None:
        """See `Workers`."""

    def least_loaded(self, package: str) -> Subprocess:
        return self.worker

    async def begin(self, **how: Any) -> Process:
        return await self.supervisor.begin(spec(**how))

    def end_run(self, process: Process, cause: str) -> None:
        assert process.run is not None
        del self.worker.runs[process.run.handle]
        self.supervisor.run_ended(process, cause, "as the test wants")


def spec(on_exit: Any = "restart", version: str = "1") -> ProcessSpec:
    return ProcessSpec(
        ProcessId.parse(CHAT), Path("/none.wasm"), on_exit, public=True, ui=None, version=version
    )


async def first_message_seconds(_: NewKernel, __: Path, over: int) -> None:
    async def play(loop: DrivenLoop) -> None:
        stage = Stage(ProcessLimits(first_message_seconds=SECONDS))
        adding = asyncio.ensure_future(stage.supervisor.add(spec(), strict=True))
        await settled()
        await loop.go_through(SECONDS + over * MOMENT)
        assert stage.worker.count(Stop) == (1 if is_late(over) else 0)
        process = stage.router.find(ProcessId.parse(CHAT))
        assert process is not None
        if is_late(over):
            stage.end_run(process, ExitCause.STOPPED)
            with pytest.raises(ProcessNotStarted, match="has not asked for a message in 80 s"):
                await adding
        else:
            stage.supervisor.run_started(process)
            assert await adding is process
        stage.router.close()

    await in_driven_time(play)


async def handover_seconds(_: NewKernel, __: Path, over: int) -> None:
    async def play(loop: DrivenLoop) -> None:
        stage = Stage(ProcessLimits(handover_seconds=SECONDS))
        process = await stage.begin()
        stage.supervisor.run_started(process)
        replacing = asyncio.ensure_future(stage.supervisor.replace(spec(version="2")))
        await settled()
        assert stage.worker.count(Finish) == 1
        await loop.go_through(SECONDS + over * MOMENT)
        assert stage.worker.count(Stop) == (1 if is_late(over) else 0)
        assert ("did not finish within 80 s" in stage.log) is is_late(over)
        stage.end_run(process, ExitCause.STOPPED)
        stage.supervisor.run_started(process)
        assert await replacing is process
        stage.router.close()

    await in_driven_time(play)


async def first_delay(_: NewKernel, __: Path, over: int) -> None:
    """The first end is forgiven; after the second, the process waits so long and no longer."""

    async def play(loop: DrivenLoop) -> None:
        stage = Stage(restart=RestartSettings(first_delay=SECONDS))
        process = await stage.begin()
        for starts in (1, 2):
            stage.supervisor.run_started(process)
            assert stage.worker.count(Start) == starts
            stage.end_run(process, ExitCause.TRAP)
        await loop.pass_by(SECONDS + over * MOMENT)
        assert stage.worker.count(Start) == (3 if is_late(over) else 2)
        stage.router.close()

    await in_driven_time(play)


async def longest_delay(_: NewKernel, __: Path, over: int) -> None:
    """The delay doubles to what is one less, the limit, or one more, of which no more than the limit is waited."""
    doubled = Backoff(RestartSettings(first_delay=(SECONDS + over * MOMENT) / 4, longest_delay=SECONDS))
    pauses = [doubled.pause_after(ExitCause.TRAP, 0.0) for _ in range(4)]
    assert pauses[3] == SECONDS + min(over, 0) * MOMENT


async def healthy_after(_: NewKernel, __: Path, over: int) -> None:
    """A run that lasted so long is forgiven its end."""
    backoff = Backoff(RestartSettings(first_delay=1.0, healthy_after=SECONDS))
    assert [backoff.pause_after(ExitCause.TRAP, 0.0) for _ in range(3)] == [0.0, 1.0, 2.0]
    assert backoff.pause_after(ExitCause.TRAP, SECONDS + over * MOMENT) == (0.0 if is_late(over) else 4.0)


# How many


async def processes(_: NewKernel, folder: Path, over: int) -> None:
    """A process spawns another when its package has so many."""
    (folder / "child.wasm").write_bytes(b"")
    stage = Stage()
    limit = PackageLimits(processes=3).processes
    parent = await stage.begin()
    for number in range(limit - 2 + over):
        await stage.supervisor.begin(
            ProcessSpec(
                ProcessId.parse(f"p{number}:chat:a.os"), Path("/none.wasm"), "none", public=True, ui=None
            )
        )
    replied: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    state = State(folder / "state.sqlite", LIMIT, stage.log)
    places = stage.router, stage.supervisor, state, Children(state, lambda process: None)
    parent.holdings.requested |= {of_node("home.os", KERNEL, SPAWN)}
    async with Spawner(*places, lambda _: folder, limit, stage.log) as spawner:
        spawner.spawn(parent, Spawn("child", "/child.wasm", "none", (), (), False), replied.set_result)
        assert await replied == ("too-many" if over > 0 else Spawned("child:chat:a.os"))
    stage.router.close()
    await state.close()


OF_PROCESSES: Final[dict[str, Edge]] = {
    edge.__name__: edge
    for edge in (
        mailbox_bytes,
        message_bytes,
        outstanding_bytes,
        state_bytes,
        kv_bytes,
        drive_bytes,
        first_message_seconds,
        handover_seconds,
    )
}
OF_RESTARTS: Final[dict[str, Edge]] = {
    edge.__name__: edge for edge in (first_delay, longest_delay, healthy_after)
}
OF_PACKAGES: Final[dict[str, Edge]] = {processes.__name__: processes}
EDGES: Final = OF_PROCESSES | OF_RESTARTS | OF_PACKAGES


@pytest.mark.slow
@pytest.mark.parametrize("over", OVERS)
@pytest.mark.parametrize("name", EDGES)
async def test_a_limit_holds_at_its_edge(new_kernel: NewKernel, tmp_path: Path, name: str, over: int) -> None:
    await EDGES[name](new_kernel, tmp_path, over)
