"""A kernel without its neighbours: scripted workers on real socketpairs, and an HTTP server that only records."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Container, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.wire import FrameReader, ToNode, to_node

from guesthouse.core.address import Address, ProcessId
from guesthouse.core.config import ProcessLimits, Settings
from guesthouse.core.messages import LazyLoadBlob, Pairs, WebSocketOpen
from guesthouse.core.ports import ChannelInfo, RouterPort
from guesthouse.kernel.messaging.router import Router
from guesthouse.kernel.messaging.worker_operations import WorkerOperations
from guesthouse.kernel.process.process import Process, Run
from guesthouse.kernel.storage import capability_store, process_state
from guesthouse.kernel.storage.database import State
from guesthouse.kernel.tracing.traced_operations import TracedOperations, TracedReplies
from guesthouse.kernel.tracing.traced_process import TracedProcess
from guesthouse.kernel.tracing.tracer import Tracer
from guesthouse.link.calls import (
    AwaitRoom,
    BindHttpPath,
    BindWsPath,
    CallHandlers,
    Reply,
    ServeUi,
    SetChannelPolicy,
    Spawn,
    UnbindHttpPath,
    UnbindWsPath,
)
from guesthouse.link.endpoint import NodeEnd, connect
from guesthouse.link.frames import LinkError
from guesthouse.link.schema import Message
from guesthouse.link.to_node import Ready
from guesthouse.link.to_node import ToNode as AnyToNode


class Lines:
    """A log that a test can read."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str]] = []
        self._written = asyncio.Event()

    def write(self, source: str, level: str, text: str, *, stream: str = "host", channel_id: int = 0) -> None:
        self.lines.append((source, level, text))
        self._written.set()

    async def has(self, part: str, times: int = 1) -> None:
        """Return once `part` was written so often."""
        while sum(part in text for _, _, text in self.lines) < times:
            self._written.clear()
            await self._written.wait()

    def __contains__(self, part: str) -> bool:
        return any(part in text for _, _, text in self.lines)


