from __future__ import annotations

from typing import Any, Final

import pytest
from tests.wire import Call, ToNode, ToWorker

from guesthouse.core.exit_cause import ExitCause
from guesthouse.link.schema import MOST_SUBPROTOCOLS
from guesthouse.wasm.types import FunctionType
from guesthouse.worker.served import contract

from .contract import AWAITED, INCOMING_REQUEST, MESSAGE, REQUEST, field_offset, payload_offset
from .guests import (
    IS_PUSH,
    MESSAGE_AT,
    RECEIVE,
    RECEIVE_FOR_EVER,
    RESULT_NAMES,
    SCRATCH,
    data,
    process,
    say_result,
)
from .process import OUR, Guest, Worker

OTHER: Final = "n.os@other:tests:guesthouse.os"

STATE = process(
    ("messaging.receive", "system.get-state", "system.set-state", "system.clear-state", "system.print"),
    f"""(call $get-state (i32.const {SCRATCH}))
      (if (i32.load8_u (i32.const {SCRATCH})) (then
        (call $print (i32.const 2) (i32.load (i32.const {SCRATCH + 4})) (i32.load (i32.const {SCRATCH + 8})))))
      (call $set-state (i32.const 700) (i32.const 5) (i32.const {SCRATCH})) {say_result(SCRATCH)}
      (call $clear-state (i32.const {SCRATCH})) {say_result(SCRATCH)}
      {RECEIVE_FOR_EVER}""",
    more=RESULT_NAMES + data("state", 700),
)


def call(guest: Guest) -> list[Any]:
    """The next call of the guest: its id, name and arguments."""
    return guest.expect(ToNode.CALL)


def said(guest: Guest) -> str:
    text: str = guest.expect(ToNode.LOG, "print")[2]
    return text


def test_state_is_read_written_and_cleared_by_the_node(worker: Worker) -> None:
    guest = worker.start(STATE)
    number, name, arguments = call(guest)
    assert (name, arguments) == (Call.GET_STATE, [])
    guest.send(ToWorker.REPLY, number, "kept €".encode())
    assert said(guest) == "kept €"
    number, name, arguments = call(guest)
    assert (name, arguments) == (Call.SET_STATE, [b"state"])
    guest.send(ToWorker.REPLY, number, None)
    assert said(guest) == "ok"
    number, name, arguments = call(guest)
    assert (name, arguments) == (Call.CLEAR_STATE, [])
    guest.send(ToWorker.REPLY, number, "storage")
    assert said(guest) == "e1"
    guest.started()


def test_state_that_the_node_cannot_read_ends_the_guest_and_is_not_told_as_none(worker: Worker) -> None:
    guest = worker.start(STATE)
    guest.send(ToWorker.REPLY, call(guest)[0], "storage")
    cause, detail = guest.death()
    assert (cause, detail) == (ExitCause.TRAP, "its state cannot be read; the node's log of `state` says why")


def test_a_reply_that_nobody_asked_for_is_dropped(worker: Worker) -> None:
    guest = worker.start(STATE)
    number, _, _ = call(guest)
    for wrong in (number + 1, number - 1, 0, -1, 2**63):
        guest.send(ToWorker.REPLY, wrong, b"wrong")
    worker.send([ToWorker.REPLY, guest.handle + 1000, number, b"wrong guest"])
    guest.send(ToWorker.REPLY, number, b"right")
    guest.send(ToWorker.REPLY, number, b"twice")
    assert said(guest) == "right"
    number, name, _ = call(guest)
    assert name == Call.SET_STATE


@pytest.mark.parametrize("reply", ["no such error", [], ["a:b:c"], ["too-big", "n.os@a:b:c", "1"]])
def test_a_reply_that_is_of_another_call_ends_the_guest_alone(worker: Worker, reply: Any) -> None:
    guest = worker.start(STATE)
    guest.send(ToWorker.REPLY, call(guest)[0], reply)
    assert guest.death()[0] == ExitCause.HOST_FAULT


def test_the_state_of_two_guests_is_not_confused(worker: Worker) -> None:
    guests = [worker.start(STATE) for _ in range(2)]
    numbers = [call(guest)[0] for guest in guests]
    assert numbers[0] == numbers[1]
    for guest, state in reversed(list(zip(guests, (b"one", b"two"), strict=True))):
        guest.send(ToWorker.REPLY, numbers[0], state)
    assert [said(guest) for guest in guests] == ["one", "two"]


