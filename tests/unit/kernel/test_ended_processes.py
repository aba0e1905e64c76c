from __future__ import annotations

from pathlib import Path

import pytest

from guesthouse.core.address import ProcessId
from guesthouse.core.exit_cause import CAUSES, ExitCause
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.supervision.ended_processes import (
    ENDED,
    FAILED,
    MOST_CHILDREN,
    MOST_KEPT,
    MOST_PARENTS,
    STOPPED,
    EndedProcesses,
)

ID = ProcessId.parse("a:b:c.os")


def process(name: str = "a") -> Process:
    return Process(ProcessId(name, "b", "c.os"), Path("x"), public=False, on_exit="none", mailbox_bytes=1)


@pytest.mark.parametrize("cause", sorted({*CAUSES, ExitCause.WORKER_LOST}))
def test_each_cause_but_returning_and_being_stopped_is_a_failure(cause: str) -> None:
    ended = EndedProcesses()
    ended.ended(process(), cause, "why")
    one = ended.get(ID)
    assert one is not None
    assert one.state == {ExitCause.RETURNED: ENDED, ExitCause.STOPPED: STOPPED}.get(cause, FAILED)
    assert one.in_words().endswith(": why")
    assert ended.forget(ID)
    assert ended.get(ID) is None
    assert not ended.forget(ID)


def test_the_end_of_a_process_that_then_cannot_be_started_is_not_forgotten() -> None:
    ended = EndedProcesses()
    ended.not_started(ID, "none", "first")
    ended.not_started(ID, "none", "second")
    one = ended.get(ID)
    assert one is not None
    assert one.detail == "second"
    ended.ended(process(), ExitCause.TRAP, "trap")
    ended.not_started(ID, "none", "third")
    one = ended.get(ID)
    assert one is not None
    assert one.cause == ExitCause.TRAP


def test_what_is_kept_is_bounded() -> None:
    ended = EndedProcesses()
    for number in range(MOST_KEPT + 1):
        ended.ended(process(f"p{number}"), ExitCause.TRAP, "x" * 100_000)
    assert ended.get(ProcessId("p0", "b", "c.os")) is None
    last = ended.get(ProcessId(f"p{MOST_KEPT}", "b", "c.os"))
    assert last is not None
    assert len(last.detail) == 2000


def child(number: int, package: str = "b") -> Process:
    id_ = ProcessId(f"p{number}", package, "c.os")
    return Process(id_, Path("x"), public=False, on_exit="none", mailbox_bytes=1)


def test_the_latest_children_of_each_package_are_kept_until_they_or_it_are_forgotten() -> None:
    ended = EndedProcesses()
    ended.ended(process(), ExitCause.TRAP, "the parent's")
    for number in range(MOST_CHILDREN + 2):
        ended.child_ended(child(number), ExitCause.TRAP, "x" * 100_000)
    ended.child_not_started(ProcessId.parse("late:b:c.os"), "no file")
    ended.child_ended(child(1, "other"), ExitCause.RETURNED, "")
    kept = [str(one.id) for one in ended.children("b:c.os")]
    assert kept == [*(f"p{number}:b:c.os" for number in range(3, MOST_CHILDREN + 2)), "late:b:c.os"]
    late = ended.get(ProcessId.parse("late:b:c.os"))
    assert late is not None
    assert (late.cause, late.state, late.on_exit) == (ExitCause.NOT_STARTED, FAILED, "restart")
    assert ended.forget(late.id)
    assert ended.get(late.id) is None
    assert not ended.forget(late.id)
    ended.forget_children("b:c.os")
    assert ended.children("b:c.os") == ()
    assert len(ended.children("other:c.os")) == 1
    assert ended.get(ID) is not None
    for number in range(MOST_PARENTS):
        ended.child_ended(child(0, f"k{number}"), ExitCause.TRAP, "")
    assert ended.children("other:c.os") == ()
