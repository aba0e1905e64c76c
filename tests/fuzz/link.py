"""What comes out of a worker that a guest has taken over: frames, messages, and what the kernel makes of them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from guesthouse.core.address import ProcessId
from guesthouse.core.config import ProcessLimits, Settings
from guesthouse.kernel.messaging.router import Router
from guesthouse.kernel.messaging.worker_operations import WorkerOperations
from guesthouse.kernel.process.process import Process, Run
from guesthouse.kernel.storage import capability_store, process_state
from guesthouse.kernel.storage.database import State
from guesthouse.link.calls import CALLS, CallHandlers
from guesthouse.link.endpoint import connect
from guesthouse.link.frames import FrameReader, LinkError, encode, from_worker
from guesthouse.link.schema import PROTOCOL_VERSION
from guesthouse.link.to_node import Placed, Released, ToNode
from guesthouse.link.to_worker import Configure

from .catalogue import in_a_line, target

NODE: Final = "fuzz-node.os"
MAILBOX: Final = 65536
HANDLES: Final = {1: ProcessId.parse("chat:chat:test.os"), 2: ProcessId.parse("echo:echo:test.os")}


@target()
def link_frames(data: bytes) -> None:
    """Frames are a `LinkError`, or the same messages however the stream was cut; these can be written, and are the
    same when they are read again.
    """
    whole, pieces = from_worker(), from_worker()
    expected = _all(whole, [data])
    step = 1 + len(data) // 7
    found = _all(pieces, [data[at : at + step] for at in range(0, len(data), step)])
    assert repr(found) == repr(expected)
    assert whole.pending <= len(data)
    for message in expected or []:
        assert repr([*from_worker().feed(encode([message]))]) == repr([message])
    in_place = from_worker()
    in_place.room(len(data))[: len(data)] = data
    try:
        at_once = [*in_place.received(len(data))]
    except LinkError:
        assert expected is None
    else:
        assert repr(at_once) == repr(expected)


@target()
def node_end(data: bytes) -> None:
    """The node's end hands on the operations before the first fault, and says once that the link is lost, and why."""
    asyncio.run(_tell_the_node(data))


async def _tell_the_node(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    heard: list[ToNode] = []
    lost: asyncio.Future[LinkError | None] = asyncio.get_running_loop().create_future()
    await connect(ours, heard.append, lost.set_result)
    with theirs:
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # it was closed for what was said before
            await loop.sock_sendall(theirs, data)
    fault = await asyncio.wait_for(lost, 10)
    expected = _all(from_worker(), [data])
    if expected is not None and any(isinstance(message, Placed | Released) for message in expected):
        expected = None  # this link shares no memory
    assert (fault is None) == (expected is not None)
    if expected is not None:
        assert repr(heard) == repr(expected)
    if fault is not None:
        in_a_line(fault)


@target(2)
def worker_end(data: bytes) -> None:
    """A worker whose node says anything at all ends, and says why in its last line."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        hello = encode([Configure(PROTOCOL_VERSION)])
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "guesthouse.worker", "--link-fd", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        theirs.close()
        try:
            ours.sendall(hello + data)
            ours.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it ended already
        try:
            _, said = worker.communicate(timeout=60)
        finally:
            worker.kill()
    assert worker.returncode in (0, 1)
    assert worker.returncode == 0 or said.strip()


def _all(reader: FrameReader[ToNode], pieces: list[bytes]) -> list[ToNode] | None:
    try:
        return [message for piece in pieces for message in reader.feed(piece)]
    except LinkError:
        return None


def messages(data: bytes) -> list[ToNode]:
    """The messages that the bytes are, if they are any."""
    return _all(from_worker(), [len(data).to_bytes(4, "little") + data]) or []


class Quiet:
    """Stands beside the kernel: an HTTP server that has nothing, a log and a supervisor that only listen."""

    def __init__(self) -> None:
        self.ended: list[Process] = []

    def write(self, source: str, level: str, text: str, *, stream: str = "host", channel_id: int = 0) -> None:
        assert type(text) is str

    def run_started(self, process: Process) -> None:
        process.run_started()

    def run_ended(self, process: Process, cause: str, detail: str) -> None:
        self.ended.append(process)

    def hand_on_http(self, owner: ProcessId, http_id: int) -> int:
        return 0

    def push(self, owner: ProcessId, channel_id: int, message_type: int, payload: bytes) -> None:
        assert owner in HANDLES.values()
        assert message_type in range(5)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


class Kernel:
    """A loop and a database that all inputs share; the processes are new for each."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._runner = asyncio.Runner()
        self._state = self._runner.run(self._open())

    async def _open(self) -> State:
        return State(Path(self._folder.name) / "state.sqlite", 65536, cast(Any, Quiet()))

    def end(self) -> None:
        self._runner.run(self._state.close())
        self._runner.close()
        self._folder.cleanup()

    def hear(self, data: bytes) -> None:
        """Carry out what a worker says that was given the first of two runs."""
        self._runner.run(self._hear(data))

    async def _hear(self, data: bytes) -> None:
        settings = Settings(node=NODE, process=ProcessLimits(mailbox_bytes=MAILBOX, outstanding_bytes=65536))
        quiet: Any = Quiet()
        router = Router(settings, quiet, lambda _: quiet)
        calls = CallHandlers()
        for kind in CALLS:
            calls.at_once(kind, lambda owner, call: None)
        process_state.register(calls, self._state, router.rights.missing_to_keep)
        capability_store.register(calls, self._state)
        mine, others = (self._process(router, handle) for handle in HANDLES)
        given: Any = (
            {1: mine},
            router,
            quiet,
            calls,
            quiet,
            quiet,
            lambda: None,
            lambda: True,
            lambda _: None,
        )
        taken_over = WorkerOperations(*given)
        try:
            for message in messages(data):
                if not quiet.ended:
                    taken_over.handle(message)
        except LinkError as error:
            in_a_line(error)
        finally:
            router.close()
        assert router.find(others.id) is others
        assert others.run is not None
        assert others.mailbox.size <= MAILBOX + 1024

    def _process(self, router: Router, handle: int) -> Process:
        name = HANDLES[handle]
        holdings = router.rights.holdings(name, ())
        process = Process(
            name, Path("/none"), public=True, on_exit="none", mailbox_bytes=MAILBOX, holdings=holdings
        )
        router.add(process)
        process.begin_run(Run(handle, "worker-0", 0.0, lambda *_: None), lambda _: None)
        process.run_started()
        return process


@cache
def kernel() -> Kernel:
    """The one kernel, made when it is first asked for."""
    return Kernel()


def end() -> None:
    """End the kernel, if there is one."""
    if kernel.cache_info().currsize:
        kernel().end()
        kernel.cache_clear()


@target(1000)
def worker_to_kernel(data: bytes) -> None:
    """Whatever a worker says costs it a `LinkError` at the most; the kernel goes on, and no other run is touched."""
    kernel().hear(data)