# Sending and awaiting. The target's eight words, then inherit, expects-response, body, metadata and
# capabilities: 16 flat parameters of `send-and-await-response` are too many, so they lie in memory.

ARGUMENTS: Final = 4096
REQUEST_AT: Final = ARGUMENTS + 32
TARGET_PARTS: Final = ("n.os", "other", "tests", "guesthouse.os")


def _arguments(*, expects: bool = True, target: tuple[str, ...] = TARGET_PARTS) -> str:
    """Instructions that lay out a target and a request with the body `ping`."""
    lines, at = [], 8192
    for index, part in enumerate(target):
        lines.append(f"(i32.store (i32.const {ARGUMENTS + 8 * index}) (i32.const {at}))")
        lines.append(f"(i32.store (i32.const {ARGUMENTS + 8 * index + 4}) (i32.const {len(part)}))")
        at += 64
    expect = REQUEST_AT + field_offset(REQUEST, "expects-response")
    body = REQUEST_AT + field_offset(REQUEST, "body")
    lines.append(f"(i32.store8 (i32.const {expect}) (i32.const {int(expects)}))")
    lines.append(f"(i64.store (i32.const {expect + 8}) (i64.const 5))")
    lines.append(
        f"(i32.store (i32.const {body}) (i32.const 9000)) (i32.store (i32.const {body + 4}) (i32.const 4))"
    )
    return "\n      ".join(lines)


def _strings(target: tuple[str, ...] = TARGET_PARTS) -> str:
    return data("ping", 9000) + "".join(data(part, 8192 + 64 * index) for index, part in enumerate(target))


def awaiting(
    *,
    expects: bool = True,
    target: tuple[str, ...] = TARGET_PARTS,
    types: dict[str, FunctionType] | None = None,
    then: str = "",
) -> str:
    """A process that at each message sends `ping`, waits, and prints `ok` or `e` and the kind of error; `then`
    is what it does after that.
    """
    result = SCRATCH + 2048
    kind = result + payload_offset(AWAITED)
    return process(
        ("messaging.receive", "messaging.send-and-await-response", "system.print", "messaging.get-blob-text"),
        f"""(loop $next {RECEIVE}
      (if {IS_PUSH} (then {_arguments(expects=expects, target=target)}
        (call $send-and-await-response (i32.const {ARGUMENTS}) (i32.const {result}))
        (i32.store8 (i32.const {result + 1}) (i32.load8_u (i32.const {kind})))
        {say_result(result)} {then}))
      (call $get-blob-text (i32.const {SCRATCH + 1024}))
      (if (i32.load8_u (i32.const {SCRATCH + 1024})) (then (call $print (i32.const 2)
        (i32.load (i32.const {SCRATCH + 1028})) (i32.load (i32.const {SCRATCH + 1032})))))
      (br $next))""",
        more=RESULT_NAMES + _strings(target),
        types=types,
    )


def sent(guest: Guest) -> int:
    """The next SEND of the guest; returns its await id."""
    operation = guest.expect(ToNode.SEND)
    assert operation[:5] == [OTHER, b"ping", False, 5, None]
    await_id: int = operation[8]
    return await_id


def test_a_response_reaches_the_call_that_waits_for_it_past_other_messages(worker: Worker) -> None:
    guest = worker.start(awaiting())
    guest.open(1)
    guest.push(1, b"first")
    await_id = sent(guest)
    assert await_id > 0
    guest.push(1, b"second")
    guest.push(1, b"third")
    guest.send(ToWorker.RESPONSE, OTHER, b"stale", False, None, None, None, b"stale", await_id + 7)
    guest.send(ToWorker.RESPONSE, OTHER, b"pong", False, None, None, None, b"its blob", await_id)
    assert said(guest) == "ok"
    assert said(guest) == "its blob"
    second = sent(guest)
    assert second > await_id
    guest.send(ToWorker.RESPONSE, OTHER, b"pong", False, None, None, None, None, second)
    assert said(guest) == "ok"
    sent(guest)


@pytest.mark.parametrize(
    ("kind", "number"),
    [("offline", 0), ("timeout", 1), ("no-such-process", 2), ("mailbox-full", 3), ("not-authorised", 4)],
)
def test_a_failure_reaches_the_call_that_waits_for_it(worker: Worker, kind: str, number: int) -> None:
    guest = worker.start(awaiting())
    guest.open(1)
    guest.push(1, b"go")
    guest.send(ToWorker.SEND_FAILURE, kind, OTHER, b"ping", False, 5, None, None, None, None, sent(guest))
    assert said(guest) == f"e{number}"


