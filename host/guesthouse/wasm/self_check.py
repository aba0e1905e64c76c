"""Checks at a worker's start that the library's layouts are those that the boundary assumes.

The boundary reads and writes wasmtime's structs by offsets. A library with other layouts would silently corrupt
memory, so a worker refuses to start with one.
"""

from __future__ import annotations

import ctypes
from importlib.metadata import version
from typing import Any, Final

import wasmtime._ffi as ffi
from wasmtime import Engine, Func, Instance, Memory, Module, Store

from guesthouse.wasm.core import core_capi
from guesthouse.wasm.core.instance import LinkedComponent
from guesthouse.wasm.engine import capi
from guesthouse.wasm.engine.engines import CHECKED_VERSION
from guesthouse.wasm.engine.fiber import StoreLimits
from guesthouse.wasm.engine.host_functions import HostFunction
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

INSTALLED: Final = version("wasmtime")
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


def check(engine: Engine, small: Engine) -> None:
    """Check version, struct sizes, that memories do not move, and one round trip of every layout.

    Raises:
        BoundaryError: something differs; the message says what.
    """
    if INSTALLED != CHECKED_VERSION:
        raise BoundaryError(f"wasmtime {INSTALLED} was never checked with this host: {_REMEDY}")
    _check_layout()
    for each in (engine, small):
        _check_memories_stay(each)
    cage = _Cage()
    modules = [Module(engine, text) for text in (_MEMORY_MODULE, _MAIN_MODULE)]
    _check_round_trip(LinkedComponent(engine, _PLAN, modules, cage, _ENTRY), cage)


def _check_layout() -> None:
    expected_values = {
        "a continuation's size": (ctypes.sizeof(ffi.wasmtime_async_continuation_t), 24),
        "an extern's size": (ctypes.sizeof(ffi.wasmtime_extern_t), core_capi.EXTERN_SIZE),
        "where an extern is": (ffi.wasmtime_extern_t.of.offset, core_capi.EXTERN_OF),
        "an instance's size": (ctypes.sizeof(ffi.wasmtime_instance_t), core_capi.INSTANCE_SIZE),
        "a raw value's size": (ctypes.sizeof(ffi.wasmtime_val_raw_t), core_capi.RAW_SIZE),
        "a core value's size": (ctypes.sizeof(ffi.wasmtime_val_t), core_capi.TAGGED_SIZE),
        "where a core value is": (ffi.wasmtime_val_t.of.offset, core_capi.TAGGED_OF),
    }
    for name, kind in core_capi.KINDS.items():
        expected_values[f"the kind {name}"] = (getattr(ffi, f"WASMTIME_{name.upper()}").value, kind)
    for what, (found, expected) in expected_values.items():
        if found != expected:
            raise BoundaryError(f"{what} is {found} in this wasmtime, not {expected}: {_REMEDY}")
    probe = b"canary"
    start = capi.address_of(probe)
    if ctypes.string_at(start, len(probe)) != probe:
        raise BoundaryError("this Python keeps the content of bytes elsewhere: use CPython 3.11 or newer")


_GROWING: Final = """
(module
  (memory (export "memory") 0)
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))
"""


def _check_memories_stay(engine: Engine) -> None:
    """Check that a memory has an address from the start, even if empty, and keeps it when it grows."""
    store = Store(engine)
    store.set_epoch_deadline(2**31)
    exports = Instance(store, Module(engine, _GROWING), []).exports(store)
    memory, grow = exports["memory"], exports["grow"]
    if not isinstance(memory, Memory) or not isinstance(grow, Func):
        raise BoundaryError(f"an export is not a memory in this wasmtime: {_REMEDY}")
    addresses = set()
    for pages in (0, 1, 99):
        grow(store, pages)
        addresses.add(ctypes.cast(memory.data_ptr(store), ctypes.c_void_p).value or 0)
    if len(addresses) != 1 or min(addresses) < _LOWEST:
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
        fiber = component.new_fiber(StoreLimits(1 << 20, 100), None)
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
