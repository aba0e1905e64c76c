from __future__ import annotations

from typing import Final

import pytest
from tests.wire import ToNode, ToWorker

from guesthouse.core.exit_cause import ExitCause
from guesthouse.core.messages import WsMessageType
from guesthouse.link.credit import push_cost

from .contract import OPEN, PUSH_ERROR, field_offset
from .guests import (
    ECHO,
    ECHO_CALLS,
    EVENT_PAYLOAD_AT,
    IS_PUSH,
    PUSH_CHANNEL,
    PUSH_TYPE_AT,
    RECEIVE,
    RESULT_NAMES,
    SCRATCH,
    data,
    process,
    say_result,
    text_to,
)
from .process import NODE, Guest, Worker

OK: Final = "ok"
ERRORS: Final = {name: f"e{number}" for number, name in enumerate(PUSH_ERROR.names)}

BLOB_ECHO: Final = process(
    ("messaging.receive", "messaging.get-blob", "http-server.send-ws-push", "system.print"),
    f"""(loop $next {RECEIVE}
      (if {IS_PUSH} (then
        (call $get-blob (i32.const {SCRATCH}))
        (call $send-ws-push (i32.const 700) (i32.const {len(NODE)}) {PUSH_CHANNEL}
          (i32.load8_u (i32.const {PUSH_TYPE_AT}))
          (i32.load8_u (i32.const {SCRATCH + 4})) (i32.load (i32.const {SCRATCH + 8}))
          (i32.load (i32.const {SCRATCH + 12}))
          (i32.load (i32.const {SCRATCH + 16})) (i32.load (i32.const {SCRATCH + 20}))
          (i32.const {SCRATCH + 64}))
        {say_result(SCRATCH + 64)}))
      (br $next))""",
    more=RESULT_NAMES + data(NODE, 700),
)
"""Answers each message with the same payload and type, and prints the result."""


def result_of(guest: Guest) -> str:
    """What the guest printed of its push."""
    text: str = guest.expect(ToNode.LOG, "print")[2]
    return text


def test_a_text_is_echoed_on_its_channel(worker: Worker) -> None:
    guest = worker.start(ECHO)
    for channel in (1, 2):
        guest.open(channel)
    for channel, text in ((1, b"hello"), (2, "€".encode() * 1000), (1, b""), (2, b"\0")):
        guest.push(channel, text)
        assert guest.pushed(channel) == text


def test_messages_are_answered_in_order(worker: Worker) -> None:
    guest = worker.start(ECHO)
    guest.open(1)
    worker.send(*([ToWorker.PUSH, guest.handle, 1, 0, str(number).encode()] for number in range(500)))
    assert [guest.pushed(1) for _ in range(500)] == [str(number).encode() for number in range(500)]


