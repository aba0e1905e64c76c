"""What is large: it crosses in pieces between what others say, and one call passes only so much of it."""

from __future__ import annotations

from typing import Any, Final

import pytest
from tests.wire import Call, ToNode, ToWorker, to_worker

from guesthouse.core.config import MIB
from guesthouse.link.schema import PIECE_BYTES
from guesthouse.wasm.types import ListOf
from guesthouse.worker.served import contract

from .contract import field_offset, size_and_alignment
from .guests import ECHO, RECEIVE, RECEIVE_FOR_EVER, SCRATCH, process
from .process import Worker

AT: Final = MIB
"""Where what is large begins."""
PAGES: Final = 340
GROW: Final = f"(if (i32.eq (memory.grow (i32.const {PAGES})) (i32.const -1)) (then unreachable))"
SOME: Final = 4 * MIB
LARGE: Final = 16 * MIB


def stores(size: int) -> str:
    """Keeps so many bytes of the letter a as its state, and receives."""
    body = f"""{GROW} (memory.fill (i32.const {AT}) (i32.const 97) (i32.const {size}))
      (call $set-state (i32.const {AT}) (i32.const {size}) (i32.const {SCRATCH})) {RECEIVE_FOR_EVER}"""
    return process(("messaging.receive", "system.set-state"), body)


def calls(call: str, arguments: str, before: str = "") -> str:
    """Makes one call of the contract as it is now, when it gets a message."""
    interface, _, name = call.partition(".")
    type_ = contract.FUNCTIONS[f"guesthouse:process/{interface}"][name]
    body = f"(local $at i32) {GROW} {RECEIVE} {before} (call ${name} {arguments}) {RECEIVE_FOR_EVER}"
    return process(("messaging.receive", call), body, types={name: type_})


def numbers(*values: int) -> str:
    return " ".join(f"(i32.const {value})" for value in values)


@pytest.mark.slow
def test_others_are_answered_while_a_large_state_crosses(own_worker: Worker) -> None:
    echo = own_worker.start(ECHO).started()
    echo.open(1)
    own_worker.start(stores(LARGE))
    frames = own_worker.raw_frames(10_000)
    pieces = 0
    while not pieces:
        pieces += sum(message[0] == ToNode.PIECE for message in next(frames))
    echo.push(1, b"and I?")
    heard: list[list[Any]] = []
    while not any(message[:3] == [ToNode.PUSH, echo.handle, 1] for message in heard):
        heard = next(frames)
        pieces += sum(message[0] == ToNode.PIECE for message in heard)
    assert pieces < 16 * MIB // PIECE_BYTES


def test_a_large_state_is_stored_and_read_as_it_is(worker: Worker) -> None:
    guest = worker.start(stores(SOME))
    number, name, arguments = guest.expect(ToNode.CALL)
    assert (name, arguments) == (Call.SET_STATE, [b"a" * SOME])
    guest.send(ToWorker.REPLY, number, None)
    guest.started()


@pytest.mark.slow
def test_a_guest_that_ends_in_the_middle_says_no_more(own_worker: Worker) -> None:
    guest = own_worker.start(stores(LARGE))
    frames = own_worker.raw_frames(10_000)
    while not any(message[0] == ToNode.PIECE for message in next(frames)):
        pass
    guest.send(ToWorker.STOP, "in the middle")
    kinds: list[int] = []
    while ToNode.EXITED not in kinds:
        kinds += [message[0] for message in next(frames)]
    assert ToNode.WHOLE not in kinds
    other = own_worker.start(stores(SOME))
    assert other.expect(ToNode.CALL)[2] == [b"a" * SOME]


