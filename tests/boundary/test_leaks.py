"""What 20,000 calls and 2,000 dropped guests leave behind, measured in a Python of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from guesthouse.wasm.types import (
    F64,
    STRING,
    U8,
    U16,
    EnumOf,
    FlagsOf,
    ListOf,
    OptionOf,
    RecordOf,
    ResultOf,
    TupleOf,
    VariantOf,
)
from guesthouse.wasm.values import Err, Ok, Some

from .lanes import Lane

pytestmark = pytest.mark.thorough

_ALLOWED_KIB: Final = 2048


def _rss_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


def _round_trips() -> Callable[[], None]:
    from .components import PADDING, in_memory
    from .harness import Calls, load, run

    mixed = RecordOf(
        (
            ("text", STRING),
            ("data", ListOf(U8)),
            ("pairs", ListOf(TupleOf((STRING, F64)))),
            ("maybe", OptionOf(OptionOf(U16))),
            ("end", ResultOf(ListOf(U8), STRING)),
            ("kind", EnumOf(("one", "two"))),
            ("rights", FlagsOf(("read", "write"))),
            ("case", VariantOf((("none", None), ("text", STRING)))),
        )
    )
    value: Any = {
        "text": "hello €" * 20,
        "data": bytes(100),
        "pairs": [("a" * 10, 1.5)] * 3,
        "maybe": Some(None),
        "end": Err("failed" * 10),
        "kind": "two",
        "rights": frozenset(("read", "write")),
        "case": ("text", "of the case"),
    }
    other = value | {"maybe": Some(3), "end": Ok(bytes(200)), "data": bytes(300)}
    calls = Calls({"echo": lambda owner, value: value, "take": lambda owner, value: None})
    component = load(in_memory(mixed, rounds=100), calls)

    def once() -> None:
        for argument in (value, other):
            run(component, (argument, *range(PADDING)))

    return once


def _failures() -> Callable[[], None]:
    """Faults, traps and results that fail half way."""
    from .harness import Calls, death_of, guest, load

    calls = Calls({"ask": lambda owner: ["x" * 1000, "\ud800"], "wrong": lambda owner: 1 / 0})
    exports = '(type $list (list string)) (export "ask" (func (result $list))) (export "wrong" (func))'
    imports = '(import "host" "ask" (func $ask (param i32))) (import "host" "wrong" (func $wrong))'
    components = [
        load(guest(body, exports, more=imports), calls)
        for body in ("(call $ask (i32.const 0))", "(call $wrong)", "unreachable", "(call $run)")
    ]

    def once() -> None:
        for component in components:
            death_of(component)

    return once


def _dropped_fibers() -> Callable[[], None]:
    """Guests dropped before they ran, while they compute, and while they wait."""
    from guesthouse.wasm.engine.host_functions import PENDING

    from .harness import LIMITS, Calls, finish_step, guest, load

    calls = Calls({"wait": lambda owner, text: PENDING}, ("wait",))
    exports = '(export "wait" (func (param "text" string) (result string)))'
    imports = '(import "host" "wait" (func $wait (param i32 i32 i32)))'
    waiting = load(
        guest("(call $wait (i32.const 0) (i32.const 1000) (i32.const 0))", exports, more=imports), calls
    )

    def once() -> None:
        for _ in range(20):
            waiting.new_fiber(LIMITS, None).drop()
            fiber = waiting.new_fiber(LIMITS, None)
            finish_step(fiber)
            fiber.start()
            fiber.poll()
            fiber.answer(lambda: "never asked for")
            fiber.drop()

    return once


def _grown_by(once: Callable[[], None], warm: int, times: int) -> int:
    for _ in range(warm):
        once()
    before = _rss_kib()
    for _ in range(times):
        once()
    return _rss_kib() - before


def _assert_flat(name: str, warm: int, times: int) -> None:
    """Run in a subprocess: what other tests left to be freed would blur the figure."""
    source = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.boundary import test_leaks
from tests.boundary.lanes import Lane
Lane.apart = {Lane.apart}
print(test_leaks._grown_by(test_leaks.{name}(), {warm}, {times}))
"""
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < _ALLOWED_KIB, done.stdout


def test_twenty_thousand_round_trips_of_a_mixed_value_leave_nothing() -> None:
    _assert_flat(_round_trips.__name__, warm=20, times=100)


def test_two_thousand_guests_that_died_leave_nothing() -> None:
    _assert_flat(_failures.__name__, warm=100, times=500)


def test_two_thousand_guests_dropped_anywhere_leave_nothing() -> None:
    _assert_flat(_dropped_fibers.__name__, warm=20, times=50)