class RecordingHttp:
    """What the kernel asks of an HTTP server, as a list; channels are kept so that they can be reopened."""

    def __init__(self, router: RouterPort) -> None:
        self.router = router
        self.asked: list[tuple[Any, ...]] = []
        self.channels: dict[int, ProcessId] = {}
        self.handed_on: Callable[[], int] | None = None
        """Gives the request that stands for an HTTP request which is handed on; None when there is none."""

    def open_channel(self, owner: ProcessId, channel_id: int) -> None:
        self.channels[channel_id] = owner
        process = self.router.find(owner)
        assert process is not None
        process.post_open(WebSocketOpen(channel_id, "/"), 1000)

    def push(self, owner: ProcessId, channel_id: int, message_type: int, payload: bytes) -> None:
        self.asked.append(("push", owner, channel_id, message_type, payload))

    def push_many(
        self, owner: ProcessId, channel_ids: Sequence[int], message_type: int, payload: bytes
    ) -> None:
        self.asked.append(("push_many", owner, tuple(channel_ids), message_type, payload))

    def close_channel(self, owner: ProcessId, channel_id: int, code: int, reason: str) -> None:
        self.asked.append(("close_channel", owner, channel_id, code, reason))

    def http_response(
        self, owner: ProcessId, http_id: int, status: int, headers: Pairs, mime: str | None, body: bytes
    ) -> None:
        self.asked.append(("http_response", owner, http_id, status, headers, mime, body))

    def hand_on_http(self, owner: ProcessId, http_id: int) -> int:
        self.asked.append(("hand_on_http", owner, http_id))
        return 0 if self.handed_on is None else self.handed_on()

    def set_channel_policy(self, owner: ProcessId, call: SetChannelPolicy) -> str | None:
        self.asked.append(("set_channel_policy", owner, call.channel_id, call.policy))
        return None if self.channels.get(call.channel_id) == owner else "channel-not-found"

    def when_room(self, process: Process, call: AwaitRoom, reply: Reply) -> None:
        self.asked.append(("when_room", process.id, call.channel_id, call.size))
        reply(None if self.channels.get(call.channel_id) == process.id else "channel-not-found")

    def bind_ui(self, owner: ProcessId, call: ServeUi) -> str | None:
        self.asked.append(("bind_ui", owner, call))
        return None

    def bind_ws_path(self, owner: ProcessId, call: BindWsPath) -> str | None:
        self.asked.append(("bind_ws_path", owner, call))
        return None if call.path.startswith("/") else "bad-path"

    def unbind_ws_path(self, owner: ProcessId, call: UnbindWsPath) -> None:
        self.asked.append(("unbind_ws_path", owner, call.path))

    def bind_http_path(self, owner: ProcessId, call: BindHttpPath) -> str | None:
        self.asked.append(("bind_http_path", owner, call))
        return None

    def unbind_http_path(self, owner: ProcessId, call: UnbindHttpPath) -> None:
        self.asked.append(("unbind_http_path", owner, call.path))

    def register(self, calls: CallHandlers) -> None:
        calls.at_once(BindWsPath, self.bind_ws_path)
        calls.at_once(UnbindWsPath, self.unbind_ws_path)
        calls.at_once(BindHttpPath, self.bind_http_path)
        calls.at_once(UnbindHttpPath, self.unbind_http_path)
        calls.at_once(ServeUi, self.bind_ui)
        calls.at_once(SetChannelPolicy, self.set_channel_policy)
        calls.later(AwaitRoom, self.when_room)

    def request(
        self, source: Address, body: bytes, blob: LazyLoadBlob | None, leave_waiting: Callable[[], int]
    ) -> bytes:
        self.asked.append(("request", source, body, blob))
        return b'{"Err":"NoBlob"}' if blob is None else b'{"Ok": null}'

    def reopen(self, owner: ProcessId) -> None:
        process = self.router.find(owner)
        assert process is not None
        for channel_id in [channel for channel, its_owner in self.channels.items() if its_owner == owner]:
            process.post_open(WebSocketOpen(channel_id, "/", resumed=True), 1000)

    def run_ended(self, owner: ProcessId, kept: Container[int]) -> None:
        self.asked.append(("run_ended", owner, sorted(each for each in range(100) if each in kept)))

    def process_gone(self, owner: ProcessId, reason: str) -> None:
        self.asked.append(("process_gone", owner, reason))
        self.channels = {channel: its for channel, its in self.channels.items() if its != owner}

    def open_channels(self, owner: ProcessId | None = None) -> Sequence[ChannelInfo]:
        return ()


class Ends:
    """Ends of runs, as a list."""

    def __init__(self) -> None:
        self.ended: list[tuple[ProcessId, str, str]] = []

    def run_started(self, process: Process) -> None:
        process.run_started()

    def run_ended(self, process: Process, cause: str, detail: str) -> None:
        self.ended.append((process.id, cause, detail))
        process.end_run()


class OnlyReady:
    """Hears that a worker is ready, and nothing else. See `Receiver`."""

    def __init__(self, ready: Callable[[], None]) -> None:
        self._ready = ready

    def handle(self, message: AnyToNode) -> None:
        if isinstance(message, Ready):
            self._ready()

    def unsendable(self, message: Message, error: Exception) -> None:
        raise error


async def nothing_kept(process: Process) -> None:
    """Earlier lives of the node left nothing for it."""


def host_calls(router: Router, http: RecordingHttp, state: State) -> CallHandlers:
    """What carries out calls, where nobody has children."""
    calls = CallHandlers()
    http.register(calls)
    process_state.register(calls, state, router.rights.missing_to_keep)
    capability_store.register(calls, state)
    calls.later(Spawn, lambda process, call, reply: reply("no-file-at-path"))
    calls.check()
    return calls


