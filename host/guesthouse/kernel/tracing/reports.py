"""Spans of what a worker reports of a traced message. Workers are not trusted: what they say is of their own runs,
bounded, and cut to the time in which it can have happened.
"""

from __future__ import annotations

from typing import Final

from guesthouse.kernel.tracing.spans import Span, SpanKind
from guesthouse.kernel.tracing.tracer import TracedMessage, new_id
from guesthouse.link.frames import LinkError
from guesthouse.link.to_node import TraceReport
from guesthouse.link.trace_schema import MOST_ATTRIBUTES, MOST_CHARACTERS, MOST_EVENTS, Attributes, Events

_SLACK: Final = 4096
"""Characters that a report may have more: names of calls, and the error."""


def check(message: TracedMessage, report: TraceReport) -> None:
    """Check that a report as a whole is within the limits.

    Raises:
        LinkError: it is not, or spans have no ids of their own.
    """
    spans = report.spans
    events = [*report.events, *(event for span in spans for event in span.events)]
    attributes = [
        *report.attributes,
        *(attribute for span in spans for attribute in span.attributes),
        *(attribute for event in events for attribute in event.attributes),
    ]
    characters = sum(len(span.name) + len(span.error or "") for span in spans)
    characters += sum(len(event.name) for event in events)
    characters += sum(len(name) + (len(value) if isinstance(value, str) else 0) for name, value in attributes)
    if (
        len(events) > MOST_EVENTS
        or len(attributes) > MOST_ATTRIBUTES
        or characters > MOST_CHARACTERS + _SLACK
    ):
        raise LinkError("a worker reports more of a trace than a guest may add")
    ids = {0, message.span_id, message.run_span_id, *(span.span_id for span in spans)}
    if len(ids) < len(spans) + 3:
        raise LinkError("a worker reports spans without ids of their own")


def spans_of(message: TracedMessage, report: TraceReport, worker: str, now: int) -> list[Span]:
    """The spans of a report: the wait in the mailbox, the run, and those in it.

    Args:
        message: what it is about.
        report: checked.
        worker: who reports it.
        now: Unix nanoseconds.
    """
    taken = _within(report.taken, message.begun, now)
    ended = _within(report.ended, taken, now)
    known = {message.run_span_id, *(span.span_id for span in report.spans)}
    given: Attributes = (
        ("guesthouse.worker", worker),
        ("guesthouse.cpu_seconds", report.cpu_seconds),
        *((("guesthouse.dropped", report.dropped),) if report.dropped else ()),
    )
    process = ("guesthouse.process", str(message.process))
    wait = _span(message, new_id(64), message.span_id, "mailbox", message.begun, taken, (process,))
    run = _span(
        message,
        message.run_span_id,
        message.span_id,
        "run",
        taken,
        ended,
        (*report.attributes, process, *given),
        _events(report.events, taken, ended),
        report.error,
    )
    inner = []
    for span in report.spans:
        begun = _within(span.begun, taken, ended)
        last = _within(span.ended, begun, ended)
        parent = (
            span.parent_id
            if span.parent_id in known and span.parent_id != span.span_id
            else message.run_span_id
        )
        inner.append(
            _span(
                message,
                span.span_id,
                parent,
                span.name,
                begun,
                last,
                (*span.attributes, process),
                _events(span.events, begun, last),
                span.error,
            )
        )
    return [wait, run, *inner]


def _span(
    message: TracedMessage,
    span_id: int,
    parent_id: int,
    name: str,
    begun: int,
    ended: int,
    attributes: Attributes = (),
    events: Events = (),
    error: str | None = None,
) -> Span:
    return Span(
        message.trace_id, span_id, parent_id, name, SpanKind.INTERNAL, begun, ended, attributes, events, error
    )


def _events(events: Events, begun: int, ended: int) -> Events:
    return tuple(
        type(event)(event.name, _within(event.at, begun, ended), event.attributes) for event in events
    )


def _within(moment: int, least: int, most: int) -> int:
    return max(least, min(moment, max(least, most)))
