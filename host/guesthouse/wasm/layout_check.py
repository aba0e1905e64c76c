"""Compares the layout of the C API that the boundary believes in with that of the `wasmtime` package.

For the compiler, which loads the package; workers do not, and check by values (`self_check.py`).
"""

from __future__ import annotations

import ctypes

import wasmtime._ffi as ffi

from guesthouse.wasm.core import core_capi
from guesthouse.wasm.engine.engines import CHECKED_VERSION
from guesthouse.wasm.errors import BoundaryError


def check_layout() -> None:
    """Check the sizes and numbers that the boundary has of the C API against those that the `wasmtime` package has.

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
    }
    for name, kind in core_capi.KINDS.items():
        for prefix in ("WASM", "WASMTIME"):
            believed[f"the kind {prefix}_{name}"] = (getattr(ffi, f"{prefix}_{name.upper()}").value, kind)
    for what, (found, expected) in believed.items():
        if found != expected:
            raise BoundaryError(
                f"{what} is {found} in this wasmtime, not {expected}: install wasmtime=={CHECKED_VERSION}"
            )
