"""Spans that have ended, as they are exported."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from msgspec import Struct

from guesthouse.link.trace_context import TraceContext
from guesthouse.link.trace_schema import Attribute, SpanEvent


class SpanKind(Enum):
    """What a span is to its trace, as OpenTelemetry has it."""

    INTERNAL = "internal"
    SERVER = "server"
    CONSUMER = "consumer"


class Span(Struct, frozen=True):
    """A span. Times are Unix nanoseconds; `parent_id` 0 is none."""

    trace_id: int
    span_id: int
    parent_id: int
    name: str
    kind: SpanKind
    begun: int
    ended: int
    attributes: tuple[Attribute, ...] = ()
    events: tuple[SpanEvent, ...] = ()
    error: str | None = None
    link: TraceContext | None = None
    """A span of another trace that caused it."""


class SpanSink(Protocol):
    """Where spans go. Never blocks; bounded."""

    def put(self, span: Span) -> None:
        """Take a span that has ended."""
