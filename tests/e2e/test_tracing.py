"""Traces of messages, from a client through processes to a collector."""

from __future__ import annotations

import json
import os
import re
import shutil
from asyncio import create_subprocess_exec
from asyncio.subprocess import DEVNULL
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest
import pytest_asyncio
from tests.certificates import TRUSTS_NOBODY
from tests.tiers import thorough_after

from .clients import bound
from .collector import Collector, Seen, collecting
from .conftest import StartNode
from .daemon import Daemon
from .debian_tools import free_port
from .test_monitoring import listener, metrics
from .waiting import until

FRONT: Final = "front:tracer:test.os"
STRANGER: Final = f"00-{'a' * 32}-{'b' * 16}-01"
TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-01")
MOST_SPANS: Final = 64
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest_asyncio.fixture(loop_scope="module")
async def daemon(shared: StartNode, collector: Collector) -> Daemon:
    settings = {"tracing_endpoint": collector.url, "tracing_sample_ratio": 1, "monitoring_port": 0}
    return await shared("tracer", settings=settings)


async def told(daemon: Daemon, text: str) -> str:
    """What `front` answers to a message, on a channel of its own."""
    async with bound(daemon, FRONT, "/") as client:
        await client.send(text)
        return str(await client.receive())


def within(inner: Seen, outer: Seen) -> bool:
    return outer.begun <= inner.begun <= inner.ended <= outer.ended


async def test_one_trace_goes_from_a_client_through_two_processes_and_back(
    daemon: Daemon, collector: Collector
) -> None:
    assert await told(daemon, "ask") == "asked"
    trace = collector.trace(10, question="why?")
    whole = trace["front websocket message"]
    assert (whole.parent_id, whole.kind) == ("", 2)
    assert {
        name: next(each for each, span in trace.items() if span.span_id == trace[name].parent_id)
        for name in trace
        if name != "front websocket message"
    } == {
        "front mailbox": "front websocket message",
        "front run": "front websocket message",
        "front thinking": "front run",
        "front send-and-await-response": "front thinking",
        "front push": "front run",
        "back request": "front thinking",
        "back mailbox": "back request",
        "back run": "back request",
        "back answering": "back run",
    }
    for inner, outer in (
        ("front run", "front websocket message"),
        ("front push", "front websocket message"),
        ("front thinking", "front run"),
        ("front send-and-await-response", "front thinking"),
        ("back request", "front thinking"),
        ("back answering", "back run"),
    ):
        assert within(trace[inner], trace[outer]), (inner, outer)
    assert trace["front thinking"].attributes["tries"] == 1
    assert trace["front thinking"].events == [("thought", {})]
    assert trace["front thinking"].error is None
    assert collector.resources[0]["service.name"] == "guesthouse"
    (line,) = [line for line in await daemon.logs() if line["text"] == "asked"][-1:]
    assert (line["trace_id"], line["channel"]) == (whole.trace_id, whole.attributes["guesthouse.channel"])


async def test_a_response_that_comes_later_is_of_the_same_trace(daemon: Daemon, collector: Collector) -> None:
    assert await told(daemon, "tell") == "told"
    trace = collector.trace(11, guesthouse_other="e2e-node.os@back:tracer:test.os")
    response = next(span for span in trace.values() if span.name == "response")
    assert response.parent_id == trace["back answering"].span_id


@pytest.mark.parametrize(
    ("text", "other"),
    thorough_after(1, [("keep", "kv:distro:sys"), ("nobody", "nobody:tracer:test.os")], names=2),
)
async def test_answers_of_the_node_itself_are_of_the_trace_that_asked(
    daemon: Daemon, collector: Collector, text: str, other: str
) -> None:
    await told(daemon, text)
    names = {span.name for span in collector.trace(7, guesthouse_other=f"e2e-node.os@{other}").values()}
    assert names & {"response", "failure: no-such-process"}


async def test_an_http_request_is_linked_to_the_trace_of_a_stranger(
    daemon: Daemon, collector: Collector
) -> None:
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY, trust_env=False) as http:
        answer = await http.get(f"{daemon.url}/{FRONT}/page/a?b=c", headers={"traceparent": STRANGER})
    found = TRACEPARENT.fullmatch(answer.text)
    assert found is not None
    assert found[1] != "a" * 32
    trace = collector.trace(4, http_route="/page/:name")
    whole = trace["front GET /page/:name"]
    assert (whole.trace_id, whole.links) == (found[1], ["a" * 32])
    assert trace["front run"].span_id == found[2]
    assert whole.attributes["http.response.status_code"] == 200


