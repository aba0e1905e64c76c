"""Guests that try to end, hold or confuse their worker. Each costs itself its life and nobody else anything."""

from __future__ import annotations

import pytest
from tests.tiers import thorough_after
from tests.wire import ToWorker, to_node

from guesthouse.core.exit_cause import ExitCause
from guesthouse.link.frames import from_worker
from guesthouse.wasm.types import (
    BOOL,
    F64,
    S64,
    STRING,
    U8,
    U16,
    U32,
    FunctionType,
    ListOf,
    OptionOf,
    RecordOf,
    TupleOf,
    WitType,
)

from .contract import ADDRESS, BLOB, BOUND, BYTES, PUSHED
from .guests import ECHO, RECEIVE, RECEIVE_FOR_EVER, SCRATCH, data, process
from .process import Worker

MIB = 1 << 20
ENOUGH = (
    "(if (i32.eq (memory.grow (i32.const 2500)) (i32.const -1)) (then unreachable))"
    "(memory.fill (i32.const 262144) (i32.const 97) (i32.const 163840000))"
)
"""Makes 150 MiB of the letter a, from 262144 on."""
HUGE = f"(i32.const 262144) (i32.const {100 * MIB})"


def lying(call: str, type_: FunctionType, body: str) -> str:
    """A process that imports a call with other types than the contract's, and makes it at once."""
    return process(
        (call, "messaging.receive"), f"{body} {RECEIVE_FOR_EVER}", types={call.partition(".")[2]: type_}
    )


def _takes(result: WitType | None, *params: WitType) -> FunctionType:
    return FunctionType(tuple((f"p{number}", param) for number, param in enumerate(params)), result)


def _assert_well_formed(worker: Worker) -> None:
    """The node closes the link at the first operation that no correct worker sends."""
    for operation in worker.got():
        assert list(from_worker().feed(to_node(operation)))


