"""`guesthouse:process/tracing`: the trace of the message in hand.

Capability: none; what a guest adds is bounded (`worker/run_trace.py`), and checked again by the node.
Errors: none; what is beyond the limits is counted.
Traps: nothing.
Blocks: nothing.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from guesthouse.wasm.engine.host_functions import Beyond, HostFunction
from guesthouse.worker.guest import Guest

INTERFACE: Final = "guesthouse:process/tracing"
_NOT_RECORDED: Final = 0

_Attributes: TypeAlias = list[tuple[str, tuple[str, Any]]]


def traceparent(guest: Guest) -> str | None:
    """The header of the innermost open span; None if nothing is recorded."""
    return None if guest.trace is None else guest.trace.traceparent()


def start_span(guest: Guest, name: str) -> int:
    """Begin a span; returns its number, or 0."""
    return _NOT_RECORDED if guest.trace is None else guest.trace.begin(name)


def end_span(guest: Guest, span: int, error: str | None) -> None:
    """End a span and those in it."""
    if guest.trace is not None:
        guest.trace.end(span, error)


def set_attributes(guest: Guest, span: int, attributes: _Attributes) -> None:
    """Set attributes of a span."""
    if guest.trace is not None:
        guest.trace.set_attributes(span, attributes)


def add_event(guest: Guest, span: int, name: str, attributes: _Attributes) -> None:
    """Add an event to a span."""
    if guest.trace is not None:
        guest.trace.add_event(span, name, attributes)


CALLS: Final = {
    "traceparent": HostFunction(traceparent),
    "start-span": HostFunction(start_span, beyond=Beyond.CUT),
    "end-span": HostFunction(end_span, beyond=Beyond.CUT),
    "set-attributes": HostFunction(set_attributes, beyond=Beyond.CUT),
    "add-event": HostFunction(add_event, beyond=Beyond.CUT),
}