class ScriptedWorker:
    """The worker's end of a link, driven by a test: `say` speaks, `hear` waits for operations."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._reader = FrameReader(of_worker=False)
        self._heard: list[list[Any]] = []
        self.link: NodeEnd
        self.runs: dict[int, Process] = {}
        self.fault: LinkError | None = None
        self.lost = asyncio.Event()
        self.asked = False
        """Whether the node asked if it is alive."""

    async def say(self, *operations: list[Any]) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._sock, to_node(*operations))

    async def hear(self, count: int = 1) -> list[list[Any]]:
        loop = asyncio.get_running_loop()
        while len(self._heard) < count:
            data = await loop.sock_recv(self._sock, 65536)
            assert data, "the node closed the link"
            self._heard.extend(self._reader.feed(data))
        heard, self._heard = self._heard[:count], self._heard[count:]
        return heard

    async def settled(self, handle: int) -> None:
        """Return once the node has carried out everything said so far."""
        await self.say([ToNode.CALL, handle, 999, "unbind-ws-path", ["/settled"]])
        while (await self.hear())[0][:3] != [10, handle, 999]:
            raise AssertionError("the node said something that the test did not expect")

    def on_lost(self, fault: LinkError | None) -> None:
        self.fault = fault
        self.lost.set()

    def close(self) -> None:
        self.link.abort()
        self._sock.close()


class Kernel:
    """A router with processes that run on scripted workers."""

    def __init__(
        self, settings: Settings, state_path: Path, tracer: Tracer | None = None, incoming: str = "link"
    ) -> None:
        self.log = Lines()
        self.settings = settings
        self.http: RecordingHttp
        self.tracer, self._incoming, replies = tracer, incoming, TracedReplies(self.log)
        if tracer is not None:
            replies.tracer = tracer
        self.router = Router(settings, self.log, self._make_http, replies=None if tracer is None else replies)
        self.state = State(state_path, settings.process.state_bytes, self.log)
        self.ends = Ends()
        self.calls = host_calls(self.router, self.http, self.state)
        self._last_handle = 0
        self._workers: list[ScriptedWorker] = []

    async def worker(self) -> ScriptedWorker:
        ours, theirs = socket.socketpair()
        worker = ScriptedWorker(theirs)
        operations = WorkerOperations(
            worker.runs,
            self.router,
            self.http,
            self.calls,
            self.log,
            self.ends,
            lambda: None,
            lambda: worker.asked,
            lambda process: None,
            None
            if self.tracer is None
            else TracedOperations(self.tracer, self.router, self.http, self.log).handlers,
        )
        worker.link = await connect(ours, operations.handle, worker.on_lost, operations.unsendable)
        self._workers.append(worker)
        return worker

    def _make_http(self, router: RouterPort) -> RecordingHttp:
        self.http = RecordingHttp(router)
        return self.http

    def process(self, worker: ScriptedWorker, name: str, *, public: bool = True) -> tuple[Process, int]:
        """Add a process that runs on `worker`; returns it and its handle."""
        make = Process if self.tracer is None else partial(TracedProcess, self.tracer, self._incoming)
        process = make(
            ProcessId.parse(name),
            Path("/none.cwasm"),
            public=public,
            on_exit="none",
            mailbox_bytes=self.settings.process.mailbox_bytes,
            holdings=self.router.rights.holdings(ProcessId.parse(name), ()),
        )
        self.router.add(process)
        return process, self.run(worker, process)

    def run(self, worker: ScriptedWorker, process: Process) -> int:
        self._last_handle += 1
        handle = self._last_handle
        worker.runs[handle] = process
        process.begin_run(Run(handle, "worker-0", 0.0, worker.link.send), self.http.reopen)
        process.run_started()
        return handle

    async def close(self) -> None:
        for worker in self._workers:
            worker.close()
        self.router.close()
        await self.state.close()


@pytest.fixture
async def new_kernel(tmp_path: Path) -> AsyncIterator[Callable[..., Kernel]]:
    kernels: list[Kernel] = []

    def make(tracer: Tracer | None = None, incoming: str = "link", **limits: int) -> Kernel:
        settings = Settings(node="home.os", process=ProcessLimits(**limits))
        kernels.append(Kernel(settings, tmp_path / f"state{len(kernels)}.sqlite", tracer, incoming))
        return kernels[-1]

    yield make
    for kernel in kernels:
        await kernel.close()


@pytest.fixture
async def kernel(new_kernel: Callable[..., Kernel]) -> Kernel:
    return new_kernel()