@pytest.mark.parametrize("target", ["@::", "", "no address", "a@b@c:d", "n.os@a:b:c:d"])
def test_a_failure_names_what_was_sent_to_though_it_is_no_address(worker: Worker, target: str) -> None:
    guest = worker.start(awaiting())
    guest.open(1)
    guest.push(1, b"go")
    guest.send(
        ToWorker.SEND_FAILURE, "offline", target, b"ping", False, 5, None, None, None, None, sent(guest)
    )
    assert said(guest) == "e0"


def test_what_the_node_does_not_take_ends_the_guest_and_is_told_as_its_own_fault(worker: Worker) -> None:
    many = MOST_SUBPROTOCOLS + 1
    guest = worker.start(
        process(
            ("http-server.bind-ws-path",),
            f"""(call $bind-ws-path (i32.const 700) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)
              (i32.const {SCRATCH}) (i32.const {many}) (i32.const {SCRATCH + 8 * many}))""",
            more=data("/", 700),
            types={
                "bind-ws-path": contract.FUNCTIONS["guesthouse:process/http-server"]["bind-ws-path"],
            },
        )
    )
    cause, detail = guest.death()
    assert cause == ExitCause.TRAP
    assert detail.startswith("it passed a value that the node does not accept: a malformed Call")
    assert worker.is_alive()


def test_what_a_waiting_guest_took_is_reported_while_it_waits(worker: Worker) -> None:
    guest = worker.start(awaiting())
    guest.open(1)
    guest.push(1, b"go")
    consumed = 0
    while consumed < 2:
        count, in_hand = guest.expect(ToNode.CONSUMED)
        consumed += count
    assert in_hand
    sent(guest)


def test_the_node_is_told_that_what_a_guest_waited_with_is_finished(worker: Worker) -> None:
    guest = worker.start(awaiting())
    guest.open(1)
    assert guest.expect(ToNode.CONSUMED) == [1, False]
    guest.push(1, b"go")
    assert guest.expect(ToNode.CONSUMED) == [1, True]
    guest.send(ToWorker.RESPONSE, OTHER, b"pong", False, None, None, None, b"its blob", sent(guest))
    assert guest.expect(ToNode.CONSUMED) == [0, False]
    guest.push(1, b"go")
    assert guest.expect(ToNode.CONSUMED) == [1, True]
    sent(guest)


def test_a_guest_that_finishes_one_message_and_takes_the_next_is_told_of_once(worker: Worker) -> None:
    guest = worker.start(awaiting())
    guest.open(1)
    guest.push(1, b"go")
    await_id = sent(guest)
    worker.forget()
    worker.send(
        [ToWorker.RESPONSE, guest.handle, OTHER, b"pong", False, None, None, None, b"its blob", await_id],
        [ToWorker.PUSH, guest.handle, 1, 0, b"next"],
    )
    sent(guest)
    assert [each[2:] for each in worker.got(ToNode.CONSUMED, guest.handle)] == [[1, True]]


def test_awaiting_without_expecting_a_response_ends_the_guest(worker: Worker) -> None:
    guest = worker.start(awaiting(expects=False))
    guest.open(1)
    guest.push(1, b"go")
    cause, detail = guest.death()
    assert cause == ExitCause.TRAP
    assert "expects no response" in detail


def test_awaiting_itself_ends_the_guest(worker: Worker) -> None:
    guest = worker.start(awaiting(target=("n.os", "tiny", "tests", "guesthouse.os")))
    guest.open(1)
    guest.push(1, b"go")
    cause, detail = guest.death()
    assert cause == ExitCause.TRAP
    assert "itself" in detail


# Answering


def answering(body: str) -> str:
    """A process that answers whatever comes with a body, twice."""
    size = len(body.encode())
    answer = f"""(call $send-response (i32.const 0) (i32.const 9000) (i32.const {size})
      {"(i32.const 0) " * 11})"""
    return process(
        ("messaging.receive", "messaging.send-response"),
        f"(loop $next {RECEIVE} {answer} {answer} (br $next))",
        more=data(body, 9000),
    )


def test_a_request_is_answered_once(worker: Worker) -> None:
    guest = worker.start(answering("pong"))
    guest.send(ToWorker.REQUEST, 42, OTHER, b"ping", False, 5, None, None, None)
    assert guest.expect(ToNode.RESPOND) == [42, b"pong", False, None, None, None]
    assert "a response was dropped" in guest.expect(ToNode.LOG)[2]
    assert worker.got(ToNode.RESPOND) == []


