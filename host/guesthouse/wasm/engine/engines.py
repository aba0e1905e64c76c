"""The two engine configurations: what compiles a component and what runs it must agree to the letter."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from guesthouse.wasm.artifact_files import PLAN_VERSION

if TYPE_CHECKING:
    from wasmtime import Engine

CHECKED_VERSION: Final = "50.0.1"
"""The version of the `wasmtime` package whose C API layout the boundary was checked with."""

WASM_PAGE: Final = 65_536
"""Bytes by which a memory grows."""
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

SMALL_COMPONENT: Final = 256 * 1024
"""Bytes of a component below which it is a small one."""
_MEMORY: Final[dict[str, bool | int]] = {
    # All that a 32-bit memory can grow to is reserved at once, and a memory that could not grow in place does not grow:
    # no memory ever moves, so an address in it that was good once stays good.
    "memory_reservation": 2**32,
    "memory_may_move": False,
}
_SMALL_MEMORY: Final[dict[str, bool | int]] = {"memory_guard_size": 0, "memory_init_cow": False}
"""A guest's memory is five mappings of a worker by default, of the 65,530 that Linux gives a process: its data,
copied on write, is one of them, and so are the guards that stand in for bounds checks. A small guest has little
data and computes little, and there may be ten thousand of it: its memory is two mappings. What is reserved is told from
other mappings by its size (`memory.py`).
"""


_JUDGED_BY: Final = Path(__file__).parents[2] / "worker/served"


def is_small(component_bytes: int) -> bool:
    """Whether a component of that size is compiled for the small engine."""
    return component_bytes < SMALL_COMPONENT


def new_engine(*, small: bool = False) -> Engine:
    """An engine with the settings that every part of Guesthouse uses.

    Args:
        small: for small components. What one engine compiled the other refuses to load.
    """
    # Here, so that whoever wants no more than the key does not load the library.
    import wasmtime._ffi as ffi
    from wasmtime import Config, Engine

    config = Config()
    for name, value in _PROPERTIES.items():
        setattr(config, name, value)
    ffi.wasmtime_config_concurrency_support_set(config.ptr(), _FIBER["concurrency_support"])
    ffi.wasmtime_config_async_stack_size_set(config.ptr(), _FIBER["async_stack_size"])
    for name, setting in (_MEMORY | _SMALL_MEMORY if small else _MEMORY).items():
        getattr(ffi, f"wasmtime_config_{name}_set")(config.ptr(), setting)
    return Engine(config)


def engine_key() -> str:
    """A short name of the wasmtime version, every setting that changes compiled code, the plans' form, and the types by
    which a component was judged when it was compiled.
    """
    settings = [
        *(version("wasmtime"), _PROPERTIES, _FIBER, SMALL_COMPONENT, _MEMORY, _SMALL_MEMORY, PLAN_VERSION),
        [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(_JUDGED_BY.glob("*.py"))],
    ]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
