"""What a worker records of a message that belongs to a trace: spans and events of the guest, and calls it waits for.

All of it is bounded (`link/trace_schema.py`). The guest's text is cut, what is beyond is counted.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from time import thread_time, time_ns
from typing import Any, Final

from msgspec import Struct, field

from guesthouse.link.to_node import TraceReport
from guesthouse.link.trace_context import traceparent
from guesthouse.link.trace_schema import (
    MOST_ATTRIBUTES,
    MOST_CHARACTERS,
    MOST_EVENTS,
    MOST_NAME,
    MOST_SPANS,
    MOST_TEXT,
    Attribute,
    ReportedSpan,
    SpanEvent,
    Trace,
)

RUN: Final = 0
"""The number of the span of the whole run."""


class _OpenSpan(Struct):
    """A span that has not ended."""

    span_id: int
    parent_id: int
    name: str
    begun: int
    attributes: dict[str, Any] = field(default_factory=dict)
    events: list[SpanEvent] = field(default_factory=list)


class RunTrace:
    """The trace of the message in hand.

    Args:
        trace: as the node told of it.
        cpu_seconds: what the guest has used until now.
    """

    __slots__ = (
        "_attributes",
        "_call",
        "_calls",
        "_characters",
        "_cpu",
        "_dropped",
        "_ended",
        "_events",
        "_numbers",
        "_open",
        "_taken",
        "_thread_time",
        "_trace_id",
        "number",
    )

    def __init__(self, trace: Trace, cpu_seconds: float) -> None:
        self.number = trace.number
        self._trace_id = trace.trace_id
        self._taken = time_ns()
        self._cpu, self._thread_time = cpu_seconds, thread_time()
        self._open: dict[int, _OpenSpan] = {RUN: _OpenSpan(trace.span_id, 0, "", self._taken)}
        self._ended: list[ReportedSpan] = []
        self._call: _OpenSpan | None = None
        self._numbers = self._calls = self._dropped = 0
        self._events = self._attributes = self._characters = 0

    @property
    def span_id(self) -> int:
        """The innermost open span."""
        return self._open[next(reversed(self._open))].span_id

    def traceparent(self) -> str:
        """The header of the innermost open span."""
        return traceparent(int(self._trace_id, 16), self.span_id)

    # What the guest adds.

    def begin(self, name: str) -> int:
        """Begin a span in the innermost one; returns its number, or 0 if there are too many."""
        name = name[:MOST_NAME]
        if self._numbers >= MOST_SPANS or not self._admits(len(name)):
            self._dropped += 1
            return RUN
        self._numbers += 1
        self._open[self._numbers] = _OpenSpan(_new_id(), self.span_id, name, time_ns())
        return self._numbers

    def end(self, number: int, error: str | None) -> None:
        """End a span and those in it."""
        if number == RUN or number not in self._open:
            return
        now = time_ns()
        while True:
            last, span = self._open.popitem()
            if last == number:
                text = None if error is None else error[:MOST_TEXT]
                if text and not self._admits(len(text)):
                    self._dropped += 1
                    text = ""
                self._ended.append(_reported("guest", span, now, text))
                return
            self._ended.append(_reported("guest", span, now))

    def set_attributes(self, number: int, given: Sequence[tuple[str, tuple[str, Any]]]) -> None:
        """Set attributes of an open span."""
        span = self._open.get(number)
        if span is None:
            self._dropped += len(given)
            return
        for name, value in self._admitted(given):
            span.attributes[name] = value

    def add_event(self, number: int, name: str, given: Sequence[tuple[str, tuple[str, Any]]]) -> None:
        """Add an event to an open span."""
        span, name = self._open.get(number), name[:MOST_NAME]
        if span is None or self._events >= MOST_EVENTS or not self._admits(len(name)):
            self._dropped += 1
            return
        self._events += 1
        span.events.append(SpanEvent(name, time_ns(), tuple(dict(self._admitted(given)).items())))

    # What the guest waits for.

    def call_begins(self, name: str) -> None:
        """The guest blocks on a call."""
        if self._calls >= MOST_SPANS:
            self._dropped += 1
            return
        self._calls += 1
        self._call = _OpenSpan(_new_id(), self.span_id, name, time_ns())

    def call_ends(self) -> None:
        """It has its result."""
        if self._call is not None:
            self._ended.append(_reported("call", self._call, time_ns()))
            self._call = None

    def report(self, handle: int, cpu_seconds: float, error: str | None) -> TraceReport:
        """The run has handled the message, or has ended with an error.

        Args:
            handle: the run's.
            cpu_seconds: what the guest has used; what it used in the slice that is not over, is not in it.
            error: why it ended.
        """
        self.call_ends()
        if len(self._open) > 1:
            self.end(next(number for number in self._open if number != RUN), None)
        run = self._open[RUN]
        used = cpu_seconds - self._cpu or thread_time() - self._thread_time
        return TraceReport(
            handle,
            self.number,
            self._taken,
            time_ns(),
            max(0.0, used),
            tuple(run.attributes.items()),
            tuple(run.events),
            tuple(self._ended),
            self._dropped,
            None if error is None else error[:MOST_TEXT],
        )

    def _admits(self, characters: int) -> bool:
        if self._characters + characters > MOST_CHARACTERS:
            return False
        self._characters += characters
        return True

    def _admitted(self, given: Sequence[tuple[str, tuple[str, Any]]]) -> list[Attribute]:
        kept: list[Attribute] = []
        for name, (_, value) in given:
            name, shown = name[:MOST_NAME], value[:MOST_TEXT] if type(value) is str else value
            size = len(name) + (len(shown) if type(shown) is str else 8)
            if self._attributes >= MOST_ATTRIBUTES or not self._admits(size):
                self._dropped += len(given) - len(kept)
                break
            self._attributes += 1
            kept.append((name, shown))
        return kept


def _new_id() -> int:
    return int.from_bytes(os.urandom(8), "big") or 1


def _reported(kind: Any, span: _OpenSpan, ended: int, error: str | None = None) -> ReportedSpan:
    attributes, events = tuple(span.attributes.items()), tuple(span.events)
    return ReportedSpan(
        kind, span.span_id, span.parent_id, span.name, span.begun, ended, attributes, events, error
    )