def test_a_request_that_wants_no_answer_gets_none(worker: Worker) -> None:
    guest = worker.start(answering("pong"))
    guest.send(ToWorker.REQUEST, 0, OTHER, b"ping", False, None, None, None, None)
    assert "a response was dropped" in guest.expect(ToNode.LOG)[2]
    assert worker.got(ToNode.RESPOND) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "status", "headers"),
    [
        ('{"status": 201, "headers": {"X": "€"}}', 201, [["X", "€"]]),
        ('{"status": 204}', 204, []),
        ("not json", 500, []),
        ("[]", 500, []),
        ('{"headers": {}}', 500, []),
        ('{"status": 65536}', 500, []),
        ('{"status": -1}', 500, []),
        ('{"status": 1e400}', 500, []),
        ('{"status": 99999999999999999999999999}', 500, []),
        ('{"status": NaN}', 500, []),
        ('{"status": 200, "headers": {"X": "\\ud800"}}', 500, []),
        ('{"status": 200, "headers": {"\\udfff": "x"}}', 500, []),
        ('{"status": 200, "headers": []}', 500, []),
        ("[" * 100_000, 500, []),
        ('{"status": 200, "headers": {"X": "' + "[" * 498 + '"}}', 200, [["X", "[" * 498]]),
        ('{"status": 200, "headers": {"X": "' + "[" * 499 + '"}}', 500, []),
        ('{"status": ' + "9" * 5000 + "}", 500, []),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_answer_in_json_that_makes_no_sense_is_a_500(
    worker: Worker, body: str, status: int, headers: list[Any]
) -> None:
    guest = worker.start(answering(body))
    guest.send(ToWorker.HTTP, 9, "GET", "/", "/", [], [], [], None, None, b"")
    assert guest.expect(ToNode.HTTP_RESPONSE) == [9, status, headers, None, b""]
    assert worker.is_alive()


def test_the_source_of_a_request_reaches_the_guest(worker: Worker) -> None:
    at = MESSAGE_AT + payload_offset(MESSAGE) + field_offset(INCOMING_REQUEST, "source")
    told = process(
        ("messaging.receive", "system.print"),
        f"{RECEIVE} (call $print (i32.const 2) (i32.load (i32.const {at})) (i32.load (i32.const {at + 4})))",
    )
    guest = worker.start(told)
    guest.send(ToWorker.REQUEST, 0, "far.os@a:b:c", b"", False, None, None, None, None)
    assert said(guest) == "far.os"


def test_a_process_knows_its_own_address(worker: Worker) -> None:
    told = process(
        ("system.our", "system.print"),
        f"""(call $our (i32.const {SCRATCH}))
      (call $print (i32.const 2) (i32.load (i32.const {SCRATCH + 8})) (i32.load (i32.const {SCRATCH + 12})))
      (call $print (i32.const 2) (local.get 2) (local.get 3))""",
    )
    guest = worker.start(told)
    assert [said(guest), said(guest)] == [OUR.partition("@")[2].partition(":")[0]] * 2


def test_binding_a_path_blocks_until_the_node_has_done_it(worker: Worker) -> None:
    binds = process(
        ("messaging.receive", "http-server.bind-ws-path", "system.print"),
        f"""(call $bind-ws-path (i32.const 700) (i32.const 5) (i32.const 1) (i32.const {SCRATCH}))
      {say_result(SCRATCH)} {RECEIVE_FOR_EVER}""",
        more=RESULT_NAMES + data("/chat", 700),
    )
    guest = worker.start(binds)
    number, name, arguments = call(guest)
    assert (name, arguments) == (Call.BIND_WS, ["/chat", True, False, False, []])
    assert worker.got(ToNode.STARTED, guest.handle) == []
    guest.send(ToWorker.REPLY, number, "too-many")
    assert said(guest) == "e1"
    guest.started()


def test_on_exit_is_told_to_the_node_and_remembered(worker: Worker) -> None:
    changes = process(
        ("messaging.receive", "system.set-on-exit", "system.get-on-exit", "system.print"),
        f"""(call $set-on-exit (i32.const 1) (i32.const 0) (i32.const 0)) (call $get-on-exit (i32.const {SCRATCH}))
      (call $print (i32.const 2) (i32.add (i32.const 700) (i32.load8_u (i32.const {SCRATCH}))) (i32.const 1))""",
        more=data("0123", 700),
    )
    guest = worker.start(changes)
    assert guest.expect(ToNode.ON_EXIT) == ["restart"]
    assert said(guest) == "1"
