from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guesthouse.address import ProcessId
from guesthouse.kernel.requests import REQUEST_OVERHEAD, Requests, Waiting
from guesthouse.link.to_node import Send

A, B = ProcessId.parse("a:a:a"), ProcessId.parse("b:b:b")


def added(requests: Requests, deadline: float, *, sender: ProcessId = A, await_id: int = 0) -> Waiting:
    waiting = requests.add(sender, Send(1, "n.os@b:b:b", b"", await_id=await_id), 10, deadline)
    requests.hold(waiting, B)
    return waiting


@given(st.lists(st.floats(0, 100), max_size=200), st.data())
def test_requests_expire_in_the_order_of_their_deadlines(deadlines: list[float], data: st.DataObject) -> None:
    requests = Requests()
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


def test_a_hundred_thousand_answered_requests_leave_no_heap_behind() -> None:
    requests = Requests()
    for _ in range(100_000):
        requests.settle(added(requests, 1e9))
    assert len(requests._deadlines) < 5000
    assert requests.next_deadline() is None


def test_sizes_are_counted_by_sender() -> None:
    requests = Requests()
    one = added(requests, 1)
    added(requests, 1, sender=B)
    assert requests.size_of(A) == 10 + REQUEST_OVERHEAD
    requests.settle(one)
    assert requests.size_of(A) == 0


def test_a_request_is_lost_only_with_its_last_holder() -> None:
    requests = Requests()
    one, two = added(requests, 1), added(requests, 1)
    requests.hold(one, A)
    assert requests.drop_holder(B, keep=set()) == [two]
    assert requests.get(one.id) is one
    assert requests.drop_holder(A, keep={one.id}) == []
    assert requests.drop_holder(A, keep=set()) == [one]


def test_the_end_of_a_run_forgets_only_what_it_blocked_on() -> None:
    requests = Requests()
    awaited, other = added(requests, 1, await_id=5), added(requests, 1)
    requests.drop_sender(A, awaited_only=True)
    assert requests.get(awaited.id) is None
    assert requests.get(other.id) is other
    requests.drop_sender(A, awaited_only=False)
    assert len(requests) == 0