LIES = {
    "a float for a channel": lying(
        "http-server.send-ws-text",
        _takes(PUSHED, F64, STRING),
        f"{RECEIVE} (call $send-ws-text (f64.const 1) (i32.const 0) (i32.const 0) (i32.const {SCRATCH}))",
    ),
    "a bool for a channel": lying(
        "http-server.send-ws-text",
        _takes(PUSHED, BOOL, STRING),
        f"{RECEIVE} (call $send-ws-text (i32.const 1) (i32.const 0) (i32.const 0) (i32.const {SCRATCH}))",
    ),
    "a list for a channel": lying(
        "http-server.close-channel",
        _takes(None, BYTES, OptionOf(U16), STRING),
        "(call $close-channel (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))",
    ),
    "text for a payload": lying(
        "http-server.send-ws-push",
        _takes(PUSHED, STRING, U32, STRING, RecordOf((("bytes", STRING),))),
        f"""{RECEIVE} (call $send-ws-push (i32.const 700) (i32.const 4) (i32.const 1) (i32.const 704)
          (i32.const 6) (i32.const 0) (i32.const 3) (i32.const {SCRATCH}))""",
    ).replace("(func $run ", data("n.osbinary", 700) + "(func $run ", 1),
    "a float among channels": lying(
        "http-server.send-ws-text-many",
        _takes(None, ListOf(F64), STRING),
        f"""{RECEIVE} (f64.store (i32.const {SCRATCH}) (f64.const 1))
          (call $send-ws-text-many (i32.const {SCRATCH}) (i32.const 1) (i32.const 0) (i32.const 0))""",
    ),
    "a number for a path": lying(
        "http-server.bind-ws-path",
        _takes(BOUND, U32, RecordOf((("authenticated", U8),))),
        f"(call $bind-ws-path (i32.const 1) (i32.const 1) (i32.const {SCRATCH}))",
    ),
    "numbers for a state": lying(
        "system.set-state", _takes(None, ListOf(U16)), "(call $set-state (i32.const 0) (i32.const 2))"
    ),
    "a number for a verbosity": lying(
        "system.print", _takes(None, U32, STRING), "(call $print (i32.const 1) (i32.const 0) (i32.const 0))"
    ),
    "a number for a text": lying(
        "system.print", _takes(None, STRING, U32), "(call $print (i32.const 0) (i32.const 0) (i32.const 5))"
    ),
    "an unknown verbosity": lying(
        "system.print",
        _takes(None, STRING, STRING),
        "(call $print (i32.const 700) (i32.const 5) (i32.const 0) (i32.const 0))",
    ).replace("(func $run ", data("fatal", 700) + "(func $run ", 1),
    "a negative time": lying(
        "messaging.send-request",
        _takes(
            None,
            ADDRESS,
            RecordOf(
                (
                    ("inherit", BOOL),
                    ("expects-response", OptionOf(S64)),
                    ("body", BYTES),
                    ("metadata", OptionOf(STRING)),
                )
            ),
            OptionOf(BYTES),
            OptionOf(BLOB),
        ),
        """(i32.store8 (i32.const 4136) (i32.const 0)) (i32.store8 (i32.const 4144) (i32.const 1))
          (i64.store (i32.const 4152) (i64.const -5)) (call $send-request (i32.const 4096))""",
    ),
    "too many arguments": lying(
        "system.set-state",
        _takes(None, BYTES, U32),
        "(call $set-state (i32.const 0) (i32.const 0) (i32.const 0))",
    ),
    "no argument": lying("system.set-state", _takes(None), "(call $set-state)"),
    "a result that there is not": lying("system.our", _takes(U32), "(drop (call $our))"),
    "a result of a call that has none": lying(
        "system.print",
        _takes(U32, STRING, STRING),
        "(drop (call $print (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))",
    ),
    "a reason to restart that does not exist": lying(
        "system.set-on-exit", _takes(None, STRING), "(call $set-on-exit (i32.const 700) (i32.const 5))"
    ).replace("(func $run ", data("never", 700) + "(func $run ", 1),
    "requests that are numbers": lying(
        "system.set-on-exit",
        _takes(None, TupleOf((U32, ListOf(TupleOf((U32, U32, U32)))))),
        "(call $set-on-exit (i32.const 0) (i32.const 0) (i32.const 1))",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("lie", LIES)
def test_a_guest_that_lies_about_the_types_of_a_call_ends_alone(worker: Worker, lie: str) -> None:
    guest = worker.start(LIES[lie])
    guest.open(1)
    cause, _ = guest.death()
    assert cause in (ExitCause.HOST_FAULT, ExitCause.NOT_STARTED, ExitCause.TRAP)
    _assert_well_formed(worker)
    assert worker.is_alive()


FLOODS = {
    "a path": (
        ("http-server.bind-ws-path",),
        f"(call $bind-ws-path {HUGE} (i32.const 0) (i32.const {SCRATCH}))",
    ),
    "a path to unbind": (("http-server.unbind-ws-path",), f"(call $unbind-ws-path {HUGE})"),
    "a mime type": (
        ("http-server.bind-http-static-path",),
        f"""(call $bind-http-static-path (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
          (i32.const 1) {HUGE} (i32.const 0) (i32.const 0) (i32.const {SCRATCH}))""",
    ),
    "a log line": (("system.print",), f"(call $print (i32.const 1) {HUGE})"),
    "a text": (
        ("http-server.send-ws-text",),
        f"(call $send-ws-text (i32.const 1) {HUGE} (i32.const {SCRATCH}))",
    ),
    "a reason": (
        ("http-server.close-channel",),
        f"(call $close-channel (i32.const 1) (i32.const 0) (i32.const 0) {HUGE} (i32.const {SCRATCH}))",
    ),
    "the metadata of a response": (
        ("messaging.send-response",),
        f"""(call $send-response (i32.const 0) (i32.const 0) (i32.const 0)
          (i32.const 1) {HUGE} (i32.const 0) (i32.const 0)
          (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))""",
    ),
    "a target": (
        ("messaging.send-request",),
        f"""(i32.store (i32.const 4096) (i32.const 262144)) (i32.store (i32.const 4100) (i32.const {100 * MIB}))
          (call $send-request (i32.const 4096))""",
    ),
    "headers": (
        ("http-server.send-http-response",),
        f"""(i32.store (i32.const 4096) (i32.const 262144)) (i32.store (i32.const 4100) (i32.const {100 * MIB}))
          (call $send-http-response (i32.const 200) (i32.const 4096) (i32.const 1)
          (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))""",
    ),
    "requests at its end": (
        ("system.set-on-exit",),
        f"""(i32.store (i32.const 4096) (i32.const 262144)) (i32.store (i32.const 4100) (i32.const {100 * MIB}))
          (call $set-on-exit (i32.const 2) (i32.const 4096) (i32.const 1))""",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("flood", thorough_after(5, FLOODS))
def test_a_guest_that_sends_a_hundred_megabytes_where_a_word_belongs_ends_or_is_refused(
    own_worker: Worker, flood: str
) -> None:
    worker, (calls, body) = own_worker, FLOODS[flood]
    again = f"""(loop $again {body} (br_if $again
      (i32.lt_u (local.tee 8 (i32.add (local.get 8) (i32.const 1))) (i32.const 3))))"""
    guest = worker.start(
        process(
            ("messaging.receive", *calls),
            f"(local i32) {ENOUGH} {RECEIVE} {RECEIVE} {again} {RECEIVE_FOR_EVER}",
        ),
        memory_bytes=256 * MIB,
    )
    neighbour = worker.start(ECHO)
    neighbour.open(2)
    guest.open(1)
    if flood == "headers":
        guest.send(ToWorker.HTTP, 5, "GET", "/", "/", [], [], [], None, None, b"")
    else:
        guest.send(ToWorker.REQUEST, 5, "n.os@a:b:c", b"", False, None, None, None, None)
    neighbour.push(2, b"still here")
    assert neighbour.pushed(2) == b"still here"
    assert worker.is_alive()
    sizes = [sum(len(str(part)) for part in operation) for operation in worker.got()]
    assert max(sizes, default=0) < 20 * MIB
