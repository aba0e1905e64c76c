"""Traces on the link: how a worker is told of one, and what it reports.

A message of a trace is a kind of its own on the link (`TracedPush` beside `Push`), so what is not traced has no part in
it. A worker names a trace by the number that the node gave it.
"""

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta

from guesthouse.link.schema import U64, Message

MOST_SPANS: Final = 64
"""Spans that a guest makes for one message; as many calls that it waits for are recorded."""
MOST_EVENTS: Final = 64
"""Events of one message."""
MOST_ATTRIBUTES: Final = 128
"""Attributes of all spans and events of one message."""
MOST_CHARACTERS: Final = 32 * 1024
"""Characters of all names and texts of one message."""
MOST_NAME: Final = 128
MOST_TEXT: Final = 1024

_I64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
SpanName = Annotated[str, Meta(max_length=MOST_NAME)]
SpanText = Annotated[str, Meta(max_length=MOST_TEXT)]
AttributeValue: TypeAlias = SpanText | _I64 | float | bool
Attribute: TypeAlias = tuple[SpanName, AttributeValue]
Attributes = Annotated[tuple[Attribute, ...], Meta(max_length=MOST_ATTRIBUTES)]


class Trace(Message, frozen=True):
    """The trace of a message, and the span of the run that handles it."""

    number: int = 0
    trace_id: str = ""
    """In hexadecimal: the link has no such integers."""
    span_id: int = 0


NO_TRACE: Final = Trace()


class SpanEvent(Message, frozen=True):
    """An event of a span. Times are Unix nanoseconds."""

    name: SpanName
    at: U64
    attributes: Attributes


Events = Annotated[tuple[SpanEvent, ...], Meta(max_length=MOST_EVENTS)]


class ReportedSpan(Message, frozen=True):
    """A span of a run: one that the guest made, or a call that it waited for."""

    kind: Literal["guest", "call"]
    span_id: U64
    parent_id: U64
    name: SpanName
    begun: U64
    ended: U64
    attributes: Attributes = ()
    events: Events = ()
    error: SpanText | None = None


ReportedSpans = Annotated[tuple[ReportedSpan, ...], Meta(max_length=2 * MOST_SPANS)]