@pytest.mark.parametrize("size", [0, 1, 125, 4096, 4097, 100_000, 1 << 20])
def test_bytes_of_every_size_are_echoed(worker: Worker, size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    guest = worker.start(BLOB_ECHO)
    guest.open(1)
    guest.push(1, payload[:size], 1)
    assert guest.expect(ToNode.PUSH) == [1, 1, payload[:size]]
    assert result_of(guest) == OK


@pytest.mark.parametrize("message_type", range(5))
def test_every_message_type_reaches_the_guest_and_comes_back(worker: Worker, message_type: int) -> None:
    guest = worker.start(BLOB_ECHO)
    guest.open(1)
    payload = (b"\x0f\xa1" if message_type == WsMessageType.CLOSE else b"xx") + b"x" * 123
    guest.push(1, payload, message_type)
    assert guest.expect(ToNode.PUSH) == [1, message_type, payload]


@pytest.mark.parametrize(
    ("payload", "message_type", "error"),
    [
        (b"x" * 126, 2, "ping-pong-too-long"),
        (b"x" * 126, 3, "ping-pong-too-long"),
        (b"x" * 126, 4, "ping-pong-too-long"),
        (b"x", 4, "bad-close"),
        (b"\x03\xed", 4, "bad-close"),
        (b"\x03\xe8\xff", 4, "bad-close"),
        (b"\xff", 0, "not-utf8"),
        (b"\xed\xa0\x80", 0, "not-utf8"),
        (b"x" * 1001, 0, "too-big"),
        (b"x" * 1001, 1, "too-big"),
    ],
)
def test_a_push_that_no_client_may_get_is_refused_and_sent_to_nobody(
    worker: Worker, payload: bytes, message_type: int, error: str
) -> None:
    guest = worker.start(BLOB_ECHO, message_bytes=1000)
    guest.open(1)
    guest.push(1, payload, message_type)
    assert result_of(guest) == ERRORS[error]
    guest.push(1, b"fine", 1)
    assert guest.expect(ToNode.PUSH) == [1, 1, b"fine"]


def test_a_push_of_the_largest_size_goes_out(worker: Worker) -> None:
    guest = worker.start(BLOB_ECHO, message_bytes=1000)
    guest.open(1)
    guest.push(1, b"x" * 1000)
    assert guest.pushed(1) == b"x" * 1000


def test_a_push_to_another_node_is_refused(worker: Worker) -> None:
    elsewhere = BLOB_ECHO.replace(data(NODE, 700), data("m.os", 700))
    assert elsewhere != BLOB_ECHO
    guest = worker.start(elsewhere)
    guest.open(1)
    guest.push(1, b"x")
    assert result_of(guest) == ERRORS["node-unreachable"]


def test_a_channel_without_credit_is_full_until_credit_comes_back(worker: Worker) -> None:
    payload = b"x" * 100
    guest = worker.start(text_to(1))
    guest.open(1, credit=2 * push_cost(len(payload)))
    results = []
    for _ in range(4):
        guest.push(1, payload)
        results.append(result_of(guest))
    assert results == [OK, OK, ERRORS["channel-full"], ERRORS["channel-full"]]
    worker.send([ToWorker.CREDIT, 1, push_cost(len(payload)) - 1])
    guest.push(1, payload)
    assert result_of(guest) == ERRORS["channel-full"]
    worker.send([ToWorker.CREDIT, 1, 1])
    guest.push(1, payload)
    assert result_of(guest) == OK
    assert [guest.pushed(1) for _ in range(3)] == [payload] * 3


def test_an_empty_message_costs_credit_too(worker: Worker) -> None:
    guest = worker.start(text_to(1))
    guest.open(1, credit=push_cost(0))
    for expected in (OK, ERRORS["channel-full"]):
        guest.push(1, b"")
        assert result_of(guest) == expected


def test_a_foreign_a_closed_and_a_missing_channel_cannot_be_told_apart(worker: Worker) -> None:
    owner, other = worker.start(ECHO), worker.start(text_to(9))
    other.open(1)
    other.push(1, b"missing")
    assert result_of(other) == ERRORS["channel-not-found"]
    owner.open(9)
    other.push(1, b"foreign")
    assert result_of(other) == ERRORS["channel-not-found"]
    owner.send(ToWorker.CLOSE, 9)
    other.push(1, b"closed")
    assert result_of(other) == ERRORS["channel-not-found"]
    other.open(9)
    other.push(1, b"own")
    assert other.pushed(9) == b"own"
    worker.send([ToWorker.CHANNEL_GONE, 9])
    other.push(1, b"gone")
    assert result_of(other) == OK
    assert result_of(other) == ERRORS["channel-not-found"]


def test_credit_for_a_channel_that_is_gone_is_dropped(worker: Worker) -> None:
    guest = worker.start(ECHO)
    worker.send([ToWorker.CREDIT, 77, 1000], [ToWorker.CHANNEL_GONE, 77])
    guest.send(ToWorker.CLOSE, 77)
    guest.open(1)
    guest.push(1, b"well")
    assert guest.pushed(1) == b"well"


def test_the_channels_of_a_dead_guest_are_nobodys(worker: Worker) -> None:
    guest = worker.start(ECHO)
    guest.open(9)
    guest.stop()
    worker.send([ToWorker.CREDIT, 9, 1000])
    other = worker.start(text_to(9))
    other.open(1)
    other.push(1, b"x")
    assert result_of(other) == ERRORS["channel-not-found"]


CLOSER = process(
    ("messaging.receive", "http-server.close-channel", "system.print"),
    f"""(loop $next {RECEIVE}
      (if {IS_PUSH} (then
        (call $close-channel {PUSH_CHANNEL} (i32.const 1) (i32.const CODE) (i32.const 800) (i32.const LENGTH)
          (i32.const {SCRATCH}))
        {say_result(SCRATCH)}))
      (br $next))""",
    more=RESULT_NAMES + data("r" * 200, 800),
)


def closer(code: int, reason_bytes: int) -> str:
    return CLOSER.replace("CODE", str(code)).replace("LENGTH", str(reason_bytes))


@pytest.mark.parametrize(("code", "reason_bytes"), [(1000, 0), (1001, 123), (3000, 5), (4999, 5), (1014, 5)])
def test_a_process_closes_its_channel_once(worker: Worker, code: int, reason_bytes: int) -> None:
    guest = worker.start(closer(code, reason_bytes))
    guest.open(1)
    guest.push(1, b"close")
    assert guest.expect(ToNode.CLOSE_CHANNEL) == [1, code, "r" * reason_bytes]
    assert result_of(guest) == OK
    guest.push(1, b"again")
    assert result_of(guest) == "e0"


@pytest.mark.parametrize(
    ("code", "reason_bytes", "error"),
    [
        (999, 0, "e1"),
        (1004, 0, "e1"),
        (1005, 0, "e1"),
        (1006, 0, "e1"),
        (1015, 0, "e1"),
        (2999, 0, "e1"),
        (5000, 0, "e1"),
        (65535, 0, "e1"),
        (1000, 124, "e2"),
    ],
)
def test_a_close_that_no_endpoint_may_send_is_refused(
    worker: Worker, code: int, reason_bytes: int, error: str
) -> None:
    guest = worker.start(closer(code, reason_bytes))
    guest.open(1)
    guest.push(1, b"close")
    assert result_of(guest) == error
    assert worker.got(ToNode.CLOSE_CHANNEL) == []


CLOSER_OF_MANY = process(
    ("messaging.receive", "http-server.close-channels", "system.print"),
    f"""(loop $next {RECEIVE}
      (if {IS_PUSH} (then
        (call $close-channels (i32.const 1600) (i32.const 5) (i32.const SOME) (i32.const CODE)
          (i32.const 800) (i32.const LENGTH) (i32.const {SCRATCH}))
        (call $print (i32.const 2) (i32.load (i32.const {SCRATCH}))
          (i32.mul (i32.const 8) (i32.load (i32.const {SCRATCH + 4}))))))
      (br $next))""",
    more=data("r" * 200, 800)
    + data("".join(number.to_bytes(4, "little").decode() for number in (1, 9, 3, 3, 2)), 1600),
)
"""Closes the channels 1, 9, 3, 3 and 2, and prints the bytes of what it is told of them."""


def closer_of_many(code: int | None, reason_bytes: int) -> str:
    some = "0" if code is None else "1"
    text = CLOSER_OF_MANY.replace("SOME", some).replace("CODE", str(code or 0))
    return text.replace("LENGTH", str(reason_bytes))


def unclosed(guest: Guest) -> list[tuple[int, int]]:
    """The channels that were not closed, and the numbers of the errors."""
    raw = result_of(guest).encode()
    assert len(raw) % 8 == 0
    return [(int.from_bytes(raw[at : at + 4], "little"), raw[at + 4]) for at in range(0, len(raw), 8)]


@pytest.mark.parametrize(("code", "reason_bytes"), [(None, 0), (1001, 123), (4999, 5)])
def test_many_channels_are_closed_at_once_each_once(
    worker: Worker, code: int | None, reason_bytes: int
) -> None:
    guest, other = worker.start(closer_of_many(code, reason_bytes)), worker.start(ECHO)
    for channel in (1, 2, 3, 4):
        guest.open(channel, 0)
    other.open(9)
    guest.push(4, b"close")
    closed = [guest.expect(ToNode.CLOSE_CHANNEL) for _ in range(3)]
    assert closed == [[channel, code or 1000, "r" * reason_bytes] for channel in (1, 3, 2)]
    assert unclosed(guest) == [(9, 0), (3, 0)]
    guest.push(4, b"again")
    assert [channel for channel, error in unclosed(guest) if error == 0] == [1, 9, 3, 3, 2]


@pytest.mark.parametrize(("code", "reason_bytes", "error"), [(1005, 0, 1), (65535, 0, 1), (1000, 124, 2)])
def test_a_close_that_no_endpoint_may_send_closes_none_of_many(
    worker: Worker, code: int, reason_bytes: int, error: int
) -> None:
    guest = worker.start(closer_of_many(code, reason_bytes))
    for channel in (1, 2, 3):
        guest.open(channel)
    guest.push(1, b"close")
    assert unclosed(guest) == [(1, error), (9, 0), (3, error), (3, error), (2, error)]
    assert worker.got(ToNode.CLOSE_CHANNEL) == []


MANY = process(
    (*ECHO_CALLS[:2], "http-server.send-ws-text-many", "system.print"),
    f"""(loop $next {RECEIVE}
      (if {IS_PUSH} (then (call $get-blob-text (i32.const {SCRATCH}))
        (call $send-ws-text-many (i32.const 1600) (i32.const 3)
          (i32.load (i32.const {SCRATCH + 4})) (i32.load (i32.const {SCRATCH + 8}))
          (i32.const {SCRATCH + 64}))
        (call $print (i32.const 2) (i32.add (i32.const 700)
          (i32.load (i32.const {SCRATCH + 68}))) (i32.const 1))))
      (br $next))""",
    more='(data (i32.const 1600) "\\01\\00\\00\\00\\02\\00\\00\\00\\03\\00\\00\\00")' + data("0123", 700),
)
"""Pushes each text to channels 1, 2 and 3 and prints how many were refused."""


def test_a_push_to_many_leaves_out_those_that_are_full_or_foreign(worker: Worker) -> None:
    guest = worker.start(MANY)
    guest.open(1)
    guest.open(2, credit=push_cost(5))
    guest.push(1, b"first")
    assert guest.expect(ToNode.PUSH_MANY) == [[1, 2], 0, b"first"]
    assert result_of(guest) == "1"
    guest.push(1, b"again")
    assert guest.expect(ToNode.PUSH_MANY) == [[1], 0, b"again"]
    assert result_of(guest) == "2"


def test_an_opening_reaches_the_guest_whole(worker: Worker) -> None:
    path = EVENT_PAYLOAD_AT + field_offset(OPEN, "path")
    told = process(
        ("messaging.receive", "system.print"),
        f"""{RECEIVE} (call $print (i32.const 2) (i32.load (i32.const {path}))
          (i32.load (i32.const {path + 4})))
        (call $print (i32.load8_u (i32.const {EVENT_PAYLOAD_AT + field_offset(OPEN, "resumed")}))
          (i32.load (i32.load (i32.const {EVENT_PAYLOAD_AT + field_offset(OPEN, "url-params")})))
          (i32.const 2))""",
    )
    guest = worker.start(told)
    guest.open(1)
    assert guest.expect(ToNode.LOG) == ["print", "info", "/", 1, 0]
    assert guest.expect(ToNode.LOG) == ["print", "error", "id", 1, 0]
    assert guest.death() == [ExitCause.RETURNED, "its run function returned"]
