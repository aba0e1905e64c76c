"""Imports that a component gives other types than the interface has: none is linked, however the component runs."""

from __future__ import annotations

from typing import Final

import pytest
from wasmtime import wat2wasm

from guesthouse.package.compile.compile import compile_component
from guesthouse.wasm.errors import LinkFailure
from guesthouse.wasm.types import (
    BOOL,
    STRING,
    U8,
    U32,
    U64,
    EnumOf,
    FunctionType,
    ListOf,
    OptionOf,
    RecordOf,
    ResultOf,
    WitType,
)
from guesthouse.worker.calls import ENTRIES, HostCalls

from ..unit.worker.contract import ADDRESS, BLOB, BYTES, PUSH_ERROR, PUSHED, REQUEST, VERBOSITY
from ..unit.worker.guests import Wasi, process
from ..unit.worker.wasi import POLL
from .harness import load

NAMES: Final = RecordOf((("process-name", BYTES), ("package-name", BYTES), ("publisher-node", BYTES)))


def lying(call: str, result: WitType | None, *params: WitType) -> str:
    type_ = FunctionType(tuple((f"p{number}", each) for number, each in enumerate(params)), result)
    return process((call,), "", types={call.partition(".")[2]: type_})


def sleeping(name: str, type_: str) -> str:
    exports = f'(export "{name}" (func (param "when" {type_}) (result (own $pollable))))'
    signature = f"(param {type_ if type_.startswith('f') else 'i64'}) (result i32)"
    clock = Wasi("wasi:clocks/monotonic-clock@0.2.0-rc-2023-11-10", exports, {name: signature})
    return process((), "", wasi=(POLL, clock))


LIES: Final = {
    "a text of bytes": (lying("system.print", None, VERBOSITY, BYTES), "list<u8> for text"),
    "a text of results": (
        lying("system.print", None, VERBOSITY, ListOf(ResultOf(None, None))),
        "list<result<_, _>> for text",
    ),
    "an instant that is a float": (sleeping("subscribe-instant", "f64"), "f64 for parameter 1"),
    "a duration that is a float": (sleeping("subscribe-duration", "f64"), "f64 for parameter 1"),
    "a duration that is signed": (sleeping("subscribe-duration", "s64"), "s64 for parameter 1"),
    "a node's name of bytes": (
        lying(
            "messaging.send-request",
            None,
            RecordOf((("node", BYTES), ("process", NAMES))),
            REQUEST,
            OptionOf(BYTES),
            OptionOf(BLOB),
        ),
        "list<u8> for node",
    ),
    "a process's names of bytes": (
        lying(
            "messaging.send-request",
            None,
            RecordOf((("node", STRING), ("process", NAMES))),
            REQUEST,
            OptionOf(BYTES),
            OptionOf(BLOB),
        ),
        "list<u8> for process-name",
    ),
    "a verbosity of any text": (lying("system.print", None, STRING, STRING), "string for verbosity"),
    "a verbosity of another case": (
        lying("system.print", None, EnumOf(("error", "fatal")), STRING),
        "for the case 'fatal' of verbosity",
    ),
    "a message type of any text": (
        lying("http-server.send-ws-push", PUSHED, STRING, U32, STRING, BLOB),
        "string for message-type",
    ),
    "a payload of texts": (
        lying(
            "http-server.send-ws-text-many",
            ListOf(ResultOf(U32, PUSH_ERROR)),
            ListOf(U32),
            STRING,
        ),
        "for its result",
    ),
    "a field that nobody reads": (
        lying(
            "http-server.bind-ws-path",
            ResultOf(None, EnumOf(("bad-path",))),
            STRING,
            RecordOf((("authenticated", BOOL), ("more", OptionOf(U8)))),
        ),
        "for the field 'more' of binding",
    ),
    "a parameter too many": (lying("system.set-state", None, BYTES, U64), "2 for its parameters"),
    "a result where there is none": (lying("system.print", U8, VERBOSITY, STRING), "u8 for its result"),
    "an address that is a number": (lying("system.our", U8), "u8 for its result"),
    "state that is a text": (lying("system.get-state", OptionOf(STRING)), "string for its result"),
    "an address with a field more": (
        lying("system.our", RecordOf((*ADDRESS.fields, ("more", U8)))),
        "for the field 'more' of its result",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_import_of_another_type_is_not_linked_in_one_line_that_says_why(lie: str) -> None:
    component, words = LIES[lie]
    with pytest.raises(LinkFailure) as refused:
        load(component, HostCalls(), *ENTRIES)
    line = str(refused.value)
    assert words in line
    assert line.startswith("imports '")
    assert line.endswith("build it with the interface's own WIT")
    assert "\n" not in line
    # Whoever inspects or installs it hears the same before anything runs.
    assert compile_component(bytes(wat2wasm(component))).description.problems == (line,)


@pytest.mark.parametrize(
    "component", [process(("system.print", "messaging.receive"), ""), sleeping("now", "u64")]
)
def test_an_import_of_the_interfaces_type_is_linked(component: str) -> None:
    if "now" in component:
        component = component.replace('"now"', '"subscribe-instant"').replace("$now", "$subscribe-instant")
    load(component, HostCalls(), *ENTRIES)
    assert compile_component(bytes(wat2wasm(component))).description.problems == ()


@pytest.mark.parametrize(
    ("run", "core", "words"),
    [
        ('(param "our" u32)', "(param i32)", "with u32 for what it is given"),
        ("", "", "with 0 parameters"),
        ('(param "our" string) (param "more" u32)', "(param i32 i32 i32)", "with 2 parameters"),
        ('(param "our" string) (result u32)', "(param i32 i32) (result i32)", "with a result"),
    ],
)
def test_an_entry_of_another_type_is_said_before_it_runs(run: str, core: str, words: str) -> None:
    component = f"""(component
      (core module $m (memory (export "memory") 1) (func (export "init") {core} unreachable)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
      (core instance $m (instantiate $m))
      (alias core export $m "memory" (core memory $memory)) (alias core export $m "realloc" (core func $realloc))
      (func $init {run} (canon lift (core func $m "init") (memory $memory) (realloc $realloc)))
      (export "init" (func $init)))"""
    (problem,) = compile_component(bytes(wat2wasm(component))).description.problems
    assert words in problem
