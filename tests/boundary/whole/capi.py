"""What wasmtime's C API has for components that it runs itself: its functions, and how its values lie in memory."""

from __future__ import annotations

from ctypes import CFUNCTYPE, c_bool, c_char_p, c_size_t, c_uint32, c_uint64, c_void_p
from struct import Struct
from typing import Final

from guesthouse.wasm.engine.capi import bind

HOST_CALL: Final = CFUNCTYPE(c_size_t, c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p)
"""`(env, context, type, args, args_len, results) -> error`: a host function; 0 is no error. It is given the
number of results too, which its type tells: a C function may be declared with fewer parameters than it gets.
"""

BLOCKING_HOST_CALL: Final = CFUNCTYPE(
    None, c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p, c_void_p
)
"""`HOST_CALL` with `(…, results_len, error_out, continuation_out)` and no result."""

DESTRUCTOR: Final = CFUNCTYPE(c_size_t, c_void_p, c_void_p, c_uint32)
"""`(env, context, rep) -> error`: a guest dropped a resource of the host."""

call_async = bind(
    "wasmtime_component_func_call_async",
    c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p,
)  # fmt: skip
instantiate_async = bind(
    "wasmtime_component_linker_instantiate_async", c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p
)
# The package declares an error result; the library returns nothing.
epoch_yield = bind("wasmtime_context_epoch_deadline_async_yield_and_update", None, c_void_p, c_uint64)
linker_add_func = bind(
    "wasmtime_component_linker_instance_add_func",
    c_void_p, c_void_p, c_char_p, c_size_t, HOST_CALL, c_void_p, c_void_p,
)  # fmt: skip
linker_add_func_async = bind(
    "wasmtime_component_linker_instance_add_func_async",
    c_void_p, c_void_p, c_char_p, c_size_t, BLOCKING_HOST_CALL, c_void_p, c_void_p,
)  # fmt: skip
linker_add_resource = bind(
    "wasmtime_component_linker_instance_add_resource",
    c_void_p, c_void_p, c_char_p, c_size_t, c_void_p, DESTRUCTOR, c_void_p, c_void_p,
)  # fmt: skip

val_clone = bind("wasmtime_component_val_clone", None, c_void_p, c_void_p)

resource_host_new = bind("wasmtime_component_resource_host_new", c_void_p, c_bool, c_uint32, c_uint32)
resource_host_rep = bind("wasmtime_component_resource_host_rep", c_uint32, c_void_p)
resource_host_type = bind("wasmtime_component_resource_host_type", c_uint32, c_void_p)
resource_host_delete = bind("wasmtime_component_resource_host_delete", None, c_void_p)
resource_host_to_any = bind("wasmtime_component_resource_host_to_any", c_void_p, c_void_p, c_void_p, c_void_p)
resource_any_to_host = bind("wasmtime_component_resource_any_to_host", c_void_p, c_void_p, c_void_p, c_void_p)
resource_any_delete = bind("wasmtime_component_resource_any_delete", None, c_void_p)

VAL_SIZE: Final = 32
"""Bytes of a `wasmtime_component_val_t`: kind at 0, value from 8."""
FIELD_SIZE: Final = 48
"""Bytes of a record's entry: name (length, address) and the value."""
NAME_SIZE: Final = 16

SIZE_AND_ADDRESS: Final = Struct("<QQ")

KIND_BOOL: Final = 0
KIND_S8: Final = 1
KIND_U8: Final = 2
KIND_S16: Final = 3
KIND_U16: Final = 4
KIND_S32: Final = 5
KIND_U32: Final = 6
KIND_S64: Final = 7
KIND_U64: Final = 8
KIND_F32: Final = 9
KIND_F64: Final = 10
KIND_CHAR: Final = 11
KIND_STRING: Final = 12
KIND_LIST: Final = 13
KIND_RECORD: Final = 14
KIND_TUPLE: Final = 15
KIND_VARIANT: Final = 16
KIND_ENUM: Final = 17
KIND_OPTION: Final = 18
KIND_RESULT: Final = 19
KIND_FLAGS: Final = 20
KIND_RESOURCE: Final = 21
"""The kinds of `wasmtime_component_val_t`."""

SCALARS: Final = {
    "s8": (KIND_S8, "b"),
    "u8": (KIND_U8, "B"),
    "s16": (KIND_S16, "h"),
    "u16": (KIND_U16, "H"),
    "s32": (KIND_S32, "i"),
    "u32": (KIND_U32, "I"),
    "s64": (KIND_S64, "q"),
    "u64": (KIND_U64, "Q"),
}
"""Integers: their kind and their code in `struct`."""
