"""Host calls that are compiled as a whole when a component is linked: once for each, however often it is lowered.

To compile one takes a worker milliseconds in which no guest runs, and a component lowers 1,500 functions.
"""

from __future__ import annotations

from typing import Any

import pytest
from wasmtime import wat2wasm

from guesthouse.wasm.abi import source_code
from guesthouse.wasm.core import host_calls, instance
from guesthouse.wasm.core.core_fiber import CoreFiber
from guesthouse.wasm.core.host_calls import as_core_call
from guesthouse.wasm.core.whole_calls import whole_call
from guesthouse.wasm.engine.host_functions import HostFunction
from guesthouse.wasm.plan.linking import MAX_CALLS
from guesthouse.worker.calls import ENTRIES, RUN, HostCalls, prepare_frequent
from guesthouse.worker.served import contract

from ...boundary.components import MEMORY
from ...boundary.harness import PENDING, Calls, apart, fiber_of, finish_step, guest, let_block
from ..worker.guests import RECEIVE_FOR_EVER, process

RUN_OF_TESTS = ("test:types/guest", "run")
TEXT = '(export "text" (func (result (option string))))'
IMPORT_TEXT = '(import "host" "text" (func $text (param i32)))'
IMPORT_AGAIN = '(import "host" "again" (func $again (param i32)))'
CALL_BOTH = "(call $text (i32.const 64)) (call $again (i32.const 128)) (call $text (i32.const 192))"


class Frequent(Calls):
    """Offers calls that are `frequent`."""

    def __init__(self, calls: dict[str, Any], blocking: tuple[str, ...] = ()) -> None:
        super().__init__(calls, blocking)
        self._calls = {
            name: HostFunction(call, name in blocking, frequent=True) for name, call in calls.items()
        }


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The functions of all calls that are compiled as a whole."""
    compiled: list[Any] = []

    def noted(function: HostFunction, *arguments: Any) -> Any:
        compiled.append(function.call)
        return whole_call(function, *arguments)

    monkeypatch.setattr(host_calls, "whole_call", noted)
    return compiled


def lowering_twice(*, own_allocator: bool = True) -> bytes:
    """A component that lowers a call twice, with two names in the module that calls it, and with another allocator the
    second time or the same.
    """
    exported, alias = (
        '(func (export "cabi_realloc")',
        '(alias core export $libc "memory" (core memory $memory))',
    )
    assert exported in MEMORY
    assert alias in MEMORY
    libc = MEMORY.replace(exported, '(func (export "cabi_realloc") (export "another")', 1)
    libc = libc.replace(alias, f'{alias} (alias core export $libc "another" (core func $another))', 1)
    text = guest(CALL_BOTH, TEXT, libc=libc, more=IMPORT_TEXT + IMPORT_AGAIN)
    lowered = '(canon lower (func $host "text") (memory $memory) (realloc $realloc))'
    assert lowered in text
    second = lowered.replace("$realloc", "$another") if own_allocator else lowered
    text = text.replace("(core module $main", f"(core func $again {second}) (core module $main", 1)
    first = '(export "text" (func $text))'
    return bytes(wat2wasm(text.replace(first, f'{first} (export "again" (func $again))', 1)))


def text_at(view: memoryview, at: int) -> str | None:
    """The optional text that lies there."""
    start, size = (int.from_bytes(view[place : place + 4], "little") for place in (at + 4, at + 8))
    return bytes(view[start : start + size]).decode() if view[at] else None


@pytest.mark.parametrize("own_allocator", [True, False], ids=["with another allocator", "with the same"])
@pytest.mark.parametrize("blocking", [(), ("text",)], ids=["returns", "may block"])
def test_a_call_that_is_lowered_again_does_the_same(
    compiled: list[Any], blocking: tuple[str, ...], own_allocator: bool
) -> None:
    said = iter(("one", None, "three"))
    component = apart(
        lowering_twice(own_allocator=own_allocator),
        Frequent({"text": lambda owner: next(said)}, blocking),
        RUN_OF_TESTS,
    )
    assert len(component.reallocs) == 1 + own_allocator
    assert len(compiled) == 1
    with fiber_of(component) as fiber:
        finish_step(fiber)
        fiber.start()
        finish_step(fiber)
        assert isinstance(fiber, CoreFiber)
        texts = [text_at(fiber.memory.view, at) for at in (64, 128, 192)]
    assert texts == ["one", None, "three"]


@pytest.mark.parametrize("own_allocator", [True, False], ids=["with another allocator", "with the same"])
def test_the_second_waits_as_the_first_does(compiled: list[Any], own_allocator: bool) -> None:
    component = apart(
        lowering_twice(own_allocator=own_allocator),
        Frequent({"text": lambda owner: PENDING}, ("text",)),
        RUN_OF_TESTS,
    )
    with fiber_of(component) as fiber:
        finish_step(fiber)
        fiber.start()
        for answer in ("one", "two", "three"):
            let_block(fiber)
            fiber.answer(lambda answer=answer: answer)  # type: ignore[misc]
        finish_step(fiber)
    assert len(compiled) == 1


def test_what_a_worker_has_prepared_is_compiled_for_no_component(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the types of the contract: what the tests' own guests import is less of some."""
    sources: list[str] = []

    def noted(text: str, name: str, mode: str) -> Any:
        sources.append(name)
        return compile(text, name, mode)

    def linked() -> list[str]:
        sources.clear()
        calls = ("messaging.receive", "messaging.get-blob", "http-server.send-ws-push")
        types = {
            name: type_ for functions in contract.FUNCTIONS.values() for name, type_ in functions.items()
        }
        text = process(calls, RECEIVE_FOR_EVER, types=types)
        apart(bytes(wat2wasm(text)), HostCalls(), *ENTRIES)
        return sources

    monkeypatch.setattr(source_code, "compile", noted, raising=False)
    source_code._kept.cache_clear()
    assert linked().count("<host call>") == 3
    source_code._kept.cache_clear()
    prepare_frequent()
    assert "<host call>" in sources
    assert "<host call>" not in linked()


def test_a_function_that_is_lowered_often_in_one_way_is_converted_for_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is compiled for `receive` takes 64 KiB, for which no guest is charged."""
    made: list[HostFunction] = []

    def noted(function: HostFunction, *arguments: Any, **options: Any) -> Any:
        made.append(function)
        return as_core_call(function, *arguments, **options)

    monkeypatch.setattr(instance, "as_core_call", noted)
    apart(lowering_twice(own_allocator=False), Calls({"text": lambda owner: None}), RUN_OF_TESTS)
    assert len(made) == 1
    apart(lowering_twice(), Calls({"text": lambda owner: None}), RUN_OF_TESTS)
    assert len(made) == 3


@pytest.mark.slow
def test_a_process_that_lowers_receive_as_often_as_it_may_has_it_compiled_once(compiled: list[Any]) -> None:
    text = process(("messaging.receive",), RECEIVE_FOR_EVER)
    once = '(canon lower (func $i0 "receive") (memory $memory) (realloc $realloc))'
    assert once in text
    text = text.replace(
        "(core module $main", f"(core func {once})" * (MAX_CALLS - 1) + "(core module $main", 1
    )
    component = apart(bytes(wat2wasm(text)), HostCalls(), *ENTRIES)
    assert component.entry == RUN
    assert len(compiled) == 1
