"""Checks at a worker's start that the library's layouts are those that the boundary assumes.

The boundary reads and writes wasmtime's structs by offsets. A library with other layouts would silently corrupt
memory, so a worker refuses to start with one. What the `wasmtime` package says of the layout is
compared by the compiler (`layout_check.py`), which loads the package; a worker sees that its version is the same.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

from guesthouse.wasm.core.core_fiber import CoreFiber
from guesthouse.wasm.core.instance import LinkedComponent
from guesthouse.wasm.engine import capi
from guesthouse.wasm.engine.engines import CHECKED_VERSION, WASM_PAGE
from guesthouse.wasm.engine.fiber import StoreLimits
from guesthouse.wasm.engine.host_functions import HostFunction
from guesthouse.wasm.engine.owned import CompiledModule, Native
from guesthouse.wasm.engine.wasmtime_package import installed_version
from guesthouse.wasm.errors import BoundaryError, GuestTrap
from guesthouse.wasm.plan.plan import CallOf, Export, Import, Instantiation, Lifted, Lowered, Plan
from guesthouse.wasm.types import (
    CHAR,
    F64,
    STRING,
    U8,
    U16,
    U64,
    EnumOf,
    FunctionType,
    ListOf,
    OptionOf,
    RecordOf,
    ResultOf,
    TupleOf,
)
from guesthouse.wasm.values import Err, Ok

INSTALLED: Final = installed_version()
"""The installed version, read at import: a confined worker cannot open its metadata."""
_REMEDY: Final = f"install wasmtime=={CHECKED_VERSION}"

_MEMORY_MODULE: Final = """
(module
  (memory (export "memory") 1)
  (global $next (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.set $next (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
    (global.get $next)
    (global.set $next (i32.add (global.get $next) (local.get 3)))))
"""
_MAIN_MODULE: Final = """
(module
  (import "host" "take" (func $take (param i32 i32 i32 i32 i32 i32 i32 i32 i64 f64 i32)))
  (func (export "run") (param i32 i32 i32 i32 i32 i32 i32 i32 i64 f64)
    (call $take (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5)
      (local.get 6) (local.get 7) (local.get 8) (local.get 9) (i32.const 1024))))
"""
_BIRD: Final = RecordOf(
    (
        ("name", STRING),
        ("song", ListOf(U8)),
        ("kind", EnumOf(("chirp", "sing"))),
        ("age", OptionOf(U16)),
        ("end", ResultOf(U64, CHAR)),
    )
)
_PAIR: Final = TupleOf((_BIRD, F64))
_LIMITS: Final = StoreLimits(100 * WASM_PAGE, 100)
_ENTRY: Final = ("canary:canary/guest", "run")
_PLAN: Final = Plan(
    modules=2,
    small=False,
    instantiations=(Instantiation(0, ()), Instantiation(1, (CallOf(0),))),
    calls=(Lowered("canary:canary/host", "take", 0),),
    memory=Export(0, "memory"),
    reallocs=(Export(0, "cabi_realloc"),),
    functions=(Import("canary:canary/host", "take", FunctionType((("pair", _PAIR),), _PAIR)),),
    resources=(),
    exports=(Lifted(*_ENTRY, Export(1, "run"), FunctionType((("pair", _PAIR),), None), 0),),
)
"""A component that returns what it gets, with its plan."""


def check(engine: Native, small: Native) -> None:
    """Check the version, that memories do not move, and one round trip of every layout.

    Raises:
        BoundaryError: something differs; the message says what.
    """
    if INSTALLED != CHECKED_VERSION:
        raise BoundaryError(f"wasmtime {INSTALLED} was never checked with this host: {_REMEDY}")
    _check_bytes()
    for each in (engine, small):
        _check_memories_stay(each)
    cage = _Cage()
    modules = [CompiledModule.of_text(engine, text) for text in (_MEMORY_MODULE, _MAIN_MODULE)]
    _check_round_trip(LinkedComponent(engine, _PLAN, modules, cage, _ENTRY), cage)


def _check_bytes() -> None:
    probe = b"canary"
    start = capi.address_of(probe)
    if ctypes.string_at(start, len(probe)) != probe:
        raise BoundaryError("this Python keeps the content of bytes elsewhere: use CPython 3.11 or newer")


_GROWING: Final = """
(module
  (memory (export "memory") 0)
  (func (export "run") (drop (memory.grow (i32.const 1))) (drop (memory.grow (i32.const 99)))))
"""
_GROWING_PLAN: Final = Plan(
    modules=1,
    small=False,
    instantiations=(Instantiation(0, ()),),
    calls=(),
    memory=Export(0, "memory"),
    reallocs=(),
    functions=(),
    resources=(),
    exports=(Lifted(*_ENTRY, Export(0, "run"), FunctionType((), None)),),
)


def _check_memories_stay(engine: Native) -> None:
    """Check that a memory has an address from the start, even if empty, and keeps it when it grows."""
    module = CompiledModule.of_text(engine, _GROWING)
    fiber = LinkedComponent(engine, _GROWING_PLAN, [module], _Cage(), _ENTRY).new_fiber(_LIMITS, None)
    if not isinstance(fiber, CoreFiber):
        raise BoundaryError(f"an export is not a memory in this wasmtime: {_REMEDY}")
    try:
        addresses = []
        for pages in (0, 100):
            while not fiber.poll():
                pass
            fiber.memory.look()
            if fiber.memory.size != pages * WASM_PAGE:
                raise BoundaryError(f"a memory does not grow in this wasmtime: {_REMEDY}")
            addresses.append(fiber.memory.base)
            if not pages:
                fiber.start()
    finally:
        fiber.drop()
    if addresses[0] != addresses[1] or addresses[0] < _LOWEST:
        raise BoundaryError(f"a memory moves as it grows in this wasmtime: {_REMEDY}")


_LOWEST: Final = 2**32
"""Below this address are programs linked to fixed addresses, and no reserved memories."""


class _Cage:
    """Offers one call, which records its argument and returns it."""

    def __init__(self) -> None:
        self.heard: Any = None
        self.destructor = lambda owner, type_number, number: None

    def function(self, interface: str, name: str, type_: FunctionType) -> HostFunction:
        def take(owner: Any, pair: Any) -> Any:
            self.heard = pair
            return pair

        return HostFunction(take)

    def resource(self, interface: str, name: str) -> None:
        return None


def _check_round_trip(component: LinkedComponent, cage: _Cage) -> None:
    for bird in (
        {"name": "Tweet €", "song": bytes(range(256)), "kind": "sing", "age": 7, "end": Ok(2**63)},
        {"name": "", "song": b"", "kind": "chirp", "age": None, "end": Err("\U0001f426")},
    ):
        fiber = component.new_fiber(_LIMITS, None)
        try:
            while not fiber.poll():
                pass
            fiber.start((bird, 0.5))
            while not fiber.poll():
                pass
        except GuestTrap as trap:
            raise BoundaryError(f"a value did not come through this wasmtime ({trap}): {_REMEDY}") from trap
        finally:
            fiber.drop()
        if cage.heard != (bird, 0.5):
            raise BoundaryError(f"a value came back changed from this wasmtime: {_REMEDY}")
