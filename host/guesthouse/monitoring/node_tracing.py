"""Puts tracing together. Loaded only where `tracing.endpoint` is set."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from guesthouse.core.config import Settings
from guesthouse.core.ports import HttpServerPort, LogPort
from guesthouse.kernel.messaging.router import Router
from guesthouse.kernel.tracing.traced_operations import Handlers, TracedOperations, TracedReplies
from guesthouse.kernel.tracing.traced_process import TracedProcess
from guesthouse.kernel.tracing.tracer import Tracer
from guesthouse.monitoring.span_export import SpanExport, make_export


class Tracing:
    """The tracing of a node: what its parts are made with.

    Args:
        settings: the node's; `tracing.endpoint` is set.
        log: the node's log.
        export: takes spans; by default it is made by the settings.

    Raises:
        BadSetting: the endpoint or the file of headers is unusable, or OpenTelemetry is not installed.
    """

    def __init__(self, settings: Settings, log: LogPort, export: SpanExport | None = None) -> None:
        self.export = export or make_export(settings.tracing, settings.node, _FromThreads(log))
        self.tracer = Tracer(settings.tracing.sample_ratio, self.export)
        self.replies = TracedReplies(log)
        self.replies.tracer = self.tracer
        self.process = partial(TracedProcess, self.tracer, settings.tracing.incoming)
        self._log = log

    def handlers(self, router: Router, http: HttpServerPort) -> Handlers:
        """What carries out what a worker sends of traces."""
        return TracedOperations(self.tracer, router, http, self._log).handlers

    def current_trace(self) -> str | None:
        """The trace of what the node is handling now, in hexadecimal."""
        current = self.tracer.current
        return None if current is None else f"{current.trace_id:032x}"

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """See `figures.TracingCounts`."""
        messages, spans = self.tracer.counts, self.export.counts
        return {
            "messages": {"handled": messages.handled, "given-up": messages.given_up},
            "spans": {"exported": spans.exported, "dropped": spans.dropped, "failed": spans.failed},
        }

    async def close(self) -> None:
        """Export what is left, for at most a second."""
        await asyncio.to_thread(self.export.close)


class _FromThreads:
    """A log that other threads than the event loop's may write to."""

    def __init__(self, log: LogPort) -> None:
        self._log = log
        self._loop = asyncio.get_running_loop()

    def write(self, source: str, level: str, text: str, *, stream: str = "host", channel_id: int = 0) -> None:
        write = partial(self._log.write, source, level, text, stream=stream, channel_id=channel_id)
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(write)
