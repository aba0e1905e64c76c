"""The trace of the message in hand: read its context, add spans, attributes and events.

    from guesthouse_sdk import tracing

    with tracing.span("look up", table="prices") as span:
        price = look_up(item)
        span.set(price=price)

On a node that records no traces, and for the messages that are not sampled, all of this does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeAlias

from guesthouse_sdk import _wit
from guesthouse_sdk._checks import checked_text

AttributeValue: TypeAlias = str | int | float | bool
"""Integers are of 64 bits; larger ones are passed as text."""

_RUN: Final = 0
_I64: Final = 1 << 63


class Span:
    """A span that `span` began. After its block it changes nothing."""

    def __init__(self, number: int) -> None:
        self._number = number

    @property
    def recorded(self) -> bool:
        """Whether anything is recorded; asked before values that are costly to compute."""
        return self._number != _RUN

    def set(self, **attributes: AttributeValue) -> None:
        """Set attributes."""
        if self.recorded:
            _wit.tracing.set_attributes(self._number, _to_wit(attributes))

    def event(self, name: str, **attributes: AttributeValue) -> None:
        """Add an event."""
        if self.recorded:
            _wit.tracing.add_event(self._number, checked_text(name, "a name"), _to_wit(attributes))


def traceparent() -> str | None:
    """The context of the innermost open span as a `traceparent` header (W3C Trace Context), for others to go on with;
    None when the message is not traced. Requests to processes of this node have it without that.
    """
    return _wit.tracing.traceparent()


@contextmanager
def span(name: str, **attributes: AttributeValue) -> Iterator[Span]:
    """A span around a block, in the innermost open one. It fails when the block raises.

    Args:
        name: of the span; the same for all that do the same.
        attributes: of the span.
    """
    number = _wit.tracing.start_span(checked_text(name, "a name"))
    begun = Span(number)
    if attributes:
        begun.set(**attributes)
    try:
        yield begun
    except BaseException as error:
        _wit.tracing.end_span(number, f"{type(error).__name__}: {error}")
        raise
    _wit.tracing.end_span(number, None)


def set_attributes(**attributes: AttributeValue) -> None:
    """Set attributes of the whole run for the message in hand."""
    _wit.tracing.set_attributes(_RUN, _to_wit(attributes))


def add_event(name: str, **attributes: AttributeValue) -> None:
    """Add an event to the whole run for the message in hand."""
    _wit.tracing.add_event(_RUN, checked_text(name, "a name"), _to_wit(attributes))


def _to_wit(attributes: Mapping[str, AttributeValue]) -> list[tuple[str, _wit.tracing.AttributeValue]]:
    return [(name, _value_to_wit(value)) for name, value in attributes.items()]


def _value_to_wit(value: AttributeValue) -> _wit.tracing.AttributeValue:
    if isinstance(value, bool):
        return _wit.tracing.AttributeValue_Truth(value)
    if isinstance(value, int) and -_I64 <= value < _I64:
        return _wit.tracing.AttributeValue_Integer(value)
    if isinstance(value, float):
        return _wit.tracing.AttributeValue_Number(value)
    return _wit.tracing.AttributeValue_Text(checked_text(str(value), "an attribute"))
