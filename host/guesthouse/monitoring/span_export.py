"""Exports spans by OpenTelemetry's OTLP exporter, on a thread of its own.

Loaded only where `tracing.endpoint` is set. The queue is bounded: what a collector that is slow or gone does not take
is dropped and counted, and the node does not wait for it.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from guesthouse import __version__
from guesthouse.core.config import TracingSettings
from guesthouse.core.errors import BadSetting
from guesthouse.core.files.regular_file import read_regular
from guesthouse.core.ports import LogPort
from guesthouse.kernel.tracing.spans import Span, SpanKind

try:
    import requests  # which the exporter sends by
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags
    from opentelemetry.trace import SpanKind as OtelKind
except ModuleNotFoundError as error:
    raise BadSetting(
        f"tracing.endpoint is set, but OpenTelemetry is not installed ({error.name} is missing): "
        "pip install 'guesthouse[tracing]'"
    ) from None

BATCH: Final = 512
"""Spans of one request to the collector."""
_WAIT_SECONDS: Final = 1.0
"""How long the first span of a batch waits for others."""
_CLOSE_SECONDS: Final = 1.0
_ANSWER_BYTES: Final = 64 * 1024
"""So much of the collector's answer is read, for its connection to be used again."""
_OWN_SESSION: Final = "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER"
"""A variable by which OpenTelemetry makes a session of its own."""
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*)", re.ASCII)
_KINDS: Final = {
    SpanKind.INTERNAL: OtelKind.INTERNAL,
    SpanKind.SERVER: OtelKind.SERVER,
    SpanKind.CONSUMER: OtelKind.CONSUMER,
}
_SOURCE: Final = "tracing"


class ExportCounts(Struct):
    """What has become of spans."""

    exported: int = 0
    dropped: int = 0
    """The queue was full."""
    failed: int = 0
    """The collector refused them or was not there."""


