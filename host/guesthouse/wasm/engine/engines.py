"""The two engine configurations. Compiler and worker have to use exactly the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from guesthouse.wasm.artifact_files import PLAN_VERSION
from guesthouse.wasm.engine.wasmtime_package import installed_version, library_hash, package_folder

if TYPE_CHECKING:
    from wasmtime import Engine as CompilingEngine

    from guesthouse.wasm.engine.owned import Engine

CHECKED_VERSION: Final = "50.0.1"
"""The `wasmtime` version whose C API layouts were checked."""

WASM_PAGE: Final = 65_536
"""Bytes by which a memory grows."""
MAX_WASM_STACK: Final = 1024 * 1024
"""Stack of a guest's wasm code. Interpreters need more than the default half."""
FIBER_STACK: Final = 2 * MAX_WASM_STACK
"""Native stack of a guest and its host calls; untouched pages cost nothing."""

_PROPERTIES: Final[dict[str, bool | int]] = {
    "epoch_interruption": True,
    # A guest that waits on shared memory would block the worker's only thread.
    "shared_memory": False,
    "max_wasm_stack": MAX_WASM_STACK,
    # Externref alone would need it, which no guest can get.
    "gc_support": False,
}
NEEDED_FEATURES: Final = (
    "bulk_memory",
    "component_model",
    "multi_memory",
    "multi_value",
    "reference_types",
    "simd",
    "tail_call",
)
"""Features of WebAssembly that tools use for guests, QuickJS tail calls. Constants that add have no switch."""
_OTHER_FEATURES: Final = (
    "branch_hinting",
    "compact_imports",
    "component_model_accessors",
    "component_model_async",
    "component_model_async_stackful",
    "component_model_canonical_names",
    "component_model_implements",
    "component_model_map",
    "component_model_more_async_builtins",
    "custom_page_sizes",
    "exceptions",
    "function_references",
    "gc",
    "memory64",
    "relaxed_simd",
    "stack_switching",
    "threads",
    "wide_arithmetic",
)
"""All others that the engine has, many by default: each is code that untrusted modules would reach."""
_FEATURES: Final[dict[str, bool | int]] = {
    **{f"wasm_{name}": True for name in NEEDED_FEATURES},
    **{f"wasm_{name}": False for name in _OTHER_FEATURES},
}
_FIBER: Final[dict[str, bool | int]] = {"concurrency_support": False, "async_stack_size": FIBER_STACK}

SMALL_COMPONENT: Final = 256 * 1024
"""Size below which a component is small."""
_MEMORY: Final[dict[str, bool | int]] = {
    # All that a 32-bit memory can grow to is reserved at once, and memories that cannot grow in place do not grow:
    # no memory ever moves, so addresses stay valid.
    "memory_reservation": 2**32,
    "memory_may_move": False,
}
_SMALL_MEMORY: Final[dict[str, bool | int]] = {"memory_guard_size": 0, "memory_init_cow": False}
"""By default a guest's memory takes five of a process's 65,530 mappings: one for its copy-on-write data,
others for guard pages that replace bounds checks. A small guest has little
data and computes little, and there may be ten thousand of them: its memory takes two.
"""


_JUDGED_BY: Final = Path(__file__).parents[2] / "worker/served"
_OF_LAYOUT: Final = (
    *(
        Path(__file__).parents[1] / name
        for name in ("layout_check.py", "core/core_capi.py", "core/yielding.py")
    ),
    *(Path(__file__).with_name(name) for name in ("capi.py", "fiber.py")),
)


def is_small(component_bytes: int) -> bool:
    """Whether a component of that size is compiled for the small engine."""
    return component_bytes < SMALL_COMPONENT


def new_engine(*, small: bool = False) -> Engine:
    """An engine with the settings that all of Guesthouse uses.

    Args:
        small: for small components. Neither engine loads what the other compiled.
    """
    # Imported late, so that `engine_key` does not load the library.
    from guesthouse.wasm.engine.owned import Engine

    return Engine(_config(small=small))


def new_compiling_engine(*, small: bool = False) -> CompilingEngine:
    """The same for the classes of the `wasmtime` package, which the compiler needs and no worker loads."""
    from ctypes import POINTER, c_void_p, cast

    import wasmtime._ffi as ffi
    from wasmtime import Engine as CompilingEngine

    from guesthouse.wasm.engine import capi

    engine = CompilingEngine.__new__(CompilingEngine)
    address = c_void_p(capi.engine_new(_config(small=small)))
    engine._set_ptr(cast(address, POINTER(ffi.wasm_engine_t)))
    return engine


def _config(*, small: bool) -> int:
    """The address of a configuration, which is whoever's who makes an engine of it."""
    from ctypes import c_bool, c_uint64, c_void_p

    from guesthouse.wasm.engine import capi

    config: int = capi.config_new()
    memory = _MEMORY | _SMALL_MEMORY if small else _MEMORY
    for name, value in (_PROPERTIES | _FEATURES | _FIBER | memory).items():
        kind = c_bool if isinstance(value, bool) else c_uint64
        capi.bind(f"wasmtime_config_{name}_set", None, c_void_p, kind)(config, value)
    return config


def engine_key() -> str:
    """Identifies the wasmtime version and build, all settings that affect compiled code, the plan format, and the types
    that components were checked against at compile time.
    """
    import hashlib
    import json

    settings = [
        *(
            installed_version(),
            library_hash(),
            _PROPERTIES,
            _FEATURES,
            _FIBER,
            SMALL_COMPONENT,
            _MEMORY,
            _SMALL_MEMORY,
            PLAN_VERSION,
        ),
        [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(_JUDGED_BY.glob("*.py"))],
    ]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def layout_key() -> str:
    """Identifies the library and all that its layout is compared with (`layout_check.py`)."""
    import hashlib

    declared = (package_folder() / name for name in ("_bindings.py", "_ffi.py"))
    texts = [installed_version().encode(), library_hash().encode()]
    texts += [path.read_bytes() for path in (*_OF_LAYOUT, *declared)]
    return hashlib.sha256(b"".join(hashlib.sha256(text).digest() for text in texts)).hexdigest()[:16]
