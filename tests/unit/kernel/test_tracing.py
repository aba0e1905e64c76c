"""Traces as the node keeps them: what is sampled, what goes on from process to process, what workers may say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace
from tests.wire import ToNode, ToWorker

from guesthouse.core.address import ProcessId
from guesthouse.core.messages import IncomingHttpRequest, Request
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.tracing.reports import check, spans_of
from guesthouse.kernel.tracing.spans import Span, SpanKind
from guesthouse.kernel.tracing.tracer import MOST_PUSHES, MOST_UNDER_WAY, TracedMessage, Tracer
from guesthouse.link.frames import LinkError
from guesthouse.link.to_node import TraceReport
from guesthouse.link.to_worker import Push
from guesthouse.link.trace_context import traceparent
from guesthouse.link.trace_schema import MOST_ATTRIBUTES, MOST_TEXT, ReportedSpan

from .conftest import Kernel, ScriptedWorker

FRONT, BACK = "front:tracer:a.os", "back:tracer:a.os"
STRANGER = traceparent(0xABC, 0xDEF)


class Sink:
    """Spans by name."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def put(self, span: Span) -> None:
        self.spans.append(span)

    def named(self, name: str) -> Span:
        (span,) = (span for span in self.spans if span.name == name)
        return span


class Feeder:
    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """Nothing is read."""


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def tracer(sink: Sink) -> Tracer:
    return Tracer(1.0, sink)


@pytest.fixture
async def kernel(new_kernel: Callable[..., Kernel], tracer: Tracer) -> Kernel:
    return new_kernel(tracer)


def report(handle: int, number: int, *spans: list[Any], error: str | None = None, **more: Any) -> list[Any]:
    said = {"taken": 0, "ended": 0, "attributes": [], "events": [], "dropped": 0, **more}
    times = said["taken"], said["ended"], 0.5
    about = said["attributes"], said["events"], list(spans), said["dropped"], error
    return [ToNode.TRACE_REPORT, handle, number, *times, *about]


async def fault(worker: ScriptedWorker) -> str:
    """Why the node ended a worker."""
    await worker.lost.wait()
    return str(worker.fault)


async def pushed(process: Process, worker: ScriptedWorker) -> list[Any]:
    """A client's message arrives; returns its trace as the worker is told of it."""
    process.post_push(7, 0, b"hello", Feeder())
    ((kind, _, channel, message_type, payload, trace),) = await worker.hear()
    assert (kind, channel, message_type, payload) == (ToWorker.TRACED_PUSH, 7, 0, b"hello")
    assert isinstance(trace, list)
    return trace


async def test_a_message_is_one_trace_from_its_arrival_to_its_push(
    kernel: Kernel, sink: Sink, tracer: Tracer
) -> None:
    worker = await kernel.worker()
    process, handle = kernel.process(worker, FRONT)
    number, trace_id, run = await pushed(process, worker)
    await worker.say(
        [ToNode.CONSUMED, handle, 1],
        [ToNode.TRACED_PUSH, handle, 7, 0, b"answer", number, 99],
        report(
            handle, number, ["guest", 99, run, "thinking", 0, 2**63, [["a", 1]], [["e", 5, []]], "it failed"]
        ),
    )
    await worker.settled(handle)
    assert kernel.http.asked[0] == ("push", process.id, 7, 0, b"answer")
    whole, wait, own = sink.named("websocket message"), sink.named("mailbox"), sink.named("run")
    push, thinking = sink.named("push"), sink.named("thinking")
    assert {f"{span.trace_id:032x}" for span in sink.spans} == {trace_id}
    assert (whole.parent_id, whole.kind) == (0, SpanKind.SERVER)
    assert [span.parent_id for span in (wait, own, thinking, push)] == [whole.span_id, whole.span_id, run, 99]
    assert own.span_id == run
    assert (
        whole.begun == wait.begun <= wait.ended == own.begun <= thinking.begun <= thinking.ended == own.ended
    )
    assert whole.ended >= own.ended
    assert own.begun <= thinking.events[0].at <= own.ended
    assert thinking.error == "it failed"
    assert dict(own.attributes)["guesthouse.worker"] == "worker-0"
    assert dict(push.attributes) == {
        "guesthouse.channel": 7,
        "guesthouse.message.bytes": 6,
        "guesthouse.process": FRONT,
    }
    assert len(tracer) == 0


