"""The fake host's clock and its `timer:distro:sys`."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from guesthouse_sdk.testing._module_requests import OK, BadRequest, encoded, error, parse, tagged

MOST_TIMERS: Final = 1000
MAX_ID: Final = 256
LONGEST_MILLISECONDS: Final = 366 * 24 * 3600 * 1000


class FakeTimers:
    """What the process is to be told, and when. Time passes when a test says so, or a process waits for a timer."""

    def __init__(self, ring: Callable[[bytes], None]) -> None:
        self.now = 0.0
        self._ring = ring
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self.durable: dict[str, float] = {}

    def carry_out(self, body: bytes, waits: int | None, answer: Callable[[bytes], None]) -> None:
        """Answer a request, now or when its time has come; `waits` is how long it expects a response."""
        try:
            action, fields = _action(body)
            if action == "SetTimer":
                self._set_timer(_seconds(fields), waits, answer)
            elif action == "Set":
                answer(self._set(fields))
            elif action == "Cancel":
                self.durable.pop(_name(fields), None)
                answer(OK)
            else:
                raise BadRequest(f"unknown action: {action[:40]}")
        except BadRequest as bad:
            answer(error("InputError", str(bad)))

    def call_later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something when that time has passed."""
        self._at(self.now + seconds, act)

    def next_due(self) -> float | None:
        """When the next timer is due."""
        return self._due[0][0] if self._due else None

    def fire_next(self) -> None:
        """Let time pass until the next timer is due, and fire it."""
        when, _, act = heapq.heappop(self._due)
        self.now = max(self.now, when)
        act()

    def _set_timer(self, seconds: float, waits: int | None, answer: Callable[[bytes], None]) -> None:
        if waits is None:
            raise BadRequest("SetTimer must expect a response: it is the timer's signal")
        if seconds >= waits:
            raise BadRequest(f"the timer of {seconds:g} s is longer than the request waits, {waits:g} s")
        self._at(self.now + seconds, lambda: answer(b""))

    def _set(self, fields: Any) -> bytes:
        if not isinstance(fields, dict):
            raise BadRequest("Set has an id and milliseconds")
        name, due = _name(fields.get("id")), self.now + _seconds(fields.get("milliseconds"))
        if name not in self.durable and len(self.durable) >= MOST_TIMERS:
            return error("TooMany")
        self.durable[name] = due
        self._at(due, lambda: self._fire(name, due))
        return OK

    def _fire(self, name: str, due: float) -> None:
        if self.durable.get(name) == due:  # else it was cancelled, or moved
            del self.durable[name]
            self._ring(encoded({"Timer": {"id": name}}))

    def _at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._due, (when, next(self._numbers), act))


def _action(body: bytes) -> tuple[str, Any]:
    try:
        return tagged(parse(body))
    except BadRequest:
        if len(body) != 8:
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
