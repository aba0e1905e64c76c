"""The values and calls of `wit/tracing.wit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from guesthouse_sdk._native.running import host


@dataclass
class AttributeValue_Text:  # noqa: N801 - the bindings' spelling
    value: str


@dataclass
class AttributeValue_Integer:  # noqa: N801 - the bindings' spelling
    value: int


@dataclass
class AttributeValue_Number:  # noqa: N801 - the bindings' spelling
    value: float


@dataclass
class AttributeValue_Truth:  # noqa: N801 - the bindings' spelling
    value: bool


AttributeValue: TypeAlias = (
    AttributeValue_Text | AttributeValue_Integer | AttributeValue_Number | AttributeValue_Truth
)


def traceparent() -> str | None:
    return host().tracing.traceparent()


def start_span(name: str) -> int:
    return host().tracing.start_span(name)


def end_span(span: int, error: str | None) -> None:
    host().tracing.end_span(span, error)


def set_attributes(span: int, attributes: list[tuple[str, AttributeValue]]) -> None:
    host().tracing.set_attributes(span, attributes)


def add_event(span: int, name: str, attributes: list[tuple[str, AttributeValue]]) -> None:
    host().tracing.add_event(span, name, attributes)