async def test_a_request_and_its_response_are_of_the_trace_of_who_sent_them(
    kernel: Kernel, sink: Sink
) -> None:
    worker = await kernel.worker()
    front, front_handle = kernel.process(worker, FRONT)
    _, back_handle = kernel.process(worker, BACK)
    number, trace_id, run = await pushed(front, worker)
    send = [
        ToNode.TRACED_SEND,
        front_handle,
        f"home.os@{BACK}",
        b"why?",
        False,
        20,
        None,
        None,
        None,
        None,
        0,
        0,
        [],
    ]
    await worker.say([*send, number, run])
    (request,) = await worker.hear()
    asked, there = request[2], request[-1]
    assert (request[0], there[1]) == (ToWorker.TRACED_REQUEST, trace_id)
    answer = [ToNode.TRACED_RESPOND, back_handle, asked, b"so", False, None, None, None, []]
    await worker.say([*answer, there[0], there[2]], report(back_handle, there[0]))
    (response,) = await worker.hear()
    back_again = response[-1]
    assert (response[0], back_again[1]) == (ToWorker.TRACED_RESPONSE, trace_id)
    await worker.say(report(front_handle, number), report(front_handle, back_again[0]))
    await worker.settled(front_handle)
    assert sink.named("request").parent_id == run
    assert sink.named("response").parent_id == there[2]
    assert {f"{span.trace_id:032x}" for span in sink.spans} == {trace_id}


async def test_a_failure_that_comes_later_is_of_the_trace_of_its_request(kernel: Kernel) -> None:
    worker = await kernel.worker()
    front, handle = kernel.process(worker, FRONT)
    back, _ = kernel.process(worker, BACK)
    number, trace_id, run = await pushed(front, worker)
    send = [
        ToNode.TRACED_SEND,
        handle,
        f"home.os@{BACK}",
        b"why?",
        False,
        20,
        None,
        None,
        None,
        None,
        0,
        0,
        [],
    ]
    await worker.say([*send, number, run], report(handle, number))
    await worker.hear()
    kernel.router.remove(back)
    (failure,) = await worker.hear()
    assert (failure[0], failure[2], failure[-1][1]) == (
        ToWorker.TRACED_SEND_FAILURE,
        "no-such-process",
        trace_id,
    )


async def test_what_is_of_no_trace_is_sent_as_on_any_node(kernel: Kernel, tracer: Tracer) -> None:
    worker = await kernel.worker()
    front, handle = kernel.process(worker, FRONT)
    kernel.process(worker, BACK)
    tracer.ratio = 0.0
    front.post_push(7, 0, b"hello", Feeder())
    assert (await worker.hear())[0][0] == ToWorker.PUSH
    await worker.say([ToNode.SEND, handle, f"home.os@{BACK}", b"why?", False, 20])
    assert (await worker.hear())[0][0] == ToWorker.REQUEST
    tracer.ratio = 1.0
    await worker.say([ToNode.SEND, handle, f"home.os@{BACK}", b"why?", False, 20])
    assert (await worker.hear())[0][0] == ToWorker.REQUEST  # it is not from outside
    assert kernel.router.request(front.id, Request(b"from a service"), None, lambda _: None) is None
    assert (await worker.hear())[0][0] == ToWorker.TRACED_REQUEST


@pytest.mark.parametrize(
    ("incoming", "header", "ratio", "goes_on", "linked"),
    [
        ("link", STRANGER, 1.0, False, True),
        ("link", STRANGER, 0.0, None, False),
        ("link", "00-nonsense", 1.0, False, False),
        ("ignore", STRANGER, 1.0, False, False),
        ("follow", STRANGER, 0.0, True, False),
        ("follow", STRANGER[:-1] + "0", 1.0, None, False),
        ("follow", "00-nonsense", 1.0, False, False),
    ],
)
async def test_what_a_stranger_says_of_a_trace_counts_as_the_setting_says(
    new_kernel: Callable[..., Kernel],
    sink: Sink,
    incoming: str,
    header: str,
    ratio: float,
    goes_on: bool | None,
    linked: bool,
) -> None:
    kernel = new_kernel(Tracer(ratio, sink), incoming)
    worker = await kernel.worker()
    process, handle = kernel.process(worker, FRONT)
    asked = IncomingHttpRequest("GET", "http://a.os/f/x?key=secret", "/x", (("Traceparent", header),))
    assert process.post_http(3, asked, None, b"")
    (request,) = await worker.hear()
    assert request[0] == (ToWorker.HTTP if goes_on is None else ToWorker.TRACED_HTTP)
    if goes_on is None:
        return
    number, _, run = request[-1]
    answered = [ToNode.TRACED_HTTP_RESPONSE, handle, 3, 201, [], None, b"", number, run]
    await worker.say(answered, answered, report(handle, number))
    await worker.settled(handle)
    whole = sink.named("GET /x")
    assert (whole.trace_id == 0xABC, whole.parent_id == 0xDEF) == (goes_on, goes_on)
    assert (whole.link is not None) == linked
    said = dict(whole.attributes)
    assert (said["url.path"], said["http.response.status_code"]) == ("/f/x", 201)
    assert "secret" not in str(sink.spans)


