"""Traces of messages: which are sampled, what is known of those under way, and their spans.

A *traced message* has three spans: the whole, from its arrival until it is handled and the last push that it caused is
written; its wait in the mailbox; and the run of its process, in which are those that the worker reports. A message that
a traced one causes, such as a request to another process, is one of the same trace. Needs no event loop.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from random import getrandbits, random
from time import time_ns
from typing import Final

from msgspec import Struct

from guesthouse.core.address import ProcessId
from guesthouse.kernel.tracing.spans import Span, SpanKind, SpanSink
from guesthouse.link.trace_context import TraceContext
from guesthouse.link.trace_schema import Attribute, Trace

MOST_UNDER_WAY: Final = 1024
"""Traced messages at a time; the oldest is given up for a new one."""
MOST_PUSHES: Final = 128
"""Spans of pushes of one message."""
_REMEMBERED: Final = 8192
"""Contexts of messages that are kept for responses that come later."""


class TracedMessage(Struct, eq=False):
    """A message of a trace until its process has handled it."""

    number: int
    process: ProcessId
    name: str
    kind: SpanKind
    trace_id: int
    parent_id: int
    span_id: int
    run_span_id: int
    begun: int
    attributes: list[Attribute]
    link: TraceContext | None = None
    pushes: int = 0
    last: int = 0
    """When the last push was written."""

    @property
    def told(self) -> Trace:
        """As the worker is told of it."""
        return Trace(self.number, f"{self.trace_id:032x}", self.run_span_id)


class TracerCounts(Struct):
    """What has become of traced messages."""

    handled: int = 0
    given_up: int = 0
    """Those that were not handled: there were too many, or their process or worker ended."""


class Tracer:
    """The traces of a node.

    Args:
        ratio: the share of the messages that come from outside which is sampled.
        sink: takes spans that have ended.
    """

    def __init__(self, ratio: float, sink: SpanSink) -> None:
        self.ratio = ratio
        self.counts = TracerCounts()
        self.current: TraceContext | None = None
        """The span in which the node is now handling what a worker sent; None if that is of no trace."""
        self._sink = sink
        self._numbers = count(1)
        self._under_way: OrderedDict[int, TracedMessage] = OrderedDict()
        self._contexts: OrderedDict[int, tuple[ProcessId, TraceContext]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._under_way)

    def samples(self) -> bool:
        """Whether the next message is sampled."""
        return random() < self.ratio  # noqa: S311 - no secret

    def begin(
        self,
        process: ProcessId,
        name: str,
        kind: SpanKind,
        parent: TraceContext | None,
        *attributes: Attribute,
        link: TraceContext | None = None,
    ) -> TracedMessage:
        """A traced message arrives for a process.

        Args:
            process: who handles it.
            name: of its span.
            kind: of its span.
            parent: the span that caused it; None begins a trace.
            attributes: of its span.
            link: a span of another trace that caused it.
        """
        if len(self._under_way) >= MOST_UNDER_WAY:
            self.give_up(next(iter(self._under_way)), "given up: too many messages are traced")
        trace_id, parent_id = (new_id(128), 0) if parent is None else (parent.trace_id, parent.span_id)
        ours = ("guesthouse.process", str(process))
        message = TracedMessage(
            *(
                next(self._numbers),
                process,
                name,
                kind,
                trace_id,
                parent_id,
                new_id(64),
                new_id(64),
                time_ns(),
            ),
            [ours, *attributes],
            link,
        )
        self._under_way[message.number] = message
        self._contexts[message.number] = process, TraceContext(trace_id, message.run_span_id)
        if len(self._contexts) > _REMEMBERED:
            self._contexts.popitem(last=False)
        return message

    def under_way(self, number: int) -> TracedMessage | None:
        """A traced message that is not handled yet."""
        return self._under_way.get(number)

    def numbers_of(self, process: ProcessId) -> list[int]:
        """Those of a process."""
        return [number for number, message in self._under_way.items() if message.process == process]

    def context_of(self, process: ProcessId, number: int, span_id: int = 0) -> TraceContext | None:
        """A span of a traced message of a process, also after it was handled, for a while; without `span_id` that of
        the run.
        """
        of, context = self._contexts.get(number, (None, None))
        if context is None or of != process:
            return None
        return TraceContext(context.trace_id, span_id) if span_id else context

    @contextmanager
    def within(self, context: TraceContext | None) -> Iterator[None]:
        """What the node does in the block is of that span."""
        before, self.current = self.current, context
        try:
            yield
        finally:
            self.current = before

    def push(self, message: TracedMessage, name: str, parent_id: int, begun: int, *given: Attribute) -> None:
        """The node has carried out a push or response of a traced message, which began then."""
        message.pushes += 1
        message.last = time_ns()
        if message.pushes <= MOST_PUSHES:
            self._put(
                message, new_id(64), parent_id or message.run_span_id, name, begun, message.last, *given
            )

    def finish(self, message: TracedMessage, spans: list[Span], ended: int, error: str | None) -> None:
        """A traced message is handled; `spans` are those of its run."""
        self.counts.handled += 1
        self._end(message, spans, ended, error)

    def give_up(self, number: int, error: str) -> None:
        """A traced message will not be handled, or nothing more is heard of it."""
        message = self._under_way.get(number)
        if message is not None:
            self.counts.given_up += 1
            self._end(message, [], time_ns(), error)

    def _end(self, message: TracedMessage, spans: list[Span], ended: int, error: str | None) -> None:
        self._under_way.pop(message.number, None)
        for span in spans:
            self._sink.put(span)
        self._sink.put(
            Span(
                message.trace_id,
                message.span_id,
                message.parent_id,
                message.name,
                message.kind,
                message.begun,
                max(ended, message.last, message.begun),
                tuple(message.attributes),
                error=error,
                link=message.link,
            )
        )

    def _put(
        self,
        of: TracedMessage,
        span_id: int,
        parent_id: int,
        name: str,
        begun: int,
        ended: int,
        *given: Attribute,
    ) -> None:
        self._sink.put(
            Span(
                of.trace_id,
                span_id,
                parent_id,
                name,
                SpanKind.INTERNAL,
                begun,
                ended,
                (*given, of.attributes[0]),
            )
        )


def new_id(bits: int) -> int:
    """A random id that is not 0."""
    return getrandbits(bits) or 1