def test_what_comes_in_pieces_is_given_to_the_guest_whole(worker: Worker) -> None:
    """Also when another's comes between, and pieces for a run that is over are none of anybody's concern."""
    payload = "€".encode() * (MIB // 3)
    echo, other = worker.start(ECHO, message_bytes=2 * MIB).started(), worker.start(ECHO).started()
    for guest in (echo, other):
        guest.open(1)
    gone = worker.start(ECHO).started()
    gone.stop()
    for handle in (gone.handle, echo.handle):
        for start in range(0, len(payload), PIECE_BYTES):
            piece = payload[start : start + PIECE_BYTES]
            worker.link.sendall(to_worker([ToWorker.PIECE, handle, "payload", len(payload), piece]))
            other.push(1, b"between")
            assert other.pushed(1) == b"between"
        worker.link.sendall(to_worker([ToWorker.WHOLE, handle, [4, handle, 1, 0, b""]]))
    assert echo.pushed(1) == payload


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
@pytest.mark.parametrize("bad", [False, True])
def test_text_of_any_length_is_known_for_utf8(worker: Worker, size: int, *, bad: bool) -> None:
    """A large one is looked at in parts: a character may stand where they meet."""
    payload = ("x" * size + "€" * 400_000).encode() + b"\xe2\x82" * bad
    echo = worker.start(ECHO, message_bytes=3 * MIB).started()
    echo.open(1)
    echo.push(1, payload, 1)
    echo.push(1, b"then")
    if not bad:
        assert echo.pushed(1) == payload
    assert echo.pushed(1) in (b"", b"then")


STATIC: Final = "http-server.bind-http-static-path"


def static(path: int, content: int) -> str:
    """A path and content of so many bytes."""
    binding = numbers(0, 0, 0, 0, 0)
    return f"{numbers(AT, path)} {binding} {numbers(0, 0, 0, AT, content)} {numbers(SCRATCH)}"


def test_content_of_sixteen_mib_crosses(worker: Worker) -> None:
    guest = worker.start(calls(STATIC, static(1, LARGE)))
    guest.open(1)
    _, name, arguments = guest.expect(ToNode.CALL)
    assert (name, len(arguments[-1])) == (Call.BIND_HTTP, LARGE)


@pytest.mark.parametrize(
    ("call", "arguments", "limit"),
    [
        (STATIC, static(1, 16 * MIB + 1), 16 * MIB),
        (STATIC, static(MIB + 1, 1), MIB),
        ("system.set-state", numbers(AT, 16 * MIB + 1, SCRATCH), 16 * MIB),
        ("http-server.send-http-response", numbers(200, 0, 0, 1, 0, 0, 0, AT, 16 * MIB + 1), 16 * MIB),
    ],
    ids=["content", "path", "state", "response"],
)
def test_one_byte_more_than_a_call_takes_ends_the_guest_alone(
    worker: Worker, call: str, arguments: str, limit: int
) -> None:
    guest = worker.start(calls(call, arguments))
    guest.open(1)
    assert f"it passed {limit + 1} bytes to a call that takes {limit} at most" in guest.death()[1]


def inheriting(count: int) -> str:
    """Sends so many requests that inherit the blob of the message in hand, and pass nothing."""
    call = "messaging.send-requests"
    (_, type_), *_ = contract.FUNCTIONS["guesthouse:process/messaging"]["send-requests"].params
    assert isinstance(type_, ListOf)
    size, _ = size_and_alignment(type_.element)
    inherit = AT + field_offset(type_.element, 1)  # type: ignore[arg-type] # a tuple
    fill = f"""(loop $next
      (i32.store8 (i32.add (i32.const {inherit}) (i32.mul (local.get $at) (i32.const {size}))) (i32.const 1))
      (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const {count}))))"""
    return calls(call, numbers(AT, count), RECEIVE + fill)


@pytest.mark.parametrize(("count", "lives"), [(17, True), (18, False)])
def test_the_requests_of_one_call_inherit_a_blob_only_so_often(
    worker: Worker, count: int, *, lives: bool
) -> None:
    guest = worker.start(inheriting(count)).started()
    guest.open(1)
    guest.push(1, bytes(MIB))
    if lives:
        for _ in range(count):
            assert len(guest.expect(ToNode.SEND)[7]) == MIB
    else:
        assert f"inherited {18 * MIB} bytes in one call" in guest.death()[1]