async def test_two_headers_say_nothing(kernel: Kernel, sink: Sink) -> None:
    worker = await kernel.worker()
    process, handle = kernel.process(worker, FRONT)
    asked = IncomingHttpRequest("GET", "http://a.os/", "/", (("traceparent", STRANGER),) * 2)
    assert process.post_http(3, asked, None, b"")
    number = (await worker.hear())[0][-1][0]
    await worker.say(report(handle, number))
    await worker.settled(handle)
    assert sink.named("GET /").link is None


async def test_a_worker_that_names_the_trace_of_another_process_is_ended(kernel: Kernel) -> None:
    worker, other = await kernel.worker(), await kernel.worker()
    front, _ = kernel.process(worker, FRONT)
    _, handle = kernel.process(other, BACK)
    number, _, run = await pushed(front, worker)
    await other.say([ToNode.TRACED_PUSH, handle, 7, 0, b"", number, run])
    assert f"names a trace that {BACK} has no part in" in await fault(other)


async def test_a_number_of_no_trace_is_none(kernel: Kernel, sink: Sink) -> None:
    worker = await kernel.worker()
    _, handle = kernel.process(worker, FRONT)
    await worker.say([ToNode.TRACED_PUSH, handle, 7, 0, b"x", 12345, 6], report(handle, 12345))
    await worker.settled(handle)
    assert kernel.http.asked[0][-1] == b"x"
    assert sink.spans == []


async def test_a_node_that_traces_nothing_takes_nothing_of_traces(new_kernel: Callable[..., Kernel]) -> None:
    kernel = new_kernel()
    for message in (
        [ToNode.TRACED_PUSH, 0, 7, 0, b"", 1, 2],
        [ToNode.TRACED_SEND, 0, "n", b"", False, None, None, None, None, None, 0, 0, [], 1, 2],
        report(0, 1),
    ):
        worker = await kernel.worker()
        process, handle = kernel.process(worker, FRONT)
        assert type(process) is Process
        await worker.say([message[0], handle, *message[2:]])
        assert "this node traces nothing" in await fault(worker)


