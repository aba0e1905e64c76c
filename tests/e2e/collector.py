"""A collector that takes OTLP over HTTP, and keeps what it was sent."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from tests.patience import PATIENCE


@dataclass(frozen=True, slots=True)
class Seen:
    """A span as it was sent."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    begun: int
    ended: int
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    error: str | None
    links: list[str]
    """Trace ids."""

    @property
    def process(self) -> str:
        """Name of the process that it is of."""
        text: str = self.attributes.get("guesthouse.process", "")
        return text.partition(":")[0]


@dataclass
class Collector:
    """Where spans arrive."""

    url: str = ""
    spans: list[Seen] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    status: int = 200
    came: threading.Condition = field(default_factory=threading.Condition)

    def trace(self, count: int, **wanted: Any) -> dict[str, Seen]:
        """Wait until a trace has so many spans, one of which has these attributes; its spans by process and name."""
        wanted = {name.replace("_", "."): value for name, value in wanted.items()}

        def whole() -> list[Seen]:
            roots = [span for span in self.spans if wanted.items() <= span.attributes.items()]
            for root in roots:
                found = [span for span in self.spans if span.trace_id == root.trace_id]
                if len(found) >= count:
                    return found
            return []

        with self.came:
            assert self.came.wait_for(whole, PATIENCE), self.spans
            return {f"{span.process} {span.name}".strip(): span for span in whole()}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)


def _attributes(given: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in given}


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if collector.status == 200:
                _take(collector, body, dict(self.headers))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(collector.status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_port}/v1/traces"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _take(collector: Collector, body: bytes, headers: dict[str, str]) -> None:
    request = ExportTraceServiceRequest.FromString(body)
    with collector.came:
        collector.headers.append({name.lower(): value for name, value in headers.items()})
        for of_resource in request.resource_spans:
            collector.resources.append(_attributes(of_resource.resource.attributes))
            for scope in of_resource.scope_spans:
                collector.spans += map(_seen, scope.spans)
        collector.came.notify_all()


def _seen(span: Any) -> Seen:
    return Seen(
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.name,
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _attributes(span.attributes),
        [(event.name, _attributes(event.attributes)) for event in span.events],
        span.status.message if span.status.code == 2 else None,
        [link.trace_id.hex() for link in span.links],
    )
