"""`python -m guesthouse.worker [--confinement JSON] [--memory-fds N,N] --link-fd N`: started by the node only."""

# ruff: noqa: E402 - what comes first makes the rest quicker to load
from __future__ import annotations

import gc
import sys

gc.disable()  # until all is loaded, which stays
# Where msgspec does not find it, it takes the same names from `typing`: it is slow to load, and loads `inspect`.
sys.modules["typing_extensions"] = None  # type: ignore[assignment] # so an import of it fails

from guesthouse.core.late_modules import PLATFORM, put_off

put_off("platform", **PLATFORM)
for _name in ("ipaddress", "textwrap"):  # of `urllib` and msgspec, for what a worker does not do
    put_off(_name)

import json
import os
import select
import signal
import socket
from typing import TYPE_CHECKING, Final

from guesthouse.core.errors import GuesthouseError
from guesthouse.link.shared_memory import WorkerMemory
from guesthouse.linux import privileges
from guesthouse.linux.sched import preempt_nobody
from guesthouse.wasm.engine.address_space import lacks_addresses, no_addresses
from guesthouse.worker import sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from guesthouse.worker.loop import WorkerLoop


def _loop() -> type[WorkerLoop]:
    from guesthouse.worker.loop import WorkerLoop

    return WorkerLoop


_OPTIONS: Final = frozenset(("--confinement", "--memory-fds", "--link-fd"))


def _memory(descriptors: str | None) -> WorkerMemory | None:
    """The memory that the node shares."""
    if descriptors is None:
        return None
    return WorkerMemory(tuple(map(int, descriptors.split(","))))


def _has_come(link: socket.socket) -> bool:
    """Whether the node has written to the link, or closed it."""
    poller = select.poll()
    poller.register(link, select.POLLIN)
    return bool(poller.poll(0))


def _start_threads() -> None:
    from guesthouse.wasm.engine import epoch_timer

    epoch_timer.start_thread()
    # After that of the epoch, which has to preempt a guest. When it has waited for a CPU, more messages are there.
    preempt_nobody()


def main(arguments: list[str], load: Callable[[], type[WorkerLoop]] = _loop) -> int:
    """Serve the link on the descriptor from the node, confined as the node says.

    Args:
        arguments: of the command line.
        load: loads the class of its loop, which is another in a worker for tests.
    """
    options = dict(zip(arguments[::2], arguments[1::2], strict=False))
    if len(arguments) % 2 or not {"--link-fd"} <= set(options) <= _OPTIONS:
        print("workers are started by `guesthouse run`: run that", file=sys.stderr)
        return 2
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    link_fd = int(options["--link-fd"])
    memory = _memory(options.get("--memory-fds"))  # before inherited descriptors are closed
    kept = sandbox.prepare(link_fd)
    # Imported after inherited descriptors are closed, because it keeps a file open, and before opening is denied.
    try:
        from guesthouse.link.lane import of_worker
        from guesthouse.linux.malloc import keep_large_buffers

        loop = load()
        from guesthouse.worker.calls import prepare_frequent
    except Exception as error:
        if not lacks_addresses(error):
            raise
        print(no_addresses(), file=sys.stderr)
        return 1

    link = socket.socket(fileno=link_fd)
    try:
        # Before the engine, whose threads have to be confined too.
        sandbox.apply(json.loads(options.get("--confinement", "{}")), _start_threads)
        keep_large_buffers()
        worker = loop(link, lane=None if memory is None else of_worker(memory))
        privileges.check_kept(kept)
        if not _has_come(link):  # the node takes longer to start
            prepare_frequent()
        worker.run()
    except GuesthouseError as error:
        print(error, file=sys.stderr)
        return 1
    except (BrokenPipeError, ConnectionResetError):
        return 0  # the node has exited
    except Exception as error:
        if not lacks_addresses(error):
            raise
        print(no_addresses(), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    # Unwinding stores and fibers is a waste of time, and the libraries' threads may not survive the
    # interpreter's finalisation.
    sys.stdout.flush()
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)
