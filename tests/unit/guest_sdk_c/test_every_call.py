"""Every call of the C SDK against a real worker: each value arrives as it was sent, both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.wire import Call, ToNode, ToWorker

from ..worker.process import Guest, Worker
from .conftest import Built

FRIEND = "n.os@friend:tests:guesthouse.os"
KEEPER = "n.os@state:distro:sys"
LACKED = f'missing {{"bytes":9}} of {KEEPER}'
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def guest(built: Built, worker: Worker) -> Guest:
    """The guest, with channel 1 open."""
    guest = worker.start(built(HERE / "every_call")).started()
    guest.open(1)
    assert line(guest) == "open / 1 127.0.0.1:1 none id=7 new"
    return guest


def line(guest: Guest) -> str:
    text: str = guest.expect(ToNode.LOG, "print")[2]
    return text


def tell(guest: Guest, command: str) -> None:
    guest.push(1, command.encode())


def reply(guest: Guest, name: str, arguments: list[Any], value: object) -> None:
    """Await a call of that name and answer it."""
    call_id, *said = guest.expect(ToNode.CALL)
    assert said == [name, arguments]
    guest.send(ToWorker.REPLY, call_id, value)


@pytest.mark.slow
def test_an_opening_arrives_with_all_its_fields(guest: Guest) -> None:
    guest.send(
        ToWorker.OPEN,
        5,
        "/a/b",
        "[::1]:9",
        "10.0.0.1",
        [["a", "1"], ["b", ""]],
        [["q", "é"]],
        True,
        100,
        "/:a/:b",
        "v1",
    )
    assert line(guest) == "open /a/b 5 [::1]:9 10.0.0.1 a=1 b= q=é resumed"
    guest.send(ToWorker.CLOSE, 5)
    assert line(guest) == "closed 5"


def test_claims_of_a_client_are_there_until_its_end_is_received(guest: Guest) -> None:
    opened: tuple[Any, ...] = (8, "/", None, None, [], [], False, 100, "/", None)
    guest.send(ToWorker.OPEN, *opened, '{"user":"é"}')
    assert line(guest) == 'open / 8 none none new claims {"user":"é"}'
    guest.send(ToWorker.CLOSE, 8)
    assert line(guest) == "closed 8"
    guest.send(ToWorker.OPEN, *opened)
    assert line(guest) == "open / 8 none none new"


def test_a_text_goes_out(guest: Guest) -> None:
    tell(guest, "hello")
    assert guest.pushed(1) == b"hello"
    assert line(guest) == "text 0"


def test_a_blob_goes_out_with_its_type(guest: Guest) -> None:
    guest.push(1, b"\x00\xff", 1)
    assert guest.expect(ToNode.PUSH) == [1, 1, b"\x00\xff"]
    assert [line(guest), line(guest)] == ["blob none", "push 0"]


def test_a_refused_push_says_why(guest: Guest) -> None:
    tell(guest, "foreign")
    assert line(guest) == "push 1"


def test_state_is_read_written_and_cleared(guest: Guest) -> None:
    for before, set_answer, clear_answer, lines in (
        (b"old", None, None, ["had old", "set 0", "clear 0"]),
        (None, ["too-big", KEEPER, '{"bytes":9}'], "storage", ["had none", "set 1", LACKED, "clear 2"]),
        (b"", "storage", None, ["had ", "set 2", "clear 0"]),
    ):
        tell(guest, "state")
        reply(guest, Call.GET_STATE, [], before)
        reply(guest, Call.SET_STATE, [b"new state"], set_answer)
        reply(guest, Call.CLEAR_STATE, [], clear_answer)
        assert [line(guest) for _ in lines] == lines


def test_requests_go_out_with_and_without_their_options(guest: Guest) -> None:
    tell(guest, "ask")
    target, *rest = guest.expect(ToNode.SEND)
    assert target == FRIEND
    assert rest[:7] == [b"a question", False, 5, '{"a": 1}', b"what I asked", "text/plain", b"the blob"]
    target, *rest = guest.expect(ToNode.SEND)
    assert target == FRIEND
    assert rest[:5] == [b"told", True, None, None, None]


def test_a_response_arrives_with_its_context(guest: Guest) -> None:
    guest.send(ToWorker.RESPONSE, FRIEND, b"yes", False, None, b"asked", None, None, 0)
    assert line(guest) == "response yes to asked"


def test_a_failure_arrives_with_what_was_sent(guest: Guest) -> None:
    guest.send(
        ToWorker.SEND_FAILURE, "mailbox-full", FRIEND, b"body", False, 5, None, b"context", None, b"blob", 0
    )
    assert line(guest) == f"failed 3 {FRIEND} body blob context"


@pytest.mark.parametrize("attached", [[], [[FRIEND, "1"]]])
def test_a_failure_for_want_of_a_capability_names_it(guest: Guest, attached: list[list[str]]) -> None:
    sent = [FRIEND, b"body", False, 5, None, b"context", None, b"blob", 0]
    guest.send(ToWorker.SEND_FAILURE, "not-authorised", *sent, attached, [FRIEND, '"messaging"'])
    assert line(guest) == f"failed 4 {FRIEND} body blob context"
    assert line(guest) == f'missing "messaging" of {FRIEND}'


def test_a_request_is_answered(guest: Guest) -> None:
    guest.send(ToWorker.REQUEST, 9, FRIEND, b"how", False, 30, "{}", None, None)
    assert line(guest) == f"{FRIEND} asks how with {{}} within 30"
    assert guest.expect(ToNode.RESPOND) == [9, b"an answer", False, "7", "text/plain", b"the blob"]


def test_an_awaited_answer_comes_back(guest: Guest) -> None:
    tell(guest, "await")
    target, body, *_, await_id, _ = guest.expect(ToNode.SEND)
    assert (target, body) == (FRIEND, b"a question")
    guest.send(ToWorker.RESPONSE, FRIEND, b"42", False, None, None, None, None, await_id)
    assert line(guest) == f"answer 42 of {FRIEND}"


def test_an_awaited_answer_that_does_not_come_says_why(guest: Guest) -> None:
    tell(guest, "await")
    *_, await_id, _ = guest.expect(ToNode.SEND)
    guest.send(
        ToWorker.SEND_FAILURE, "timeout", FRIEND, b"a question", False, 7, None, None, None, None, await_id
    )
    assert line(guest) == "await failed 1"


def test_paths_are_bound_and_unbound(guest: Guest) -> None:
    for answer, code in ((None, 0), ("bad-path", 1), ("too-many", 2)):
        tell(guest, "bindings")
        reply(guest, Call.BIND_WS, ["/live", True, False, False, []], answer)
        reply(guest, Call.UNBIND_WS, ["/live"], None)
        reply(guest, Call.BIND_HTTP, ["/page", True, False, False, None, None, None], answer)
        reply(guest, Call.UNBIND_HTTP, ["/page"], None)
        assert [line(guest), line(guest)] == [f"bind ws {code}", f"bind http {code}"]


def test_a_path_that_may_not_be_bound_says_what_was_missing(guest: Guest) -> None:
    tell(guest, "bindings")
    for kind, arguments in (
        (Call.BIND_WS, ["/live", True, False, False, []]),
        (Call.BIND_HTTP, ["/page", True, False, False, None, None, None]),
    ):
        reply(guest, kind, arguments, ["not-authorised", FRIEND, '"messaging"'])
        unbind = Call.UNBIND_WS if kind == Call.BIND_WS else Call.UNBIND_HTTP
        reply(guest, unbind, arguments[:1], None)
    lines = [line(guest) for _ in range(4)]
    missing = f'missing "messaging" of {FRIEND}'
    assert lines == ["bind ws 6", missing, "bind http 6", missing]


def test_an_http_request_is_answered(guest: Guest) -> None:
    guest.send(
        *(ToWorker.HTTP, 3, "POST", "http://h/page?a=1", "/page", [["host", "h"]], [], []),
        *("127.0.0.1:1", None, b"body"),
    )
    assert line(guest) == "POST http://h/page?a=1 /page host=h"
    assert guest.expect(ToNode.HTTP_RESPONSE) == [
        *(3, 201, [["x-made-by", "c"]], "text/plain", b"the blob"),
    ]


def test_claims_of_an_http_request_are_those_of_the_last_one(guest: Guest) -> None:
    for http_id, more, told in ((4, ['{"user":"ann"}'], ' claims {"user":"ann"}'), (5, [], "")):
        guest.send(ToWorker.HTTP, http_id, "GET", "http://h/", "/", [], [], [], None, None, b"", *more)
        assert line(guest) == f"GET http://h/ /{told}"
        guest.expect(ToNode.HTTP_RESPONSE)


def test_what_is_released_is_used_again(guest: Guest) -> None:
    tell(guest, "scratch")
    assert line(guest) == "scratch 0"


def test_a_channel_is_closed_with_code_and_reason(guest: Guest) -> None:
    guest.open(6)
    line(guest)
    guest.push(6, b"close")
    assert guest.expect(ToNode.CLOSE_CHANNEL) == [6, 4000, "bye"]
    assert line(guest) == "close 0"


def test_many_channels_are_closed_and_those_that_are_not_there_named(guest: Guest) -> None:
    guest.open(6)
    line(guest)
    guest.push(6, b"close many")
    assert line(guest) == "unclosed 999:1 6:2 6:2"
    assert guest.expect(ToNode.CLOSE_CHANNEL) == [6, 4000, "bye"]
    assert line(guest) == "unclosed 999:1 6:1"


def test_pushes_are_received_with_their_payload_and_what_else_comes_is_left(guest: Guest) -> None:
    guest.push(1, b"receive pushes")
    guest.push(1, "é".encode())
    assert line(guest) == "1 text é blob"
    guest.push(1, b"data", 1)
    guest.push(1, b"", 1)
    assert line(guest) == "1 bytes data blob"
    assert line(guest) == "1 bytes  blob"
    guest.open(4)
    assert line(guest) == "no push"
    assert line(guest) == "open / 4 127.0.0.1:1 none id=7 new"
