"""How a running node ends: for good, or to go on as its own successor."""

from __future__ import annotations

import os
import sys
import threading
import time
from asyncio import Task
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from socket import socket
from typing import Any, Final, NoReturn

from guesthouse.core.errors import GuesthouseError
from guesthouse.linux.passed_sockets import pass_sockets
from guesthouse.linux.service_manager import RELOADING, STOPPING, ServiceManager

_THREADS_SECONDS: Final = 5.0
"""How long the end waits for threads: they write files, which takes a moment."""


class CannotRestart(GuesthouseError):
    """The program that this OS process runs cannot be run again."""


class UnawaitedThreads(ThreadPoolExecutor):
    """Threads for an event loop, which ends without waiting for them: see `threads_end`."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work."""
        super().shutdown(wait=False, cancel_futures=cancel_futures)


def threads_end(seconds: float = _THREADS_SECONDS) -> bool:
    """Whether the threads that Python would wait for end within that time. One may never: a file system that does not
    answer cannot be interrupted. What they leave half done is as after a kill.
    """
    end = time.monotonic() + seconds
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, end - time.monotonic()))
            if thread.is_alive():
                return False
    return True


class Ending:
    """Ends the task that serves, once.

    Args:
        task: cancelled to end it.
        manager: told of it.
    """

    def __init__(self, task: Task[Any], manager: ServiceManager) -> None:
        self._task = task
        self._manager = manager
        self.begun = False
        """Whether the task was cancelled by this."""
        self.restarts = False
        """Whether a successor is to take this one's place."""
        self.sockets: dict[str, socket] = {}
        """What the successor listens on, by name."""

    def stop(self) -> None:
        """End for good."""
        self._begin(STOPPING)

    def restart(self) -> None:
        """End, and go on as a successor with the same pid."""
        if not self.begun:
            self.restarts = True
            self._begin(RELOADING)

    def _begin(self, state: str) -> None:
        if not self.begun:
            self.begun = True
            self._manager.tell(state)
            self._task.cancel()


def become_successor(sockets: dict[str, socket]) -> NoReturn:
    """Run the program of this OS process again in its place, with the same arguments and these listening sockets.
    Nothing of this one may run any more.

    Raises:
        CannotRestart: it cannot be run.
    """
    with suppress(OSError, GuesthouseError):
        sys.stdout.flush()
    environment = dict(os.environ)
    try:
        pass_sockets(sockets, environment)
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 - this program
    except OSError as error:
        raise CannotRestart(
            f"{sys.executable} cannot be run again: {error.strerror}: start the node"
        ) from None
