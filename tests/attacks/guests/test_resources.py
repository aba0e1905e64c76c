"""Guests with resources of their own: destructors that trap, compute for ever, wait or have no end, and more handles
than there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pytest
from tests.patience import tried_again
from tests.tiers import thorough_but

from guesthouse.wasm.abi.handles import MAX_OWN

from ...unit.worker.guests import RETURN, SCRATCH
from ..harness import Scene
from .attackers import Attacker, carry_out

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def scene(shared_scene: Scene) -> Scene:
    return shared_scene


_TYPE: Final = """
  (core module $shim
    (table (export "table") 1 1 funcref)
    (func (export "destroy") (param i32) (call_indirect (param i32) (local.get 0) (i32.const 0))))
  (core instance $shim (instantiate $shim))
  (type $own (resource (rep i32) (dtor (core func $shim "destroy"))))
  (core func $new (canon resource.new $own))
  (core func $rep (canon resource.rep $own))
  (core func $drop (canon resource.drop $own))
"""
_OWN: Final = """(with "own" (instance
    (export "new" (func $new)) (export "rep" (func $rep)) (export "drop" (func $drop)))) """
_FIX: Final = """
  (core module $fix (import "shim" "table" (table 1 1 funcref)) (import "main" "destroy" (func $destroy (param i32)))
    (elem (i32.const 0) func $destroy))
  (core instance (instantiate $fix (with "shim" (instance $shim)) (with "main" (instance $main))))
"""


@dataclass(frozen=True, slots=True)
class Owner(Attacker):
    """An attacker with a resource of its own."""

    destructor: str = ""
    """What it does with a resource's number as its parameter."""

    def wat(self) -> str:
        """See `Attacker`."""
        text = super(Owner, self).wat()
        imports = """(import "own" "new" (func $new (param i32) (result i32)))
    (import "own" "rep" (func $rep (param i32) (result i32)))
    (import "own" "drop" (func $drop (param i32)))"""
        destroy = f'(func $destroy (export "destroy") (param i32) {self.destructor})'
        main = '(import "libc" "memory" (memory 0))\n'
        return (
            text.replace("(core module $main", f"{_TYPE} (core module $main", 1)
            .replace(f"(core module $main\n    {main}", f"(core module $main\n    {imports} {main}", 1)
            .replace('(func $run (export "run")', f'{destroy} (func $run (export "run")', 1)
            .replace(
                '(with "libc" (instance $libc)) (with "host"',
                f'(with "libc" (instance $libc)) {_OWN}(with "host"',
                1,
            )
            .replace('(func $run (param "our"', f'{_FIX} (func $run (param "our"', 1)
        )


def times(count: int, body: str) -> str:
    """Does that so often, and counts in local 8."""
    return f"""(local.set 8 (i32.const {count}))
      (loop $again {body} (local.set 8 (i32.sub (local.get 8) (i32.const 1))) (br_if $again (local.get 8)))"""


NEW: Final = "(call $new (i32.const 7))"
ONE: Final = f"(call $drop {NEW})"
TRAPPED: Final = ("trapped: ",)
ENDED: Final = "it is ended"
FOR_EVER: Final = "(loop (br 0))"

ATTACKERS: Final = {
    "a destructor that traps": Owner(ONE, ENDED, TRAPPED, destructor="unreachable"),
    "a destructor that computes for ever": Owner(ONE, ENDED, ("ran out of time",), destructor=FOR_EVER),
    "a destructor that waits for messages": Owner(
        ONE, "it waits", lives=True, destructor=f"(call $receive (i32.const {RETURN}))"
    ),
    "a destructor that asks the host": Owner(
        times(200, ONE),
        "it is answered",
        calls=("system.our",),
        lives=True,
        locals="(local i32)",
        destructor=f"(call $our (i32.const {SCRATCH}))",
    ),
    "a destructor that drops its handle again": Owner(
        f"(global.set $held {NEW}) (call $drop (global.get $held))",
        ENDED,
        ("trapped: it passed the handle 1, which it does not hold",),
        more="(global $held (mut i32) (i32.const 0))",
        destructor="(call $drop (global.get $held))",
    ),
    "a destructor that drops another for ever": Owner(ONE, ENDED, ("overflowed its stack",), destructor=ONE),
    "a destructor that makes two handles": Owner(
        times(2 * MAX_OWN, ONE),
        ENDED,
        (f"trapped: it holds {MAX_OWN} handles of its own resources",),
        locals="(local i32)",
        destructor=f"(drop {NEW}) (drop {NEW})",
    ),
    "destructors that grow the memory": Owner(
        times(2000, ONE),
        "its limit of memory, and no more",
        lives=True,
        locals="(local i32)",
        destructor="(drop (memory.grow (i32.const 16)))",
    ),
    "more handles than there are": Owner(
        times(MAX_OWN + 1, f"(drop {NEW})"),
        ENDED,
        (f"trapped: it holds {MAX_OWN} handles of its own resources",),
        locals="(local i32)",
    ),
    "as many handles as there are at its end": Owner(
        f"{times(MAX_OWN, f'(drop {NEW})')} unreachable",
        "it is ended, and no destructor runs",
        TRAPPED,
        locals="(local i32)",
        destructor=FOR_EVER,
    ),
    "handles without end, one after another": Owner(
        times(50_000, ONE), "what it asks for", lives=True, locals="(local i32)"
    ),
    "a handle that there is not": Owner(
        "(drop (call $rep (i32.const 268435455)))",
        ENDED,
        ("trapped: it passed the handle 268435455, which it does not hold",),
    ),
    "a handle of another type": Owner(
        f"(drop (call $rep {NEW})) (call $drop (i32.const -1))",
        ENDED,
        ("trapped: it passed the handle 4294967295, which it does not hold",),
    ),
}


FIRST: Final = (
    "a destructor that traps",
    "a destructor that computes for ever",
    "a destructor that waits for messages",
    "a destructor that asks the host",
    "a destructor that drops its handle again",
    "more handles than there are",
    "handles without end, one after another",
    "a handle of another type",
)
"""The others show what these do once more."""


@pytest.mark.parametrize("name", thorough_but(ATTACKERS, *FIRST))
@tried_again
async def test_a_destructor_can_harm_its_own_guest_alone(scene: Scene, name: str) -> None:
    await carry_out(scene, name, ATTACKERS[name])