class SpanExport:
    """A `SpanSink` that exports. `close` sends what is left, for at most a second.

    Args:
        exporter: sends spans; blocks.
        resource: what they are of.
        most: spans that may wait.
        log: the node's log.
        on_success: called after each batch that the collector took.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        resource: Mapping[str, str],
        most: int,
        log: LogPort,
        on_success: Callable[[], None] = lambda: None,
    ) -> None:
        self.counts = ExportCounts()
        self._exporter = exporter
        self._resource = Resource.create(dict(resource))
        self._scope = InstrumentationScope("guesthouse", __version__)
        self._log = log
        self._on_success = on_success
        self._failing = False
        self._spans: queue.Queue[Span | None] = queue.Queue(most)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tracing", daemon=True)
        self._thread.start()

    def put(self, span: Span) -> None:
        """See `SpanSink`."""
        try:
            self._spans.put_nowait(span)
        except queue.Full:
            self.counts.dropped += 1

    def close(self) -> None:
        """Export what is left, and give it up after a second."""
        self._closed.set()
        with suppress(queue.Full):  # then it is not waiting
            self._spans.put_nowait(None)
        self._thread.join(_CLOSE_SECONDS)
        self._exporter.shutdown()

    def _work(self) -> None:
        ends = False
        while not ends:
            batch: list[ReadableSpan] = []
            ends = self._fill(batch)
            if batch:
                self._export(batch)

    def _fill(self, batch: list[ReadableSpan]) -> bool:
        """Take the spans of a batch; returns whether there are no more to come."""
        span = self._spans.get()
        while span is not None:
            batch.append(self._readable(span))
            if len(batch) >= BATCH:
                return self._closed.is_set() and self._spans.empty()
            try:
                span = self._spans.get(
                    timeout=None if not batch else 0 if self._closed.is_set() else _WAIT_SECONDS
                )
            except queue.Empty:
                return self._closed.is_set()
        return True

    def _export(self, batch: Sequence[ReadableSpan]) -> None:
        try:
            result, why = self._exporter.export(batch), "see what the exporter logs"
        except Exception as error:  # an exporter must not end the thread
            result, why = SpanExportResult.FAILURE, repr(error)[:200]
        if result is SpanExportResult.SUCCESS:
            self.counts.exported += len(batch)
            if self._failing:
                self._log.write(_SOURCE, "info", "spans are exported again")
            self._failing = False
            self._on_success()
            return
        self.counts.failed += len(batch)
        if not self._failing:
            self._log.write(_SOURCE, "warning", f"spans cannot be exported and are dropped: {why}")
        self._failing = True

    def _readable(self, span: Span) -> ReadableSpan:
        parent = _context(span.trace_id, span.parent_id, remote=True) if span.parent_id else None
        link = span.link
        return ReadableSpan(
            span.name,
            _context(span.trace_id, span.span_id),
            parent,
            self._resource,
            dict(span.attributes),
            [Event(event.name, dict(event.attributes), event.at) for event in span.events],
            [Link(_context(link.trace_id, link.span_id, remote=True))] if link is not None else (),
            _KINDS[span.kind],
            status=Status(StatusCode.UNSET) if span.error is None else Status(StatusCode.ERROR, span.error),
            start_time=span.begun,
            end_time=span.ended,
            instrumentation_scope=self._scope,
        )


def _context(trace_id: int, span_id: int, *, remote: bool = False) -> SpanContext:
    return SpanContext(trace_id, span_id, remote, TraceFlags(TraceFlags.SAMPLED))


def make_export(settings: TracingSettings, node: str, log: LogPort) -> SpanExport:
    """The export that the settings ask for.

    Raises:
        BadSetting: the endpoint is no URL, or the file of headers cannot be read.
    """
    endpoint = settings.endpoint or ""
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise BadSetting(
            f"tracing.endpoint must be a URL such as http://127.0.0.1:4318/v1/traces, not {endpoint[:80]!a}"
        )
    to_log = _ToLog(log)
    logging.getLogger("opentelemetry").addHandler(to_log)
    logging.getLogger("opentelemetry").propagate = False
    exporter = OTLPSpanExporter(
        endpoint,
        headers=_headers(settings.headers_file),
        timeout=settings.timeout_seconds,
        session=None if _OWN_SESSION in os.environ else _session(),
    )
    resource = {
        "service.name": settings.service_name,
        "service.version": __version__,
        "service.instance.id": node,
    }
    return SpanExport(exporter, resource, settings.queue_spans, log, to_log.forget)


def _session() -> requests.Session:
    """A session that does not hold an answer in memory, however large, and for which a redirect is no success."""
    session = requests.Session()
    session.stream = True
    session.hooks["response"].append(_take_answer)
    return session


def _take_answer(response: requests.Response, **_: object) -> None:
    with response:
        if response.is_redirect:  # the exporter would count the spans as taken
            raise requests.RequestException(
                f"the collector answered {response.status_code}, a redirect: set tracing.endpoint to where it leads"
            )
        response.raw.read(_ANSWER_BYTES, decode_content=False)


def _headers(path: str | None) -> dict[str, str] | None:
    """The headers of a file, a line each; None without one: then `OTEL_EXPORTER_OTLP_HEADERS` counts."""
    if path is None:
        return None
    try:
        lines = read_regular(path).decode("latin-1").splitlines()
    except OSError as error:
        raise BadSetting(f"tracing.headers_file: {path}: {error.strerror}: make it readable") from None
    headers = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = _HEADER.fullmatch(line.strip())
        if match is None:
            raise BadSetting(
                f"tracing.headers_file: {path}: line {number} is no header such as `Name: value`"
            )
        headers[match[1]] = match[2]
    return headers


class _ToLog(logging.Handler):
    """What OpenTelemetry logs, in the node's log: each kind of message once, until a batch was taken."""

    def __init__(self, log: LogPort) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._said: set[str] = set()

    def forget(self) -> None:
        """Say again what was said."""
        self._said.clear()

    def emit(self, record: logging.LogRecord) -> Any:
        if record.msg in self._said:
            return
        self._said.add(record.msg)
        self._log.write(_SOURCE, "warning", record.getMessage()[:1000])
