"""wasmtime's C functions for core modules, in the style of `capi`."""

from __future__ import annotations

from ctypes import CFUNCTYPE, c_bool, c_char_p, c_size_t, c_uint8, c_void_p
from struct import Struct
from typing import Final

from guesthouse.wasm.engine import capi
from guesthouse.wasm.engine.capi import bind, bind_ready
from guesthouse.wasm.engine.native import slots

UNCHECKED_CALL: Final = CFUNCTYPE(c_size_t, c_void_p, c_void_p, c_void_p)
"""`(env, caller, args_and_results) -> trap`: a host function; 0 is no trap. The count argument is omitted, because the
type implies it and a C callback may declare fewer parameters than it gets.
"""

ASYNC_CALL: Final = CFUNCTYPE(
    None, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p, c_void_p
)
"""`(env, caller, args, args_len, results, results_len, trap_out, continuation_out)`."""

EPOCH_CALL: Final = CFUNCTYPE(c_size_t, c_void_p, c_void_p, c_void_p, c_void_p)
"""`(context, env, delta_out, kind_out) -> error`: called at the end of a guest's slice."""

linker_new = bind("wasmtime_linker_new", c_void_p, c_void_p)
linker_delete = bind("wasmtime_linker_delete", None, c_void_p)
linker_define = bind(
    "wasmtime_linker_define_func_unchecked",
    c_void_p, c_void_p, c_char_p, c_size_t, c_char_p, c_size_t, c_void_p, UNCHECKED_CALL, c_void_p, c_void_p,
)  # fmt: skip
linker_define_async = bind(
    "wasmtime_linker_define_async_func",
    c_void_p, c_void_p, c_char_p, c_size_t, c_char_p, c_size_t, c_void_p, ASYNC_CALL, c_void_p, c_void_p,
)  # fmt: skip
ready_linker_get = bind_ready("wasmtime_linker_get", c_bool)
"""`(linker, context, module, module_len, name, name_len, extern_out) -> found`."""

instance_new = bind(
    "wasmtime_instance_new", c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_void_p
)
instance_export = bind(
    "wasmtime_instance_export_get", c_bool, c_void_p, c_void_p, c_char_p, c_size_t, c_void_p
)
ready_instance_export = bind_ready("wasmtime_instance_export_get", c_bool)
ready_memory_data = bind_ready("wasmtime_memory_data", c_size_t)
ready_memory_data_size = bind_ready("wasmtime_memory_data_size", c_size_t)

ready_func_call = bind_ready("wasmtime_func_call_unchecked", c_void_p)
"""`(context, function, args_and_results, their_number, trap_out) -> error`."""
func_type = bind("wasmtime_func_type", c_void_p, c_void_p, c_void_p)
functype_params = bind("wasm_functype_params", c_void_p, c_void_p)
functype_results = bind("wasm_functype_results", c_void_p, c_void_p)
valtype_kind = bind("wasm_valtype_kind", c_uint8, c_void_p)
func_call_async = bind(
    "wasmtime_func_call_async",
    c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p, c_void_p,
)  # fmt: skip
epoch_callback = bind(
    "wasmtime_store_epoch_deadline_callback", None, c_void_p, EPOCH_CALL, c_void_p, c_void_p
)

trap_new = bind("wasmtime_trap_new", c_size_t, c_char_p, c_size_t)
trap_message = bind("wasm_trap_message", None, c_void_p, c_void_p)
trap_delete = bind("wasm_trap_delete", None, c_void_p)

EXTERN_SIZE: Final = 32
"""Bytes of a `wasmtime_extern_t`: kind at 0, value from 8."""
EXTERN_OF: Final = 8
INSTANCE_SIZE: Final = 16
"""Bytes of a `wasmtime_instance_t`."""
RAW_SIZE: Final = 16
"""Bytes of a `wasmtime_val_raw_t`, value at 0."""
TAGGED_SIZE: Final = 32
"""Bytes of a `wasmtime_val_t`: kind at 0, value from 8."""
TAGGED_OF: Final = 8

FUNCTION, TABLE, MEMORY = 0, 2, 3
"""Kinds of a `wasmtime_extern_t`, compared like the next ones."""
KINDS: Final = {"i32": 0, "i64": 1, "f32": 2, "f64": 3}
"""The kinds of a `wasmtime_val_t` and of a `wasm_valtype_t`; `layout_check.py` compares them with the package's."""

YIELD: Final = 1
CONTINUE: Final = 0
"""Results of an epoch callback (`wasmtime_update_deadline_kind_t`). The package declares no values of them:
`layout_check.py` tries them.
"""

put_u64: Final = Struct("<Q").pack_into


_size_and_address: Final = Struct("<QQ").unpack
_address: Final = Struct("<Q").unpack
_words: Final = slots(16)
_pointer: Final = slots(8)


def core_types_of(context: int, function: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The kinds of a function's parameters and results.

    Args:
        context: of its store.
        function: the address of a `wasmtime_func_t`.
    """
    type_ = func_type(context, function)
    kinds = _kinds(functype_params(type_)), _kinds(functype_results(type_))
    capi.functype_delete(type_)
    return kinds


def _kinds(vector: int) -> tuple[int, ...]:
    size, start = _size_and_address(_words(vector))
    pointers = (_address(_pointer(start + 8 * number))[0] for number in range(size))
    return tuple(map(valtype_kind, pointers))


def take_trap(trap: int) -> str:
    """Read the end of a `wasm_trap_t` as `capi.take_message` reads an error, and free it."""
    text = capi.take_bytes(lambda vector: trap_message(trap, vector))
    trap_delete(trap)
    return text.rstrip("\0")  # unlike an error's, it is null-terminated
