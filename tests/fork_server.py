"""Nodes and commands as forks of an interpreter that has their modules: `python fork_server.py DESCRIPTOR`.

See `forked.py`, which starts it and asks it. It imports what a node and most commands do, and no more: it has no
thread, no event loop and nothing open, so that its forks are what `python -m guesthouse …` is after its imports.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
from importlib import import_module
from typing import Any

MODULES = (
    "guesthouse.cli.main",
    "guesthouse.cli.run",
    "guesthouse.cli.ending",
    "guesthouse.linux.service_manager",
    "guesthouse.http_server.listening",
    "guesthouse.node.gc_tuning",
    "guesthouse.node.node",
    "guesthouse.node.reload",
    "tomllib",
    "uvloop",
)
MOST_BYTES = 1 << 20
MOST_DESCRIPTORS = 64
HIGH = 200
"""Descriptors that are received are out of the way of those that a fork is to have."""


def preload() -> None:
    """Import what nodes do, in the way in which they do.

    It stays frozen in a fork, too, whose collections would copy all the pages that it is in.
    """
    from guesthouse.cli.run import UNUSED
    from guesthouse.core.late_modules import put_off

    for name in UNUSED:
        put_off(name)
    for name in MODULES:
        import_module(name)
    gc.collect()
    gc.freeze()


def serve(control: socket.socket) -> list[str] | None:
    """Fork for each request, and tell of each end. Returns the arguments in a fork, and None when nobody asks more."""
    poll = select.poll()
    poll.register(control, select.POLLIN)
    running: dict[int, tuple[int, int]] = {}
    while True:
        for ready, _ in poll.poll():
            if ready in running:
                poll.unregister(ready)
                _tell_end(ready, *running.pop(ready))
                continue
            request, received, *_ = socket.recv_fds(control, MOST_BYTES, MOST_DESCRIPTORS)
            if not request:
                return None
            report, *descriptors = received
            asked = json.loads(request)
            pid = os.fork()
            if pid == 0:
                control.detach()  # its number may be another's soon
                become(asked, descriptors)
                return list(asked["arguments"])
            with contextlib.suppress(BrokenPipeError):
                os.write(report, b"%d\n" % pid)
            for each in descriptors:
                os.close(each)
            pidfd = os.pidfd_open(pid)
            poll.register(pidfd, select.POLLIN)
            running[pidfd] = pid, report


def _tell_end(pidfd: int, pid: int, report: int) -> None:
    """How it ended, and what CPU time it took, with what it has waited for."""
    _, status, used = os.wait4(pid, 0)
    os.close(pidfd)
    with contextlib.suppress(BrokenPipeError):
        os.write(report, b"%d %f\n" % (os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime))
    os.close(report)


def become(asked: dict[str, Any], descriptors: list[int]) -> None:
    """Have the descriptors, folder, variables and arguments that were asked for, and nothing of the server's."""
    kept = [fcntl.fcntl(each, fcntl.F_DUPFD, HIGH) for each in descriptors]
    wanted = [0, 1, 2, *asked["descriptors"]]
    os.closerange(3, HIGH)
    for high, number in zip(kept, wanted, strict=True):
        os.dup2(high, number)
        os.close(high)
    os.closerange(max(wanted) + 1, HIGH + MOST_DESCRIPTORS)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.path[0] = asked["folder"]
    sys.orig_argv[:] = [sys.executable, "-m", "guesthouse", *asked["arguments"]]


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the tests
    preload()
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        arguments = serve(requests)
    if arguments is not None:
        sys.argv[1:] = arguments
        runpy.run_module("guesthouse", run_name="__main__", alter_sys=True)