async def test_pushes_of_one_message_are_told_apart_up_to_a_number(kernel: Kernel, sink: Sink) -> None:
    worker = await kernel.worker()
    front, handle = kernel.process(worker, FRONT)
    number, _, run = await pushed(front, worker)
    for _ in range(2 * MOST_PUSHES // 32):
        await worker.say(*[[ToNode.TRACED_PUSH, handle, 7, 0, b"x", number, run]] * 32)
    await worker.settled(handle)
    assert len([span for span in sink.spans if span.name == "push"]) == MOST_PUSHES
    assert len([asked for asked in kernel.http.asked if asked[0] == "push"]) == 2 * MOST_PUSHES


async def test_a_log_line_has_the_trace_of_its_message(
    monkeypatch: pytest.MonkeyPatch, kernel: Kernel, tracer: Tracer
) -> None:
    worker = await kernel.worker()
    front, handle = kernel.process(worker, FRONT)
    number, trace_id, _ = await pushed(front, worker)
    seen: list[str] = []

    def write(*_: str, **__: object) -> None:
        seen.append("" if tracer.current is None else f"{tracer.current.trace_id:032x}")

    monkeypatch.setattr(kernel.log, "write", write)
    await worker.say(
        [ToNode.LOG, handle, "print", "info", "one", 0, number], [ToNode.LOG, handle, "print", "info", "two"]
    )
    await worker.settled(handle)
    assert seen[:2] == [trace_id, ""]


# Messages that are not handled.


async def test_a_message_that_was_not_taken_is_traced_on_in_the_next_run(
    kernel: Kernel, sink: Sink, tracer: Tracer
) -> None:
    worker = await kernel.worker()
    process, handle = kernel.process(worker, FRONT)
    kernel.http.open_channel(process.id, 7)
    await worker.hear()
    first = await pushed(process, worker)
    second = await pushed(process, worker)
    await worker.say([ToNode.CONSUMED, handle, 2])
    await worker.settled(handle)
    del worker.runs[handle]
    lost = process.end_run(worker_lost=True)
    assert lost == "the push of channel 7"
    assert sink.named("websocket message").error == "the run ended while it handled the message"
    again = kernel.run(worker, process)
    opened, push = await worker.hear(2)
    assert (opened[0], push[0], push[-1]) == (ToWorker.OPEN, ToWorker.TRACED_PUSH, second)
    assert tracer.under_way(first[0]) is None
    await worker.say(report(again, second[0]))
    await worker.settled(again)
    assert len(tracer) == 0


async def test_a_message_of_a_channel_that_is_gone_before_the_next_run_is_given_up(
    kernel: Kernel, sink: Sink, tracer: Tracer
) -> None:
    worker = await kernel.worker()
    process, handle = kernel.process(worker, FRONT)
    await pushed(process, worker)
    del worker.runs[handle]
    process.end_run()
    assert len(tracer) == 1
    kernel.run(worker, process)
    assert sink.named("websocket message").error == "its channel was closed before it was handled"
    assert len(tracer) == 0


async def test_what_the_next_run_of_the_node_takes_over_is_of_no_trace(kernel: Kernel) -> None:
    worker = await kernel.worker()
    process, _ = kernel.process(worker, FRONT)
    await pushed(process, worker)
    process.end_run()
    _, messages = process.mailbox.hand_over()
    assert [type(message) for message, _ in messages] == [Push]


async def test_a_process_that_is_gone_leaves_no_trace_open(
    kernel: Kernel, sink: Sink, tracer: Tracer
) -> None:
    worker = await kernel.worker()
    process, _ = kernel.process(worker, FRONT)
    await pushed(process, worker)
    process.end()
    assert sink.named("websocket message").error == "the process ended before it handled the message"
    process.post_http(1, IncomingHttpRequest("GET", "http://a/", "/"), None, b"")
    assert len(tracer) == 0


def test_traced_messages_are_bounded(sink: Sink) -> None:
    tracer = Tracer(1.0, sink)
    for _ in range(MOST_UNDER_WAY + 5):
        tracer.begin(ProcessId.parse(FRONT), "m", SpanKind.SERVER, None)
    assert len(tracer) == MOST_UNDER_WAY
    assert [span.error for span in sink.spans] == ["given up: too many messages are traced"] * 5
    assert tracer.counts.given_up == 5


# What a worker reports.


def message() -> TracedMessage:
    of = ProcessId.parse(FRONT)
    return TracedMessage(1, of, "m", SpanKind.SERVER, 5, 0, 6, 7, 100, [("guesthouse.process", FRONT)])


def said(**fields: Any) -> TraceReport:
    return replace(TraceReport(1, 1, 110, 120, 0.0, (), (), (), 0, None), **fields)


SPAN = ReportedSpan("guest", 9, 7, "s", 111, 112)


@pytest.mark.parametrize(
    "hostile",
    [
        said(spans=(replace(SPAN, span_id=0),)),
        said(spans=(SPAN, SPAN)),
        said(spans=(replace(SPAN, span_id=6),)),
        said(spans=(replace(SPAN, span_id=7),)),
        said(
            spans=tuple(
                replace(SPAN, span_id=each, attributes=(("a", 1),) * (MOST_ATTRIBUTES // 2 + 1))
                for each in (8, 9)
            )
        ),
        said(attributes=(("a", "x" * MOST_TEXT),) * 40),
    ],
)
def test_a_report_of_more_than_a_guest_may_add_ends_its_worker(hostile: TraceReport) -> None:
    with pytest.raises(LinkError):
        check(message(), hostile)


def test_times_and_parents_of_a_report_are_those_that_can_be() -> None:
    spans = (
        replace(
            SPAN, begun=0, ended=2**64 - 1, parent_id=12345, attributes=(("guesthouse.process", "another"),)
        ),
        replace(SPAN, span_id=10, parent_id=10, begun=119, ended=3),
    )
    hostile = said(taken=5, ended=2**64 - 1, spans=spans)
    check(message(), hostile)
    wait, run, first, second = spans_of(message(), hostile, "worker-0", 130)
    assert (wait.begun, wait.ended, run.begun, run.ended) == (100, 100, 100, 130)
    assert (first.begun, first.ended, first.parent_id) == (100, 130, 7)
    assert (second.begun, second.ended, second.parent_id) == (119, 119, 7)
    assert dict(first.attributes)["guesthouse.process"] == FRONT
