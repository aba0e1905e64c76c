from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guesthouse.core.address import ProcessId
from guesthouse.kernel.messaging.pending_requests import REQUEST_OVERHEAD, PendingRequest, PendingRequests
from guesthouse.link.to_node import Send

A, B = ProcessId.parse("a:a:a"), ProcessId.parse("b:b:b")


def added(
    requests: PendingRequests, deadline: float, *, sender: ProcessId = A, await_id: int = 0
) -> PendingRequest:
    waiting = requests.add(sender, Send(1, "n.os@b:b:b", b"", await_id=await_id), 10, deadline)
    requests.hold(waiting, B)
    return waiting


@given(st.lists(st.floats(0, 100), max_size=200), st.data())
def test_requests_expire_in_the_order_of_their_deadlines(deadlines: list[float], data: st.DataObject) -> None:
    requests = PendingRequests()
    waiting = [added(requests, deadline) for deadline in deadlines]
    settled = data.draw(st.sets(st.sampled_from(waiting).map(lambda one: one.id))) if waiting else set()
    for one in waiting:
        if one.id in settled:
            requests.settle(one)
    left = {
        one.id: deadline for one, deadline in zip(waiting, deadlines, strict=True) if one.id not in settled
    }
    assert requests.next_deadline() == (min(left.values()) if left else None)
    expired = [one.id for one in requests.expire(50)]
    assert [left[number] for number in expired] == sorted(
        deadline for deadline in left.values() if deadline <= 50
    )
    assert len(requests) == sum(deadline > 50 for deadline in left.values())


@pytest.mark.slow
def test_a_hundred_thousand_answered_requests_leave_no_heap_behind() -> None:
    requests = PendingRequests()
    for _ in range(100_000):
        requests.settle(added(requests, 1e9))
    assert len(requests._due) < 5000
    assert requests.next_deadline() is None


@pytest.mark.slow
def test_of_a_hundred_thousand_that_are_over_at_once_each_sweeps_out_a_few() -> None:
    requests = PendingRequests()
    waiting = [added(requests, 1e9 - number) for number in range(20_000)]
    requests.settle(waiting.pop(0))
    for one in waiting[:15_000]:
        before = len(requests._due)
        requests.settle(one)
        assert before - len(requests._due) <= 4
    assert len(requests._due) <= 2.5 * len(requests) + 1024
    assert requests.next_deadline() == 1e9 - 19_999
    assert [one.id for one in requests.expire(1e9)] == [one.id for one in reversed(waiting[15_000:])]


def test_sizes_are_counted_by_sender() -> None:
    requests = PendingRequests()
    one = added(requests, 1)
    added(requests, 1, sender=B)
    assert requests.size_of(A) == 10 + REQUEST_OVERHEAD
    requests.settle(one)
    assert requests.size_of(A) == 0


def left(requests: PendingRequests) -> list[PendingRequest]:
    """Those that nobody can answer any more, once all that was left is settled."""
    return [waiting for waiting in requests.left() if waiting is not None]


def test_a_request_is_lost_only_with_its_last_holder() -> None:
    requests = PendingRequests()
    one, two = added(requests, 1), added(requests, 1)
    requests.hold(one, A)
    requests.drop_holder(B, keep=set())
    assert left(requests) == [two]
    assert requests.get(one.id) is one
    requests.drop_holder(A, keep={one.id})
    assert left(requests) == []
    assert requests.holds(one, A)
    requests.drop_holder(A, keep=set())
    assert left(requests) == [one]
    assert not requests.anything_left


def test_the_end_of_a_run_forgets_only_what_it_blocked_on() -> None:
    requests = PendingRequests()
    awaited, other = added(requests, 1, await_id=5), added(requests, 1)
    requests.drop_sender(A, awaited_only=True)
    assert left(requests) == []
    assert requests.get(awaited.id) is None
    assert requests.get(other.id) is other
    requests.drop_sender(A, awaited_only=False)
    assert left(requests) == []
    assert len(requests) == 0


def test_what_a_process_left_is_no_other_runs_while_it_is_not_settled() -> None:
    requests = PendingRequests()
    taken, kept, handed = (added(requests, 1) for _ in range(3))
    requests.drop_holder(B, keep={kept.id})
    assert [requests.holds(each, B) for each in (taken, kept, handed)] == [False, True, False]
    requests.hold(handed, B)  # by another who has it: the next run may answer that again
    new = added(requests, 1)
    assert left(requests) == [taken]
    assert [requests.holds(each, B) for each in (taken, kept, handed, new)] == [False, True, True, True]
    requests.drop_holder(B, keep=set())
    requests.drop_holder(B, keep=set())
    assert left(requests) == [kept, handed, new], "each once"


def test_what_a_process_sent_is_no_other_processs_of_its_id_while_it_is_not_settled() -> None:
    requests = PendingRequests()
    old = [added(requests, deadline) for deadline in (1, 2, 3)]
    requests.drop_sender(A, awaited_only=False)
    assert requests.size_of(A) == 0
    assert requests.get(old[0].id) is None
    new = added(requests, 2)
    requests.drop_holder(B, keep={new.id})
    assert [waiting.id for waiting in requests.expire(1)] == [old[0].id]
    assert left(requests) == [], "nobody waits for them"
    assert requests.get(new.id) is new
    assert requests.size_of(A) == 10 + REQUEST_OVERHEAD
    assert len(requests) == 1


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "hold", "answer", "end", "end run", "some", "expire"]),
        st.integers(0, 7),
        st.integers(0, 7),
    ),
    max_size=60,
)


@given(_STEPS)
def test_no_request_is_lost_or_settled_twice_in_any_order(steps: list[tuple[str, int, int]]) -> None:
    requests, now = PendingRequests(), 0.0
    everybody = [ProcessId("p", str(number), "x.os") for number in range(4)]
    sent: dict[int, PendingRequest] = {}
    told: list[int] = []  # what became of it was said, by an answer or a failure
    void: set[int] = set()  # their senders ended
    for what, one, other in steps:
        process, second = everybody[one % 4], everybody[other % 4]
        waiting = requests.get(other + 1)
        if what == "send":
            made = requests.add(process, None, 10, now + 1 + other)
            requests.hold(made, second)
            sent[made.id] = made
        elif (
            what == "hold"
            and waiting is not None
            and any(requests.holds(waiting, each) for each in everybody)
        ):
            requests.hold(waiting, process)
        elif what == "answer" and waiting is not None and requests.holds(waiting, process):
            requests.settle(waiting)
            told.append(waiting.id)
        elif what == "end":
            void |= {each.id for each in sent.values() if each.sender == process and each.id not in told}
            requests.drop_sender(process, awaited_only=False)
            requests.drop_holder(process, set())
        elif what == "end run":
            requests.drop_holder(process, {other + 1})
        elif what == "some":
            for _, settled in zip(range(other), requests.left(), strict=False):
                told += [] if settled is None else [settled.id]
        elif what == "expire":
            now += 1
            told += [each.id for each in requests.expire(now) if each.id not in void]
    told += [each.id for each in left(requests)]
    held = {number for number, each in sent.items() if any(requests.holds(each, one) for one in everybody)}
    assert len(told) == len(set(told))
    assert not void.intersection(told)
    assert set(sent) == {*told, *void, *held}
    assert not held.intersection(told)
    assert len(requests) == len(held - void)
    assert sum(map(requests.size_of, everybody)) == len(requests) * (10 + REQUEST_OVERHEAD)
    told += [each.id for each in requests.expire(1e9)]
    assert len(told) == len(set(told))
    assert (len(requests), requests._held, requests._senders) == (0, {}, {})