async def test_a_guest_that_adds_without_end_is_bounded(daemon: Daemon, collector: Collector) -> None:
    assert await told(daemon, "flood") == "flooded"
    with collector.came:
        assert collector.came.wait_for(
            lambda: any("guesthouse.dropped" in s.attributes for s in collector.spans), 30
        )
    (run,) = (span for span in collector.spans if "guesthouse.dropped" in span.attributes)
    assert run.attributes["guesthouse.dropped"] > 1000
    spans = [span for span in collector.spans if span.trace_id == run.trace_id]
    texts = [
        text
        for span in spans
        for name, value in [
            *span.attributes.items(),
            *(each for _, given in span.events for each in given.items()),
        ]
        for text in (name, str(value))
    ]
    assert 10 < len(spans) <= 4 + MOST_SPANS
    assert sum(map(len, texts)) < 60_000
    assert await told(daemon, "context") != "untraced"


@pytest.mark.thorough
async def test_a_guest_that_traps_fails_its_span(daemon: Daemon, collector: Collector) -> None:
    async with bound(daemon, FRONT, "/") as client:
        await client.send("trap")

        def failed() -> set[str]:
            return {span.name for span in collector.spans if (span.error or "").startswith("trap: ")}

        with collector.came:
            assert collector.came.wait_for(lambda: failed() == {"run", "websocket message"}, 30), failed()


async def test_what_became_of_spans_is_in_the_metrics(daemon: Daemon, collector: Collector) -> None:
    url = await listener(daemon)
    await told(daemon, "context")

    async def counted() -> dict[tuple[str, str], float]:
        return await metrics(url)

    figures = await until(
        counted, lambda figures: figures["guesthouse_traced_spans_total", "exported"] > 0, "exported spans"
    )
    assert figures["guesthouse_traced_messages_total", "handled"] > 0
    assert figures["guesthouse_traced_spans_total", "dropped"] == 0


@pytest.mark.thorough
async def test_a_trace_goes_on_when_the_setting_says_so_and_a_dead_collector_harms_nobody(
    shared: StartNode, tmp_path: Path
) -> None:
    headers = tmp_path / "headers"
    headers.write_text("Authorization: Bearer secret\n")
    settings = {
        "tracing_endpoint": f"http://127.0.0.1:{free_port()}/v1/traces",
        "tracing_sample_ratio": 0,
        "tracing_incoming": "follow",
        "tracing_headers_file": headers,
        "tracing_timeout_seconds": 1,
    }
    daemon = await shared("tracer", settings=settings)
    assert await told(daemon, "context") == "untraced"
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY, trust_env=False) as http:
        for flags, expected in (("01", "a" * 32), ("00", "")):
            said = STRANGER[:-2] + flags
            answer = await http.get(f"{daemon.url}/{FRONT}/page/a", headers={"traceparent": said})
            found = TRACEPARENT.fullmatch(answer.text)
            assert ("" if found is None else found[1]) == expected
    line = await daemon.log_line("tracing", "cannot be exported")
    assert line["level"] == "warning"


@pytest.mark.skipif(
    shutil.which("otelcol") is None, reason="there is no OpenTelemetry Collector (otelcol) here"
)
async def test_the_real_collector_takes_what_a_node_exports(shared: StartNode, tmp_path: Path) -> None:
    port, output = free_port(), tmp_path / "seen"
    (tmp_path / "config.yaml").write_text(
        json.dumps(
            {
                "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
                "exporters": {"debug": {"verbosity": "detailed"}},
                "service": {
                    "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["debug"]}},
                    "telemetry": {"metrics": {"level": "none"}},
                },
            }
        )
    )

    async def seen() -> str:
        return output.read_text()

    with output.open("wb") as file:
        otelcol = await create_subprocess_exec(
            *("otelcol", "--config", f"file:{tmp_path / 'config.yaml'}"),
            stdout=DEVNULL,
            stderr=file,
            env=os.environ,
        )
    try:
        await until(seen, lambda text: "Everything is ready" in text, "a collector")
        settings = {"tracing_endpoint": f"http://127.0.0.1:{port}/v1/traces", "tracing_sample_ratio": 1}
        daemon = await shared("tracer", settings=settings)
        await told(daemon, "ask")
        text = await until(seen, lambda text: "answering" in text and "thinking" in text, "spans")
    finally:
        otelcol.terminate()
        await otelcol.wait()
    assert "guesthouse.process: Str(front:tracer:test.os)" in text
    assert "service.name: Str(guesthouse)" in text
