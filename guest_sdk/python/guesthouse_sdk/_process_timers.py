"""The timers of a `Process`: calls that are to come, and what becomes of the node's messages about timers."""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from guesthouse_sdk._clock import monotonic
from guesthouse_sdk._runtime_modules import module, refused_use
from guesthouse_sdk.capabilities import Capability, our_capabilities
from guesthouse_sdk.errors import NotAuthorised, SendError, TimedOut
from guesthouse_sdk.log import log_exception
from guesthouse_sdk.message import IncomingRequest, IncomingResponse
from guesthouse_sdk.messaging import Request
from guesthouse_sdk.timers import SPARE_SECONDS, Timer, cancel_timer, checked_seconds, set_timer

_MODULE: Final = "timer"
_CONTEXT: Final = b"guesthouse_sdk.timers"
"""Begins the context of the requests whose answers wake the process. Those of its earlier runs arrive, too."""
_LONGEST_WAKE: Final = 24 * 3600.0
_SLACK: Final = 64


class Wakeups:
    """Calls that are to come. The node is asked to wake the process for the next of them, not for each, so timers
    that are set and cancelled all the time take no room there.
    """

    def __init__(self) -> None:
        self._timers: list[tuple[float, int, Timer]] = []  # when, tie-breaker, what
        self._numbers = count()
        self._wakes: dict[bytes, float] = {}  # what the node was asked for: when, by context
        self._compact_at = 2 * _SLACK
        self._allowed = False

    def add(self, seconds: float, callback: Callable[..., object], arguments: tuple[Any, ...]) -> Timer:
        """Set a timer.

        Raises:
            NotAuthorised: the manifest does not request `timer:distro:sys`.
        """
        delay = checked_seconds(seconds, math.inf)
        if not callable(callback):
            raise TypeError(f"what a timer calls must be callable, not {type(callback).__name__}")
        self._check_allowed()
        if len(self._timers) >= self._compact_at:  # drop what was cancelled
            self._timers = [entry for entry in self._timers if entry[2].pending]
            heapq.heapify(self._timers)
            self._compact_at = 2 * len(self._timers) + 2 * _SLACK
        timer = Timer(callback, arguments)
        heapq.heappush(self._timers, (monotonic() + delay, next(self._numbers), timer))
        self._arm()
        return timer

    def woken(self, context: bytes | None) -> None:
        """Call what is due, in the order in which it is due."""
        self._wakes.pop(context or b"", None)
        now = monotonic()
        due: list[Timer] = []
        while self._timers and self._timers[0][0] <= now:
            due.append(heapq.heappop(self._timers)[2])
        for timer in due:
            timer.call()
        self._arm()

    def failed(self, error: SendError) -> None:
        """The node did not wake the process. Unless it was only late, the next timer that is set tries again."""
        if isinstance(error, TimedOut):
            self.woken(error.context)
            return
        self._wakes.pop(error.context or b"", None)
        log_exception("a timer", error)

    def _arm(self) -> None:
        """Ask to be woken for the next timer, unless that was asked for."""
        while self._timers and not self._timers[0][2].pending:
            heapq.heappop(self._timers)
        if not self._timers:
            return
        wake = min(self._timers[0][0], monotonic() + _LONGEST_WAKE)
        if any(asked <= wake for asked in self._wakes.values()):
            return
        context = _CONTEXT + b" %d" % next(self._numbers)
        self._wakes[context] = wake
        milliseconds = math.ceil(max(wake - monotonic(), 0.0) * 1000)
        request = Request().target(module(_MODULE)).body(json.dumps({"SetTimer": milliseconds}))
        request.context(context).expects_response(milliseconds // 1000 + SPARE_SECONDS).send()

    def _check_allowed(self) -> None:
        """Without the capability the request would fail later, far from the line that set the timer."""
        if not self._allowed:
            needed = Capability.messaging(module(_MODULE))
            if needed not in our_capabilities():
                error = NotAuthorised("", module(_MODULE), b"", None, None)
                error.missing = needed
                raise refused_use(_MODULE, error)
            self._allowed = True


class ProcessTimers:
    """What a `Process` has of timers."""

    _wakeups: Wakeups | None = None

    def on_timer(self, timer_id: str) -> None:
        """The time of a durable timer has come. A process without this method gets such messages at `on_request`."""

    def call_later(self, seconds: float, callback: Callable[..., object], *arguments: Any) -> Timer:
        """Call `callback(*arguments)` after that time, between two messages. The call is lost when this run of the
        process ends. An exception in it is logged.

        Returns:
            The timer: `cancel()` it if the call is not to be.

        Raises:
            NotAuthorised: the manifest does not request `timer:distro:sys`.
        """
        if self._wakeups is None:
            self._wakeups = Wakeups()
        return self._wakeups.add(seconds, callback, arguments)

    def set_timer(self, timer_id: str, seconds: float) -> None:
        """Set a durable timer, which comes to `on_timer`: see `timers.set_timer`."""
        set_timer(timer_id, seconds)

    def cancel_timer(self, timer_id: str) -> None:
        """Cancel a durable timer: see `timers.cancel_timer`."""
        cancel_timer(timer_id)

    def _takes(self, message: IncomingRequest | IncomingResponse | SendError) -> bool:
        """Whether a message was about a timer, and is done with."""
        if isinstance(message, IncomingRequest):
            return self._ring(message)
        source = message.source if isinstance(message, IncomingResponse) else message.target
        if message.context is None or not message.context.startswith(_CONTEXT) or source != module(_MODULE):
            return False
        if self._wakeups is None:  # it was meant for an earlier run
            return True
        if isinstance(message, SendError):
            self._wakeups.failed(message)
        else:
            self._wakeups.woken(message.context)
        return True

    def _ring(self, request: IncomingRequest) -> bool:
        if type(self).on_timer is ProcessTimers.on_timer or request.source != module(_MODULE):
            return False
        try:
            self.on_timer(json.loads(request.body)["Timer"]["id"])
        except Exception as error:
            log_exception("on_timer", error)
        return True
