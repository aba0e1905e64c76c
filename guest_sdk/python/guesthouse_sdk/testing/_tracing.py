"""What a process adds to traces, in tests."""

from __future__ import annotations

from dataclasses import dataclass, field

from guesthouse_sdk._native.tracing import AttributeValue

_TRACE = "0af7651916cd43dd8448eb211c80319c"


@dataclass
class FakeSpan:
    """A span that the process made, or with the name `run` what it added to the whole."""

    name: str
    attributes: dict[str, str | int | float | bool] = field(default_factory=dict)
    events: list[tuple[str, dict[str, str | int | float | bool]]] = field(default_factory=list)
    error: str | None = None
    ended: bool = False


class FakeTracing:
    """Every message is of one trace, unless `traced` is false."""

    def __init__(self) -> None:
        self.traced = True
        self.spans = [FakeSpan("run")]
        """All spans, in order."""
        self._open = [0]

    def traceparent(self) -> str | None:
        return f"00-{_TRACE}-{self._open[-1] + 1:016x}-01" if self.traced else None

    def start_span(self, name: str) -> int:
        if not self.traced:
            return 0
        self.spans.append(FakeSpan(name))
        self._open.append(len(self.spans) - 1)
        return self._open[-1]

    def end_span(self, span: int, error: str | None) -> None:
        if span == 0 or span not in self._open:
            return
        self.spans[span].error = error
        while self._open[-1] >= span:
            self.spans[self._open.pop()].ended = True

    def set_attributes(self, span: int, attributes: list[tuple[str, AttributeValue]]) -> None:
        if self.traced and span in self._open:
            self.spans[span].attributes |= {name: value.value for name, value in attributes}

    def add_event(self, span: int, name: str, attributes: list[tuple[str, AttributeValue]]) -> None:
        if self.traced and span in self._open:
            self.spans[span].events.append((name, {each: value.value for each, value in attributes}))
