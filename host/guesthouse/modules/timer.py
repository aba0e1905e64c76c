"""`timer:distro:sys`: timers for processes.

- `{"SetTimer": MILLISECONDS}`: answered after that time. The request must expect a response, for long enough. Older
  libraries send only the milliseconds, as eight bytes in little-endian order.
- `{"Set": {"id": TEXT, "milliseconds": N}}`: a durable timer. When it is due, the process gets a request with the body
  `{"Timer": {"id": TEXT}}`, even if it or the node was restarted. Setting it again moves it. It fires once; a process
  that is not running then gets the request as soon as it is.
- `{"Cancel": TEXT}`: cancels a durable timer.

The node has one heap and one event loop timer for all. A process may have 1000 durable timers, a package 10,000; others
are limited by `process.outstanding_bytes`.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Callable
from itertools import count
from time import perf_counter
from typing import Any, Final

from guesthouse.core.address import ProcessId
from guesthouse.core.json_forms import BadRequest, encoded, error, field, parse, tagged
from guesthouse.core.timing.clock import Cancellable, Clock
from guesthouse.core.turn import TURN_SECONDS
from guesthouse.kernel.messaging.modules import ModuleRequest
from guesthouse.kernel.storage.database import State
from guesthouse.kernel.storage.tables import Table
from guesthouse.modules.module import OK, ModuleContext, RuntimeModule, Tell

TIMER: Final = ProcessId("timer", "distro", "sys")
MOST_TIMERS: Final = 1000
MOST_OF_PACKAGE: Final = 10_000
MAX_ID: Final = 256
LONGEST_MILLISECONDS: Final = 366 * 24 * 3600 * 1000
RETRY_SECONDS: Final = 1.0
"""Seconds until a process that could not take the message is tried again."""

_SLACK: Final = 1024
_NUMBER_BYTES: Final = 8
_TABLE: Final = Table(
    "timers", "(process TEXT, id TEXT, due REAL NOT NULL, PRIMARY KEY (process, id)) WITHOUT ROWID", "process"
)


class Timer(RuntimeModule):
    """The module."""

    id = TIMER
    tables = (_TABLE,)

    def __init__(self, state: State, tell: Tell, clock: Clock | None = None) -> None:
        self._state = state
        self._tell = tell
        self._clock = clock or Clock()
        self._due: list[
            tuple[float, int, Callable[[], None], Callable[[], bool]]
        ] = []  # when, tie-breaker, action, whether it is still wanted
        self._compact_at = 2 * _SLACK
        self._durable: dict[tuple[str, str], float] = {}  # Unix seconds by process and id
        self._counts: dict[str, int] = {}  # durable timers by process and by package
        self._tie = count()
        self._handle: Cancellable | None = None

    @classmethod
    def make(cls, context: ModuleContext) -> Timer:
        """See `RuntimeModule`."""
        return cls(context.state, context.tell, context.clock)

    async def load(self) -> None:
        """Load the durable timers.

        Raises:
            StateError: the database cannot be read.
        """
        rows: list[tuple[str, str, float]] = await self._state.read("SELECT process, id, due FROM timers")
        for process, name, due in rows:
            self._count(process, (process, name))
            self._keep(process, name, due)

    def forget(self, process: ProcessId) -> None:
        """See `RuntimeModule`."""
        name = str(process)
        if name in self._counts:
            for key in [key for key in self._durable if key[0] == name]:
                self._forget(*key)

    def forget_package(self, package: str) -> None:
        """See `RuntimeModule`."""
        if package in self._counts:
            for key in [key for key in self._durable if _package(key[0]) == package]:
                self._forget(*key)

    def close(self) -> None:
        """Stop all timers."""
        if self._handle is not None:
            self._handle.cancel()
        self._due.clear()

    def request(self, request: ModuleRequest) -> None:
        """See `Module`."""
        try:
            self._carry_out(request)
        except BadRequest as bad:
            request.answer(error("InputError", str(bad)), None)

    def go_on(self, request: ModuleRequest, waited_seconds: float) -> None:
        """See `Module`."""
        try:
            action, fields = _action(request.body)
            seconds = _seconds(fields) if action == "SetTimer" else 0.0
        except BadRequest as bad:
            request.answer(error("InputError", str(bad)), None)
            return
        due = self._clock.monotonic() + max(0.0, seconds - waited_seconds)
        self._at(due, lambda: request.answer(b"", None), request.waits)

    def _carry_out(self, request: ModuleRequest) -> None:
        action, fields = _action(request.body)
        process = str(request.source.process)
        if action == "SetTimer":
            if request.expects_response is None:
                raise BadRequest("SetTimer must expect a response: it is the timer's signal")
            seconds, answer = _seconds(fields), request.answer
            if seconds >= request.expects_response:
                raise BadRequest(
                    f"the timer of {seconds:g} s is longer than the request waits, {request.expects_response:g} s"
                )
            self._at(self._clock.monotonic() + seconds, lambda: answer(b"", None), request.waits)
        elif action == "Set":
            due = self._clock.time() + _seconds(field(fields, "milliseconds", int))
            self._set(request, process, _name(field(fields, "id", str)), due)
        elif action == "Cancel":
            self._cancel(request, process, _name(fields))
        else:
            raise BadRequest(f"unknown action: {action[:40]}")

    def _set(self, request: ModuleRequest, process: str, name: str, due: float) -> None:
        if not self._count(process, (process, name)):
            request.answer(error("TooMany"), None)
            return
        self._keep(process, name, due)
        self._store(
            request,
            lambda database: database.execute(
                "INSERT OR REPLACE INTO timers VALUES (?, ?, ?)", (process, name, due)
            ),
        )

    def _cancel(self, request: ModuleRequest, process: str, name: str) -> None:
        self._forget(process, name)
        self._store(request, _deletion(process, name))

    def _store(self, request: ModuleRequest, work: Callable[[sqlite3.Connection], Any]) -> None:
        def done(database: sqlite3.Connection) -> bytes:
            work(database)
            return OK

        package = request.source.process.package_id
        self._state.execute_for(
            package, request.size, done, error("IOError"), lambda body: request.answer(body, None)
        )

    def _count(self, process: str, key: tuple[str, str]) -> bool:
        if key in self._durable:
            return True
        package = _package(process)
        held, together = self._counts.get(process, 0), self._counts.get(package, 0)
        if held >= MOST_TIMERS or together >= MOST_OF_PACKAGE:
            return False
        self._counts[process] = held + 1
        self._counts[package] = together + 1
        self._durable[key] = 0.0
        return True

    def _forget(self, process: str, name: str) -> None:
        if self._durable.pop((process, name), None) is not None:
            for counted in (process, _package(process)):
                self._counts[counted] -= 1
                if not self._counts[counted]:
                    del self._counts[counted]

    def _keep(self, process: str, name: str, due: float) -> None:
        self._durable[process, name] = due
        self._again(process, name, due, self._clock.monotonic() + due - self._clock.time())

    def _again(self, process: str, name: str, due: float, when: float) -> None:
        self._at(
            when,
            lambda: self._fire(process, name, due),
            lambda: self._durable.get((process, name)) == due,
        )

    def _fire(self, process: str, name: str, due: float) -> None:
        if self._durable.get((process, name)) != due:
            return  # cancelled, or moved
        if not self._tell(ProcessId.parse(process), encoded({"Timer": {"id": name}})):
            self._again(process, name, due, self._clock.monotonic() + RETRY_SECONDS)
            return
        self._forget(process, name)
        self._state.execute(_deletion(process, name), None, lambda _: None)

    def _at(self, when: float, act: Callable[[], None], wanted: Callable[[], bool]) -> None:
        if len(self._due) >= self._compact_at:  # drop timers that were cancelled or moved
            self._due = [entry for entry in self._due if entry[3]()]
            heapq.heapify(self._due)
            self._compact_at = 2 * len(self._due) + _SLACK
        heapq.heappush(self._due, (when, next(self._tie), act, wanted))
        if self._due[0][0] == when:
            self._arm()

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = None
        if self._due:
            when = min(self._due[0][0], self._clock.monotonic() + 86_400.0)
            self._handle = self._clock.call_at(when, self._ring)

    def _ring(self) -> None:
        """Fire timers that are due, for `TURN_SECONDS`; the rest follows in later iterations of the loop."""
        now = self._clock.monotonic()
        until = perf_counter() + TURN_SECONDS
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()
            if perf_counter() > until:
                break
        self._arm()


def _package(process: str) -> str:
    return process.partition(":")[2]


def _deletion(process: str, name: str) -> Callable[[sqlite3.Connection], None]:
    def work(database: sqlite3.Connection) -> None:
        database.execute("DELETE FROM timers WHERE process = ? AND id = ?", (process, name))

    return work


def _action(body: bytes) -> tuple[str, Any]:
    try:
        return tagged(parse(body))
    except BadRequest:
        if len(body) != _NUMBER_BYTES:
            raise
        return "SetTimer", int.from_bytes(body, "little")


def _seconds(milliseconds: Any) -> float:
    if type(milliseconds) is not int or not 0 <= milliseconds <= LONGEST_MILLISECONDS:
        raise BadRequest(f"a time must be from 0 to {LONGEST_MILLISECONDS} milliseconds")
    return milliseconds / 1000


def _name(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID:
        raise BadRequest(f"an id must be a text of 1 to {MAX_ID} characters")
    return value
