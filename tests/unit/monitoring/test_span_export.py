"""Spans on their way to a collector: how they look there, and what becomes of them when it is slow or gone."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
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

    def exporter(endpoint: str, *, headers: dict[str, str], timeout: float) -> InMemorySpanExporter:
        given.update(headers)
        return InMemorySpanExporter()

    monkeypatch.setattr("guesthouse.monitoring.span_export.OTLPSpanExporter", exporter)
    settings = TracingSettings(endpoint="http://127.0.0.1:1/", headers_file=str(tmp_path / "headers"))
    make_export(settings, "n.os", Lines()).close()
    assert given == {"Authorization": "Bearer x", "X-Scope": "a: b"}


def test_without_the_extra_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['opentelemetry'] = None; import guesthouse.monitoring.span_export"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'guesthouse[tracing]'" in done.stderr


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
