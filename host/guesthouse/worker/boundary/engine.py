"""The one engine configuration: what compiles a component and what runs it must agree to the letter."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wasmtime import Engine

CHECKED_VERSION: Final = "50.0.1"
"""The version of the `wasmtime` package whose C API layout the boundary was checked with."""

MAX_WASM_STACK: Final = 1024 * 1024
"""Bytes of stack for a guest's own code. Interpreters compiled to wasm need more than the usual half."""
FIBER_STACK: Final = 2 * MAX_WASM_STACK
"""Bytes of native stack for a guest and the host calls it makes; what is not touched costs nothing."""

_PROPERTIES: Final[dict[str, bool | int]] = {
    "epoch_interruption": True,
    # A guest that waits on shared memory would hold the worker's one thread.
    "wasm_threads": False,
    "shared_memory": False,
    "wasm_memory64": False,
    "wasm_gc": False,
    "wasm_exceptions": False,
    "max_wasm_stack": MAX_WASM_STACK,
}
_FIBER: Final = {"concurrency_support": False, "async_stack_size": FIBER_STACK}


def new_engine() -> Engine:
    """An engine with the settings that every part of Guesthouse uses."""
    # Here, so that whoever wants no more than the key does not load the library.
    import wasmtime._ffi as ffi
    from wasmtime import Config, Engine

    config = Config()
    for name, value in _PROPERTIES.items():
        setattr(config, name, value)
    ffi.wasmtime_config_concurrency_support_set(config.ptr(), _FIBER["concurrency_support"])
    ffi.wasmtime_config_async_stack_size_set(config.ptr(), _FIBER["async_stack_size"])
    return Engine(config)


def engine_key() -> str:
    """A short name of the wasmtime version and every setting that changes compiled code."""
    text = json.dumps([version("wasmtime"), _PROPERTIES, _FIBER], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
