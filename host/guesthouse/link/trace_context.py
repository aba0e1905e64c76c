"""W3C Trace Context: which trace a message belongs to. Pure.

Ids are integers, as OpenTelemetry has them: 128 bits of a trace, 64 of a span; 0 is no valid id.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

HEADER: Final = "traceparent"
_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_LONGEST: Final = 512
_INVALID: Final = "ff"
_SAMPLED: Final = 1


class TraceContext(Struct, frozen=True):
    """A span, by which others of the same trace may name it as their parent."""

    trace_id: int
    span_id: int
    sampled: bool = True
    """Whether who made it records the trace."""


def parse_traceparent(text: str) -> TraceContext | None:
    """The context of a `traceparent` header (section 3.2 of the recommendation); None if it is malformed."""
    match = _FORM.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == _INVALID or (version == "00" and more):
        return None
    context = TraceContext(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & _SAMPLED))
    return context if context.trace_id and context.span_id else None


def traceparent(trace_id: int, span_id: int) -> str:
    """The header of a span that is recorded."""
    return f"00-{trace_id:032x}-{span_id:016x}-01"
