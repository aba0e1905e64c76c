"""What a worker reports of messages of traces, and what guests may add: the C SDK against a real worker."""

from __future__ import annotations

from typing import Any

import pytest
from tests.wire import ToNode, ToWorker

from guesthouse.link.trace_schema import (
    MOST_ATTRIBUTES,
    MOST_CHARACTERS,
    MOST_EVENTS,
    MOST_NAME,
    MOST_SPANS,
    MOST_TEXT,
    Trace,
)
from guesthouse.worker.run_trace import RunTrace

from ..worker.process import Guest, Worker
from .conftest import Built
from .test_every_call import HERE, line, reply, tell

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
RUN_SPAN = 2**63 + 5


@pytest.fixture(scope="module")
def guest(built: Built, worker: Worker) -> Guest:
    """The guest on a node that traces, with channel 1 open."""
    guest = worker.start(built(HERE / "every_call"), traced=True).started()
    guest.open(1)
    line(guest)
    return guest


def traced(guest: Guest, command: str, number: int = 7) -> None:
    guest.send(ToWorker.TRACED_PUSH, 1, 0, command.encode(), [number, TRACE, RUN_SPAN])


def report(guest: Guest) -> dict[str, Any]:
    names = ("trace", "taken", "ended", "cpu", "attributes", "events", "spans", "dropped", "error")
    return dict(zip(names, guest.expect(ToNode.TRACE_REPORT), strict=True))


@pytest.mark.slow
def test_what_a_guest_adds_is_reported_with_what_it_pushed(guest: Guest) -> None:
    traced(guest, "tracing")
    channel, kind, text, number, pushed_in = guest.expect(ToNode.TRACED_PUSH)
    said = report(guest)
    assert (channel, kind, number, said["trace"]) == (1, 0, 7, 7)
    assert text.decode() == f"00-{TRACE}-{pushed_in:016x}-01"
    inner, outer = said["spans"]
    assert [inner[:4], outer[:4]] == [
        ["guest", pushed_in, outer[1], "inner"],
        ["guest", outer[1], RUN_SPAN, "outer"],
    ]
    assert inner[6] == [["a text", "é"], ["an integer", -5000000000], ["a number", 0.5], ["a truth", True]]
    assert [[name, given] for name, _, given in inner[7]] == [["an event", [["a text", "é"]]]]
    assert (inner[8], outer[8]) == ("it failed", None)
    assert said["attributes"] == [["an integer", -5000000000]]
    assert [name for name, *_ in said["events"]] == ["the end"]
    assert said["taken"] <= outer[4] <= inner[4] <= inner[5] <= outer[5] <= said["ended"]
    assert (said["dropped"], said["error"]) == (0, None)
    assert said["cpu"] > 0


def test_a_call_that_it_waits_for_is_a_span(guest: Guest) -> None:
    traced(guest, "state")
    reply(guest, "get-state", [], b"kept")
    reply(guest, "set-state", [b"new state"], None)
    reply(guest, "clear-state", [], None)
    assert guest.expect(ToNode.LOG)[2:] == ["had kept", 1, 7]
    assert [[kind, parent, name] for kind, _, parent, name, *_ in report(guest)["spans"]] == [
        ["call", RUN_SPAN, name] for name in ("get-state", "set-state", "clear-state")
    ]


def test_a_message_of_no_trace_is_as_on_any_node(guest: Guest) -> None:
    tell(guest, "tracing")
    assert guest.expect(ToNode.PUSH) == [1, 0, b"untraced"]
    traced(guest, "tracing", 8)
    guest.expect(ToNode.TRACED_PUSH)
    assert report(guest)["trace"] == 8


@pytest.mark.thorough
@pytest.mark.slow
def test_a_run_that_ends_reports_what_it_had_in_hand(built: Built, worker: Worker) -> None:
    guest = worker.start(built(HERE / "every_call"), traced=True).started()
    guest.open(2)
    line(guest)
    guest.send(ToWorker.TRACED_PUSH, 2, 0, b"trap", [9, TRACE, RUN_SPAN])
    said = report(guest)
    assert said["trace"] == 9
    assert said["error"].startswith("trap: ")
    assert guest.expect(ToNode.EXITED)[0] == "trap"


def many(count: int, size: int) -> list[tuple[str, tuple[str, str]]]:
    return [(f"{number:05}".ljust(size, "x"), ("text", "y" * size)) for number in range(count)]


def test_what_a_guest_adds_is_bounded() -> None:
    trace = RunTrace(Trace(1, TRACE, RUN_SPAN), 0.0)
    numbers = [trace.begin("n" * 1000) for _ in range(2 * MOST_SPANS)]
    assert numbers == [*range(1, MOST_SPANS + 1), *([0] * MOST_SPANS)]
    for number in numbers:
        trace.add_event(number, "e" * 1000, many(1, 5))
    for number in numbers:
        trace.set_attributes(number, many(2, 2000))
    trace.end(numbers[0], "x" * 100_000)
    trace.end(3, "ended already")
    trace.set_attributes(3, many(1, 1))
    said = trace.report(1, 0.0, "z" * 100_000)
    spans = said.spans
    events = [event for span in spans for event in span.events]
    attributes = [each for span in spans for each in span.attributes]
    attributes += [each for event in events for each in event.attributes]
    assert (len(spans), len(events)) == (MOST_SPANS, MOST_EVENTS)
    assert len(attributes) <= MOST_ATTRIBUTES
    texts = [*(s.name for s in spans), *(e.name for e in events), *(n for n, _ in attributes)]
    values = [value for _, value in attributes if isinstance(value, str)]
    assert max(map(len, texts)) == MOST_NAME
    assert max(map(len, values)) == MOST_TEXT
    assert sum(map(len, (*texts, *values))) <= MOST_CHARACTERS
    assert said.error == "z" * MOST_TEXT
    assert said.dropped > MOST_SPANS
