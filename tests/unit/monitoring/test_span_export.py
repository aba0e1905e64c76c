"""Spans on their way to a collector: how they look there, and what becomes of them when it is slow or gone."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind as OtelKind
from opentelemetry.trace import StatusCode

from guesthouse.core.config import TracingSettings
from guesthouse.core.errors import BadSetting
from guesthouse.kernel.tracing.spans import Span, SpanKind
from guesthouse.link.trace_context import TraceContext
from guesthouse.link.trace_schema import SpanEvent
from guesthouse.monitoring.span_export import BATCH, SpanExport, make_export

SPAN = Span(0xA, 0xB, 0xC, "a span", SpanKind.SERVER, 100, 200, (("a", 1), ("a", 2), ("b", "x")))
SECONDS = 30.0


class Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, source: str, level: str, text: str, *, stream: str = "host", channel_id: int = 0) -> None:
        self.lines.append(f"{source} {level}: {text}")


class Stuck(SpanExporter):
    """A collector that takes a batch when it is let."""

    def __init__(self, answer: Callable[[], SpanExportResult]) -> None:
        self.answer = answer
        self.sizes: list[int] = []
        self.asked = threading.Semaphore(0)
        self.goes_on = threading.Semaphore(0)
        self.is_shut = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.sizes.append(len(spans))
        self.asked.release()
        assert self.goes_on.acquire(timeout=SECONDS)
        return self.answer()

    def shutdown(self) -> None:
        self.is_shut = True


def broken() -> SpanExportResult:
    raise ConnectionError("nobody there")


def test_a_span_is_what_it_was() -> None:
    memory, log = InMemorySpanExporter(), Lines()
    export = SpanExport(memory, {"service.name": "s", "service.instance.id": "n.os"}, 10, log)
    event = SpanEvent("an event", 150, (("c", True),))
    export.put(replace(SPAN, events=(event,), error="it failed", link=TraceContext(0xD, 0xE)))
    export.put(replace(SPAN, parent_id=0, kind=SpanKind.INTERNAL, error=None))
    export.close()
    first, second = memory.get_finished_spans()
    assert (first.name, first.kind, first.start_time, first.end_time) == ("a span", OtelKind.SERVER, 100, 200)
    assert first.context is not None
    assert (first.context.trace_id, first.context.span_id) == (0xA, 0xB)
    assert first.parent is not None
    assert first.parent.span_id == 0xC
    assert dict(first.attributes or {}) == {"a": 2, "b": "x"}
    assert [(each.name, each.timestamp, dict(each.attributes or {})) for each in first.events] == [
        ("an event", 150, {"c": True})
    ]
    assert (first.status.status_code, first.status.description) == (StatusCode.ERROR, "it failed")
    assert [link.context.trace_id for link in first.links] == [0xD]
    assert first.resource.attributes["service.instance.id"] == "n.os"
    assert second.parent is None
    assert (second.status.status_code, second.kind) == (StatusCode.UNSET, OtelKind.INTERNAL)
    assert (export.counts.exported, export.counts.dropped, export.counts.failed) == (2, 0, 0)
    assert log.lines == []


def test_what_a_slow_collector_does_not_take_is_dropped_and_counted() -> None:
    collector, log = Stuck(lambda: SpanExportResult.SUCCESS), Lines()
    export = SpanExport(collector, {}, 2 * BATCH, log)
    for _ in range(BATCH):
        export.put(SPAN)
    assert collector.asked.acquire(timeout=SECONDS)
    for _ in range(3 * BATCH):
        export.put(SPAN)  # never waits
    assert export.counts.dropped == BATCH
    for _ in range(4):
        collector.goes_on.release()
    export.close()
    assert collector.sizes == [BATCH] * 3
    assert export.counts.exported == 3 * BATCH
    assert collector.is_shut


@pytest.mark.parametrize("answer", [lambda: SpanExportResult.FAILURE, broken])
def test_a_collector_that_is_gone_is_said_once_and_when_it_is_back(
    answer: Callable[[], SpanExportResult],
) -> None:
    collector, log = Stuck(answer), Lines()
    export = SpanExport(collector, {}, 10 * BATCH, log)
    for _ in range(3):
        for _ in range(BATCH):
            export.put(SPAN)
        assert collector.asked.acquire(timeout=SECONDS)
        if len(collector.sizes) == 3:
            collector.answer = lambda: SpanExportResult.SUCCESS
        collector.goes_on.release()
    export.close()
    assert (export.counts.failed, export.counts.exported) == (2 * BATCH, BATCH)
    assert [line.partition(": ")[0] for line in log.lines] == ["tracing warning", "tracing info"]


@pytest.mark.slow
def test_closing_does_not_wait_long_for_a_collector_that_answers_nothing() -> None:
    collector = Stuck(lambda: SpanExportResult.SUCCESS)
    export = SpanExport(collector, {}, 10, Lines())
    export.put(SPAN)
    export.close()
    assert collector.is_shut
    collector.goes_on.release()


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4318", "grpc://127.0.0.1:4317", "http://", "x"])
def test_an_endpoint_that_is_no_url_is_refused(endpoint: str) -> None:
    with pytest.raises(BadSetting, match=r"tracing\.endpoint must be a URL such as"):
        make_export(TracingSettings(endpoint=endpoint), "n.os", Lines())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "make it readable"),
        ("Authorization: Bearer x\nno header\n", "line 2 is no header"),
        ("a b: c", "line 1"),
    ],
)
def test_a_file_of_headers_that_is_none_is_refused(tmp_path: Path, content: str | None, why: str) -> None:
    file = tmp_path / "headers"
    if content is not None:
        file.write_text(content)
    settings = TracingSettings(endpoint="http://127.0.0.1:1/v1/traces", headers_file=str(file))
    with pytest.raises(BadSetting, match=why):
        make_export(settings, "n.os", Lines())


def test_headers_of_the_file_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "headers").write_text("Authorization: Bearer x\n\nX-Scope: a: b\n")
    given: dict[str, Any] = {}

    def exporter(endpoint: str, *, headers: dict[str, str], **_: object) -> InMemorySpanExporter:
        given.update(headers)
        return InMemorySpanExporter()

    monkeypatch.setattr("guesthouse.monitoring.span_export.OTLPSpanExporter", exporter)
    settings = TracingSettings(endpoint="http://127.0.0.1:1/", headers_file=str(tmp_path / "headers"))
    make_export(settings, "n.os", Lines()).close()
    assert given == {"Authorization": "Bearer x", "X-Scope": "a: b"}


@contextmanager
def answering(head: bytes, chunk: bytes = b"", chunks: int = 0) -> Iterator[tuple[str, list[int]]]:
    """A collector that answers each connection so; its URL, and how many chunks went out on each."""
    sent: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):  # the listener was shut down
                while True:
                    connection, _ = listener.accept()
                    sent.append(0)
                    with connection, suppress(OSError):
                        connection.recv(1 << 20)
                        connection.sendall(head)
                        for _ in range(chunks):
                            connection.sendall(chunk)
                            sent[-1] += 1

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/traces", sent
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(SECONDS)


@contextmanager
def exporting(url: str) -> Iterator[tuple[SpanExport, Lines]]:
    """An export as a node has it, and what it logs."""
    log = Lines()
    logger = logging.getLogger("opentelemetry")
    before = list(logger.handlers)
    export = make_export(TracingSettings(endpoint=url), "n.os", log)
    try:
        yield export, log
    finally:
        export.close()
        logger.handlers[:] = before


def until(true: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(int(SECONDS * 100)):
        if true():
            return
        waiting.wait(0.01)
    pytest.fail("it did not come to pass")


@pytest.mark.slow
def test_an_answer_of_any_size_is_not_read_into_memory() -> None:
    length, chunk = 1 << 30, bytes(1 << 20)
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()
    with answering(head, chunk, length // len(chunk)) as (url, sent), exporting(url) as (export, _):
        export.put(SPAN)
        until(lambda: export.counts.exported == 1)
    assert max(sent) < 64  # what fits in the buffers of the socket


@pytest.mark.slow
def test_a_redirect_is_no_success() -> None:
    head = b"HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    with answering(head) as (url, sent), exporting(url) as (export, log):
        export.put(SPAN)
        until(lambda: export.counts.failed == 1)
    assert len(sent) == 1
    assert any("a redirect: set tracing.endpoint to where it leads" in line for line in log.lines)


@pytest.mark.slow
def test_what_the_exporter_says_of_a_collector_is_logged_once() -> None:
    head = b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with answering(head) as (url, _), exporting(url) as (export, log):
        for count in range(1, 4):
            export.put(SPAN)
            until(lambda count=count: export.counts.failed == count)  # type: ignore[misc]
    assert len(log.lines) == 2, log.lines
    assert "code: 500" in log.lines[0]
    assert "spans cannot be exported" in log.lines[1]


def test_without_the_extra_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['opentelemetry'] = None; import guesthouse.monitoring.span_export"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'guesthouse[tracing]'" in done.stderr


@pytest.mark.slow
def test_a_node_is_loaded_without_anything_of_traces() -> None:
    code = "import sys, guesthouse.node.node; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "guesthouse.kernel.process.process" in loaded
    of_traces = (
        "opentelemetry",
        "google.protobuf",
        "requests",
        "guesthouse.kernel.tracing",
        "guesthouse.monitoring.node_tracing",
    )
    assert [name for name in loaded if name.startswith(of_traces)] == []
