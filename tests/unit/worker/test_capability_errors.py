"""Refusals that name a capability, to components of contracts of any age: each hears what its own type can say."""

from __future__ import annotations

from typing import Final

import pytest
from tests.wire import Call, ToNode, ToWorker

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.types import (
    STRING,
    EnumOf,
    FunctionType,
    OptionOf,
    RecordOf,
    ResultOf,
    VariantOf,
    WitType,
)

from .contract import (
    AWAITED,
    BYTES,
    CAPABILITY,
    FUNCTIONS,
    SEND_ERROR,
    WS_BINDING,
    field_offset,
    payload_offset,
)
from .guests import RECEIVE_FOR_EVER, RESULT_NAMES, SCRATCH, data, process, say_result
from .process import Guest, Worker
from .test_calls import OTHER, awaiting, said, sent

ISSUER: Final = "n.os@http-server:distro:sys"
PARAMS: Final = '"messaging"'

NEW: Final = VariantOf((("bad-path", None), ("too-many", None), ("not-authorised", CAPABILITY)))
BARE: Final = EnumOf(("bad-path", "too-many", "not-authorised"))
BARE_VARIANT: Final = VariantOf((("too-many", None), ("not-authorised", None)))
OLD: Final = EnumOf(("too-many", "bad-path"))


def say_params(error: VariantOf, at: int) -> str:
    """Instructions that print the params of the capability that an error at an address carries."""
    params = (
        at
        + payload_offset(ResultOf(None, error))
        + payload_offset(error)
        + field_offset(CAPABILITY, "params")
    )
    return (
        f"""(call $print (i32.const 2) (i32.load (i32.const {params})) (i32.load (i32.const {params + 4})))"""
    )


def say_case(error: WitType, at: int) -> str:
    """`say_result` of a result whose error may be anywhere in it."""
    case = at + payload_offset(ResultOf(None, error))
    return f"(i32.store8 (i32.const {at + 1}) (i32.load8_u (i32.const {case}))) {say_result(at)}"


def binding(error: WitType, more: str = "") -> str:
    """A process of a contract with that `bind-error`, which prints what binding came to."""
    type_ = FunctionType((("path", STRING), ("binding", WS_BINDING)), ResultOf(None, error))
    return process(
        ("http-server.bind-ws-path", "system.print", "messaging.receive"),
        f"""(call $bind-ws-path (i32.const 700) (i32.const 1) (i32.const 0) (i32.const {SCRATCH}))
      {say_case(error, SCRATCH)} {more} {RECEIVE_FOR_EVER}""",
        more=RESULT_NAMES + data("/", 700),
        types={"bind-ws-path": type_},
    )


def refused(worker: Worker, component: str, name: str = "not-authorised") -> Guest:
    guest = worker.start(component)
    number, *_ = guest.expect(ToNode.CALL)
    guest.send(ToWorker.REPLY, number, [name, ISSUER, PARAMS])
    return guest


def test_a_binding_that_is_refused_names_the_capability(worker: Worker) -> None:
    guest = refused(worker, binding(NEW, say_params(NEW, SCRATCH)))
    assert [said(guest), said(guest)] == ["e2", PARAMS]
    guest.started()


@pytest.mark.parametrize(("error", "case"), [(BARE, "e2"), (BARE_VARIANT, "e1"), (OLD, "e1")])
def test_a_component_of_an_older_contract_hears_the_closest_that_it_knows(
    worker: Worker, error: WitType, case: str
) -> None:
    guest = refused(worker, binding(error))
    assert said(guest) == case
    guest.started()


def test_a_type_with_nothing_that_fits_ends_that_guest_alone(worker: Worker) -> None:
    guest = refused(worker, binding(EnumOf(("no-ui", "no-subdomain"))))
    cause, detail = guest.death()
    assert cause == ExitCause.HOST_FAULT
    assert "not-authorised" in detail
    assert worker.is_alive()


@pytest.mark.parametrize(
    ("error", "case"),
    [
        (VariantOf((("too-big", CAPABILITY), ("storage", None))), "e0"),
        (EnumOf(("storage", "too-big")), "e1"),
        (EnumOf(("storage",)), "e0"),
    ],
)
def test_state_over_what_a_process_may_keep_is_told_in_the_words_of_its_contract(
    worker: Worker, error: WitType, case: str
) -> None:
    type_ = FunctionType((("bytes", BYTES),), ResultOf(None, error))
    component = process(
        ("system.set-state", "system.print", "messaging.receive"),
        f"""(call $set-state (i32.const 700) (i32.const 1) (i32.const {SCRATCH}))
      {say_case(error, SCRATCH)} {RECEIVE_FOR_EVER}""",
        more=RESULT_NAMES + data("s", 700),
        types={"set-state": type_},
    )
    guest = worker.start(component)
    number, name, arguments = guest.expect(ToNode.CALL)
    assert (name, arguments) == (Call.SET_STATE, [b"s"])
    guest.send(ToWorker.REPLY, number, ["too-big", "n.os@state:distro:sys", '{"bytes":1}'])
    assert said(guest) == case


# A request that is refused


def awaited(error: WitType) -> dict[str, FunctionType]:
    """`send-and-await-response` of a contract with that `send-error`."""
    plain = FUNCTIONS["messaging"]["send-and-await-response"]
    assert isinstance(AWAITED, ResultOf)
    return {"send-and-await-response": FunctionType(plain.params, ResultOf(AWAITED.ok, error))}


def with_kinds(*kinds: str) -> RecordOf:
    assert isinstance(SEND_ERROR, RecordOf)
    return RecordOf((("kind", EnumOf(kinds)), *SEND_ERROR.fields[1:]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "case"),
    [
        (RecordOf((*SEND_ERROR.fields, ("missing", OptionOf(CAPABILITY)))), "e4"),
        (SEND_ERROR, "e4"),
        (with_kinds("timeout", "no-such-process"), "e1"),
        (with_kinds("offline", "timeout"), "e1"),
    ],
)
@pytest.mark.parametrize("attached", [[], [[OTHER, "1"]]])
def test_a_request_that_is_refused_says_what_it_can_to_a_component_of_any_age(
    worker: Worker, error: WitType, case: str, attached: list[list[str]]
) -> None:
    guest = worker.start(awaiting(types=awaited(error)))
    guest.open(1)
    guest.push(1, b"go")
    failure = ["not-authorised", OTHER, b"ping", False, 5, None, None, None, None, sent(guest)]
    guest.send(ToWorker.SEND_FAILURE, *failure, attached, [OTHER, PARAMS])
    assert said(guest) == case


def test_a_request_that_is_refused_names_the_capability(worker: Worker) -> None:
    error = RecordOf((*SEND_ERROR.fields, ("missing", OptionOf(CAPABILITY))))
    result = SCRATCH + 2048
    missing = result + payload_offset(ResultOf(AWAITED.ok, error)) + field_offset(error, "missing")
    params = missing + payload_offset(OptionOf(CAPABILITY)) + field_offset(CAPABILITY, "params")
    say = f"(call $print (i32.const 2) (i32.load (i32.const {params})) (i32.load (i32.const {params + 4})))"
    guest = worker.start(awaiting(types=awaited(error), then=say))
    guest.open(1)
    guest.push(1, b"go")
    failure = ["not-authorised", OTHER, b"ping", False, 5, None, None, None, None, sent(guest)]
    guest.send(ToWorker.SEND_FAILURE, *failure, [], [OTHER, PARAMS])
    assert [said(guest), said(guest)] == ["e4", PARAMS]
