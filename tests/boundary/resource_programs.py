"""Components with resources of their own, made for any program of handles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

RESOURCES: Final = 3
"""The first has a destructor that tells the host, the second one that also makes a handle, the third has none."""
DROPPED: Final = 1000
"""Added to a number that a destructor gets, once for each resource before its own and once more."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a guest does with handles; what comes of it is told to the host."""

    action: str
    """`new` of a number, `rep` or `drop` of an index; `stub` calls a component that only traps."""
    resource: int = 0
    number: int = 0


def program(steps: Sequence[Step], *, within: bool = False) -> str:
    """A component that exports `run` of `test:types/guest`, which takes those steps.

    Args:
        steps: in their order.
        within: whether all of it stands in a component within, beside one that stands for what has no other end.
    """
    return _WITHIN.replace("BODY", _body(steps)) if within else f"(component {_HOST} {_body(steps)})"


def _body(steps: Sequence[Step]) -> str:
    return _GUEST.replace("STEPS", "\n".join(map(_step, steps)))


def _step(step: Step) -> str:
    name = f"${step.action}{step.resource}"
    match step.action:
        case "new" | "rep":
            return f"(call $tell (call {name} (i32.const {step.number})))"
        case "drop":
            return f"(call {name} (i32.const {step.number})) (call $tell (i32.const 0))"
        case _:
            return "(call $stub (i32.const 8))"


_HOST: Final = """
  (import "test:types/host" (instance $host (export "tell" (func (param "x" u32)))))
  (core module $trap (func (export "stub") (param i32) unreachable))
  (core instance $trap (instantiate $trap)) (alias core export $trap "stub" (core func $stub))
"""

_EACH: Final = tuple(range(RESOURCES))
_IMPORTS: Final = "".join(
    f'(import "" "new{n}" (func $new{n} (param i32) (result i32)))'
    f'(import "" "rep{n}" (func $rep{n} (param i32) (result i32)))'
    f'(import "" "drop{n}" (func $drop{n} (param i32)))'
    for n in _EACH
)
_GIVEN: Final = "".join(
    f'(export "{what}{n}" (func ${what}{n}))' for n in _EACH for what in ("new", "rep", "drop")
)
_BUILT_IN: Final = "".join(
    f"(core func ${what}{n} (canon resource.{what} $r{n}))" for n in _EACH for what in ("new", "rep", "drop")
)

_GUEST: Final = f"""
  (core func $tell (canon lower (func $host "tell")))
  (core module $shim
    (type $drop (func (param i32)))
    (table (export "table") 2 2 funcref)
    (func (export "0") (type $drop) (call_indirect (type $drop) (local.get 0) (i32.const 0)))
    (func (export "1") (type $drop) (call_indirect (type $drop) (local.get 0) (i32.const 1))))
  (core instance $shim (instantiate $shim))
  (type $r0 (resource (rep i32) (dtor (core func $shim "0"))))
  (type $r1 (resource (rep i32) (dtor (core func $shim "1"))))
  (type $r2 (resource (rep i32)))
  {_BUILT_IN}
  (core module $main
    (import "" "tell" (func $tell (param i32)))
    (import "" "stub" (func $stub (param i32)))
    {_IMPORTS}
    (func (export "dropped0") (param i32) (call $tell (i32.add (local.get 0) (i32.const {DROPPED}))))
    (func (export "dropped1") (param i32)
      (call $tell (i32.add (local.get 0) (i32.const {2 * DROPPED})))
      (call $tell (call $new2 (local.get 0))))
    (func (export "run") STEPS))
  (core instance $main (instantiate $main (with "" (instance
    (export "tell" (func $tell)) (export "stub" (func $stub)) {_GIVEN}))))
  (core module $fix (import "" "table" (table 2 2 funcref))
    (import "" "0" (func $zero (param i32))) (import "" "1" (func $one (param i32)))
    (elem (i32.const 0) func $zero $one))
  (core instance (instantiate $fix (with "" (instance (export "table" (table $shim "table"))
    (export "0" (func $main "dropped0")) (export "1" (func $main "dropped1"))))))
  (func $run (canon lift (core func $main "run")))
  (instance $guest (export "run" (func $run)))
  (export "test:types/guest" (instance $guest))
"""

_WITHIN: Final = """(component
  (import "test:types/host" (instance $host (export "tell" (func (param "x" u32)))))
  (component $stub
    (core module $m (memory (export "memory") 0)
      (func (export "text") (result i32) unreachable)
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
    (core instance $m (instantiate $m))
    (func (export "text") (result string) (canon lift (core func $m "text") (memory (core memory $m "memory")))))
  (instance $stub (instantiate $stub))
  (component $main
    (import "stub" (instance $nobody (export "text" (func (result string)))))
    (import "test:types/host" (instance $host (export "tell" (func (param "x" u32)))))
    (core module $libc (memory (export "memory") 1)
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
    (core instance $libc (instantiate $libc))
    (core func $stub (canon lower (func $nobody "text")
      (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
    BODY)
  (instance $main (instantiate $main (with "stub" (instance $stub)) (with "test:types/host" (instance $host))))
  (export "test:types/guest" (instance $main "test:types/guest")))"""
