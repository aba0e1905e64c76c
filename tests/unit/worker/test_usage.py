"""What guests use is told while they run, and once more when they have come to rest."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace
from typing import Any, cast

import pytest

from guesthouse.link.schema import MOST_RUNS
from guesthouse.link.to_node import UsageUpdate
from guesthouse.worker import usage_report
from guesthouse.worker.link import LinkWriter
from guesthouse.worker.usage_report import UsageReport


class Said:
    """What a worker says, and what time it is."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.usage: list[UsageUpdate] = []
        patch.setattr(usage_report, "monotonic", lambda: self.now)
        self.report = UsageReport(cast(LinkWriter, self))

    def add(self, message: UsageUpdate) -> None:
        self.usage.append(message)

    def after_a_second(self, *guests: Any) -> list[tuple[int, int]]:
        """The handles that are reported, with their memory."""
        self.now += 1.0
        self.usage.clear()
        self.report.report(guests)
        return [(run.handle, run.used.memory_bytes) for item in self.usage for run in item.runs]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    return Said(monkeypatch)


def a_guest(handle: int, memory: int = 100) -> Any:
    return SimpleNamespace(
        handle=handle,
        cpu_seconds=0.0,
        serves=True,
        slice_budget=1.0,
        fiber=SimpleNamespace(calls=0, memory_bytes=lambda: memory),
        limits=SimpleNamespace(memory_bytes=2**30, cpu_seconds_per_message=1.0),
        budget=SimpleNamespace(held_seconds=0.0),
        log=SimpleNamespace(dropped=0),
    )


def test_a_guest_is_reported_while_it_runs_and_once_when_it_has_come_to_rest(said: Said) -> None:
    runs, rests = a_guest(1, 1000), a_guest(2)
    for _ in range(2):
        runs.cpu_seconds += 0.1
        assert said.after_a_second(runs, rests) == [(1, 1000)]
        assert said.report.due_seconds() == 1.0
    assert said.after_a_second(runs, rests) == [(1, 1000)]
    assert said.report.due_seconds() == inf
    assert said.after_a_second(runs, rests) == []


def test_nothing_is_said_more_than_once_a_second(said: Said) -> None:
    guest = a_guest(1)
    guest.cpu_seconds = 0.1
    said.report.report([guest])
    assert said.usage == []
    assert said.report.due_seconds() == 1.0
    assert said.after_a_second(guest) == [(1, 100)]


def test_thousands_of_guests_are_told_of_in_messages_that_the_node_takes(said: Said) -> None:
    guests = [a_guest(handle) for handle in range(2 * MOST_RUNS + 1)]
    for guest in guests:
        guest.cpu_seconds = 0.1
    assert len(said.after_a_second(*guests)) == len(guests)
    assert [len(item.runs) for item in said.usage] == [MOST_RUNS, MOST_RUNS, 1]
