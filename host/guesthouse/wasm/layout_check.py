"""Compares the layout of the C API that the boundary believes in with that of the `wasmtime` package, and tries what it
does not declare.

For the compiler, which loads the package; workers do not, and check by values (`self_check.py`).
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

import wasmtime._ffi as ffi

from guesthouse.wasm.core import core_capi
from guesthouse.wasm.core.instance import LinkedComponent
from guesthouse.wasm.engine import capi
from guesthouse.wasm.engine.engines import CHECKED_VERSION, WASM_PAGE, new_engine
from guesthouse.wasm.engine.fiber import CURRENT, StoreLimits
from guesthouse.wasm.engine.host_functions import HostFunction
from guesthouse.wasm.engine.owned import CompiledModule, Native, address_of_native
from guesthouse.wasm.errors import BoundaryError, GuestTrap
from guesthouse.wasm.plan.plan import CallOf, Export, Import, Instantiation, Lifted, Lowered, Plan
from guesthouse.wasm.types import FunctionType


def check_layout() -> None:
    """Check the sizes and numbers that the boundary has of the C API against those that the `wasmtime` package has, and
    how slices end.

    Raises:
        BoundaryError: one is another.
    """
    believed = {
        "a continuation's size": (ctypes.sizeof(ffi.wasmtime_async_continuation_t), 24),
        "an extern's size": (ctypes.sizeof(ffi.wasmtime_extern_t), core_capi.EXTERN_SIZE),
        "where an extern is": (ffi.wasmtime_extern_t.of.offset, core_capi.EXTERN_OF),
        "an instance's size": (ctypes.sizeof(ffi.wasmtime_instance_t), core_capi.INSTANCE_SIZE),
        "a raw value's size": (ctypes.sizeof(ffi.wasmtime_val_raw_t), core_capi.RAW_SIZE),
        "a core value's size": (ctypes.sizeof(ffi.wasmtime_val_t), core_capi.TAGGED_SIZE),
        "where a core value is": (ffi.wasmtime_val_t.of.offset, core_capi.TAGGED_OF),
        "the kind of a function": (ffi.WASMTIME_EXTERN_FUNC.value, core_capi.FUNCTION),
        "the kind of a table": (ffi.WASMTIME_EXTERN_TABLE.value, core_capi.TABLE),
        "the kind of a memory": (ffi.WASMTIME_EXTERN_MEMORY.value, core_capi.MEMORY),
        "the size of a slice's end": (ctypes.sizeof(ffi.wasmtime_update_deadline_kind_t), 1),
    }
    for name, kind in core_capi.KINDS.items():
        for prefix in ("WASM", "WASMTIME"):
            believed[f"the kind {prefix}_{name}"] = (getattr(ffi, f"{prefix}_{name.upper()}").value, kind)
    for what, (found, expected) in believed.items():
        if found != expected:
            raise BoundaryError(f"{what} is {found} in this wasmtime, not {expected}: {_REMEDY}")
    _check_ends_of_slices()


_REMEDY: Final = f"install wasmtime=={CHECKED_VERSION}"
_ENTRY: Final = ("canary:canary/guest", "run")
_NOTHING: Final = FunctionType((), None)
_MODULE: Final = """
(module
  (import "host" "end" (func $end))
  (func $next)
  (func (export "run") (call $end) (call $next)))
"""
_PLAN: Final = Plan(
    modules=1,
    small=False,
    instantiations=(Instantiation(0, (CallOf(0),)),),
    calls=(Lowered("canary:canary/host", "end"),),
    memory=None,
    reallocs=(),
    functions=(Import("canary:canary/host", "end", _NOTHING),),
    resources=(),
    exports=(Lifted(*_ENTRY, Export(0, "run"), _NOTHING),),
)
"""Its slice ends in its call of the host, which shows at the function that it calls next."""
_LIMITS: Final = StoreLimits(WASM_PAGE, 1)


class _Slices:
    """Offers the call in which a guest's slice ends."""

    def __init__(self, engine: Native) -> None:
        self._engine = address_of_native(engine)
        self.must_finish = False
        self.destructor = lambda owner, type_number, number: None

    def function(self, interface: str, name: str, type_: FunctionType) -> HostFunction:
        def end(owner: Any) -> None:
            CURRENT.fiber.must_finish = self.must_finish
            for _ in range(2):
                capi.increment_epoch(self._engine)

        return HostFunction(end)

    def resource(self, interface: str, name: str) -> None:
        return None


def _check_ends_of_slices() -> None:
    """Check that a guest stops at the end of its slice, and does not if it must finish."""
    engine = new_engine()
    module, slices = CompiledModule.of_text(engine, _MODULE), _Slices(engine)
    component = LinkedComponent(engine, _PLAN, [module], slices, _ENTRY)
    for slices.must_finish in (False, True):
        fiber = component.new_fiber(_LIMITS, None)
        try:
            while not fiber.poll():
                pass
            fiber.start()
            ended = fiber.poll()
        except GuestTrap as trap:
            raise BoundaryError(f"a slice ends otherwise in this wasmtime ({trap}): {_REMEDY}") from None
        finally:
            fiber.drop()
        if ended != slices.must_finish:
            raise BoundaryError(f"a slice ends otherwise in this wasmtime: {_REMEDY}")
