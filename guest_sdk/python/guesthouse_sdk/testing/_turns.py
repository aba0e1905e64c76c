"""A process and its test take turns: one of the two runs at a time, so nothing is left to chance."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Stopped(BaseException):
    """Unwinds a process that is to run no more. No `except Exception` of its author catches it."""


class Turns:
    """One run of a process, on a thread of its own that runs only while the test waits for it."""

    def __init__(self, body: Callable[[], None]) -> None:
        self._body = body
        self._to_process = threading.Semaphore(0)
        self._to_test = threading.Semaphore(0)
        self._stopping = False
        self._error: BaseException | None = None
        self.ended = False
        self._thread = threading.Thread(target=self._run, name="guesthouse process", daemon=True)
        self._thread.start()

    def give_to_process(self, seconds: float) -> None:
        """Let the process run until it waits for a message or ends. Called by the test.

        Raises:
            TimeoutError: it did neither in time.
            BaseException: what ended it.
        """
        self._to_process.release()
        if not self._to_test.acquire(timeout=seconds):
            raise TimeoutError(f"the process did not come back to receive() within {seconds} s")
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def give_to_test(self) -> None:
        """Wait until the test lets the process go on. Called by the process.

        Raises:
            Stopped: it is to end instead.
        """
        self._to_test.release()
        self._to_process.acquire()
        if self._stopping:
            raise Stopped

    def stop(self, seconds: float) -> None:
        """End the process where it waits. Called by the test; may be called twice."""
        if not self.ended:
            self._stopping = True
            self.give_to_process(seconds)
        self._thread.join(seconds)

    def _run(self) -> None:
        self._to_process.acquire()
        try:
            if not self._stopping:
                self._body()
        except Stopped:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self.ended = True
            self._to_test.release()
