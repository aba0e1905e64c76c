"""`receive-ws-push`: a client's message with its payload in one call, and what it leaves to `receive`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from tests.wire import ToNode, ToWorker

from guesthouse.core.exit_cause import ExitCause
from guesthouse.link.to_worker import Push, ToProcess
from guesthouse.link.trace_schema import Trace
from guesthouse.link.traced import of_trace
from guesthouse.wasm.engine.host_functions import PENDING
from guesthouse.wasm.errors import GuestTrap
from guesthouse.wasm.types import OptionOf
from guesthouse.wasm.values import Utf8
from guesthouse.worker.contract_messages import WS_PUSH, is_ws_push
from guesthouse.worker.guest import Guest, WaitingFor

from .contract import WS_MESSAGE, field_offset, payload_offset
from .driven import Driven
from .guests import IS_PUSH, RECEIVE, SCRATCH, data, process
from .process import Worker

PUSHED_AT: Final = SCRATCH + payload_offset(OptionOf(WS_MESSAGE))
TEXT_AT: Final = PUSHED_AT + field_offset(WS_MESSAGE, 1)
BYTES_AT: Final = PUSHED_AT + field_offset(WS_MESSAGE, 2)
RECEIVE_WS_PUSH: Final = f"(call $reset) (call $receive-ws-push (i32.const {SCRATCH}))"


def say(at: int) -> str:
    """Instructions that print an optional text or bytes."""
    return (
        f"(if (i32.load8_u (i32.const {at})) (then (call $print (i32.const 2) "
        f"(i32.load (i32.const {at + 4})) (i32.load (i32.const {at + 8})))))"
    )


TELLING: Final = process(
    ("messaging.receive", "messaging.receive-ws-push", "system.print"),
    f"""(loop $next {RECEIVE_WS_PUSH}
      (if (i32.load8_u (i32.const {SCRATCH}))
        (then (call $print (i32.const 2) (i32.add (i32.const 690) (i32.load (i32.const {PUSHED_AT}))) (i32.const 1))
          {say(TEXT_AT)} {say(BYTES_AT)})
        (else {RECEIVE}
          (call $print (i32.const 2) (select (i32.const 680) (i32.const 681) {IS_PUSH}) (i32.const 1))))
      (br $next))""",
    more=data("0123456789", 690) + data("po", 680),
)
"""Prints channel and payload of each push, `o` for what else it receives, and `p` for a push that was left."""


def lines(guest: Any, count: int) -> list[str]:
    return [guest.expect(ToNode.LOG, "print")[2] for _ in range(count)]


def test_a_push_comes_with_its_payload_and_what_else_comes_is_left(worker: Worker) -> None:
    guest = worker.start(TELLING)
    guest.open(1)
    assert lines(guest, 1) == ["o"]
    guest.push(1, "é".encode())
    assert lines(guest, 2) == ["1", "é"]
    guest.push(1, b"", 0)
    assert lines(guest, 2) == ["1", ""]
    guest.push(1, b"bytes", 1)
    assert lines(guest, 2) == ["1", "bytes"]
    guest.push(1, b"a ping", 2)
    assert lines(guest, 1) == ["p"]
    guest.send(ToWorker.CLOSE, 1)
    assert lines(guest, 1) == ["o"]


def test_messages_that_wait_keep_their_order_and_each_is_reported_once(worker: Worker) -> None:
    guest = worker.start(TELLING)
    guest.open(1)
    guest.push(1, b"first")
    guest.open(2)
    guest.push(2, b"second", 1)
    guest.push(1, b"third")
    assert lines(guest, 8) == ["o", "1", "first", "o", "2", "second", "1", "third"]
    guest.open(3)
    assert lines(guest, 1) == ["o"]
    guest.push(3, b"last")
    assert lines(guest, 2) == ["3", "last"]
    consumed = 0
    while consumed < 7:
        count, _ = guest.expect(ToNode.CONSUMED)
        consumed += count
    assert consumed == 7


def test_a_guest_that_never_takes_what_is_left_to_it_runs_out_of_time(worker: Worker) -> None:
    never = process(
        ("messaging.receive", "messaging.receive-ws-push"),
        f"{RECEIVE} (loop $next {RECEIVE_WS_PUSH} (br $next))",
    )
    guest = worker.start(never, cpu_seconds_per_message=0.2)
    guest.open(1)
    guest.open(2)
    assert guest.death() == [ExitCause.OUT_OF_TIME, "it used over 0.2 s of CPU on one message"]


# Without a worker


@pytest.fixture
def guest(driven: Callable[..., Driven]) -> Guest:
    return driven(cpu_seconds_per_message=2.0).guest


def pushed(kind: int, payload: bytes) -> Push:
    return Push(1, 7, kind, payload)


def test_a_waiting_guest_is_woken_by_what_it_will_not_take(guest: Guest) -> None:
    answers: list[Any] = []
    guest.fiber.answer = lambda produce: answers.append(produce())  # type: ignore[method-assign]
    assert guest.receive(WS_PUSH) is PENDING
    guest.deliver(pushed(2, b"a ping"))
    assert answers == [None]
    assert guest.waiting is WaitingFor.NOTHING
    assert (guest.taken, len(guest.inbox)) == (0, 1)
    guest.inbox.clear()
    assert guest.receive(WS_PUSH) is PENDING
    guest.deliver(pushed(1, b"data"))
    assert answers[1:] == [(7, None, b"data")]
    assert (guest.taken, guest.blob, guest.channel_id) == (1, (None, b"data"), 7)


@pytest.mark.parametrize(
    ("message", "taken"),
    [
        (pushed(0, b"text"), (7, Utf8(b"text"), None)),
        (pushed(0, "é".encode()), (7, Utf8("é".encode()), None)),
        (pushed(1, b"\xff"), (7, None, b"\xff")),
        (pushed(0, b"\xff"), None),  # which a node does not send
        (pushed(2, b""), None),
        (pushed(3, b""), None),
    ],
)
def test_text_that_is_utf8_and_bytes_are_taken(guest: Guest, message: ToProcess, taken: object) -> None:
    guest.inbox.append(message)
    assert is_ws_push(message) == (taken is not None)
    assert guest.receive(WS_PUSH) == taken
    assert len(guest.inbox) == (taken is None)


def test_what_is_left_renews_no_time(guest: Guest) -> None:
    guest.inbox.append(pushed(2, b""))
    guest.slice_budget = 0.5
    assert guest.receive(WS_PUSH) is None
    assert guest.slice_budget == 0.5
    guest.inbox.append(pushed(1, b""))
    guest.inbox.popleft()
    assert guest.receive(WS_PUSH) == (7, None, b"")
    assert guest.slice_budget == 2.0


def test_a_guest_that_is_to_finish_ends_once_it_has_taken_all(guest: Guest) -> None:
    guest.finishing = "replaced"
    guest.inbox.append(pushed(0, b"last"))
    assert guest.receive(WS_PUSH) == (7, Utf8(b"last"), None)
    with pytest.raises(GuestTrap, match="replaced"):
        guest.receive(WS_PUSH)


def test_a_trace_begins_with_the_push_that_is_taken(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Trace] = []
    monkeypatch.setattr(Guest, "begin_trace", lambda _, trace: begun.append(trace))
    trace = Trace(1, "1" * 32, 1)
    guest.inbox.append(of_trace(pushed(2, b""), trace))
    assert guest.receive(WS_PUSH) is None
    assert begun == []
    guest.inbox[0] = of_trace(pushed(0, b"text"), trace)
    assert guest.receive(WS_PUSH) == (7, Utf8(b"text"), None)
    assert begun == [trace]
