"""wasmtime's C functions that the boundary calls, by ctypes.

Every address is a plain `c_void_p`, which ctypes converts fastest. Functions are called with the GIL held
(`PyDLL`): a worker has one Python thread, and a native timer advances the epoch, so releasing
the GIL would only cost time.

The layouts are those of `CHECKED_VERSION`; `self_check.py` compares them with the loaded library
before any guest runs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import (
    c_bool,
    c_char_p,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint64,
    c_void_p,
)
from struct import Struct
from typing import Any, Final, TypeAlias

from guesthouse.wasm.engine.wasmtime_package import library_path

_lib = ctypes.PyDLL(library_path())


def bind(name: str, result: Any, *arguments: Any) -> Any:
    """A function of the library."""
    function = getattr(_lib, name)
    function.restype = result
    function.argtypes = list(arguments)
    return function


def bind_ready(name: str, result: Any) -> Any:
    """A function that is called with `Ready` arguments only, so that ctypes has nothing to check or
    convert, which is most of a call's cost.
    """
    function = _lib[name]  # a new object each time, unlike an attribute
    function.restype = result
    return function


Ready: TypeAlias = Any
"""A converted argument, reused for many calls."""

ready_pointer: Final[Callable[[int], Ready]] = c_void_p.from_param
ready_size: Final[Callable[[int], Ready]] = c_size_t.from_param
ready_text: Final[Callable[[bytes], Ready]] = c_char_p.from_param
"""Keeps the string alive."""

ready_future_poll = bind_ready("wasmtime_call_future_poll", c_bool)
future_delete = bind("wasmtime_call_future_delete", None, c_void_p)

set_epoch_deadline = bind("wasmtime_context_set_epoch_deadline", None, c_void_p, c_uint64)
ready_set_epoch_deadline = bind_ready("wasmtime_context_set_epoch_deadline", None)
increment_epoch = bind("wasmtime_engine_increment_epoch", None, c_void_p)
store_limiter = bind("wasmtime_store_limiter", None, c_void_p, c_int64, c_int64, c_int64, c_int64, c_int64)

config_new = bind("wasm_config_new", c_void_p)
engine_new = bind("wasm_engine_new_with_config", c_void_p, c_void_p)
"""Takes the configuration over."""
engine_delete = bind("wasm_engine_delete", None, c_void_p)
store_new = bind("wasmtime_store_new", c_void_p, c_void_p, c_void_p, c_void_p)
store_delete = bind("wasmtime_store_delete", None, c_void_p)
store_context = bind("wasmtime_store_context", c_void_p, c_void_p)
module_new = bind("wasmtime_module_new", c_void_p, c_void_p, c_void_p, c_size_t, c_void_p)
module_delete = bind("wasmtime_module_delete", None, c_void_p)
module_deserialize_file = bind("wasmtime_module_deserialize_file", c_void_p, c_void_p, c_char_p, c_void_p)
wat2wasm = bind("wasmtime_wat2wasm", c_void_p, c_char_p, c_size_t, c_void_p)
valtype_new = bind("wasm_valtype_new", c_void_p, c_uint8)
valtype_vec_new = bind("wasm_valtype_vec_new", None, c_void_p, c_size_t, c_void_p)
"""Takes the types over, and so does the next one the vectors."""
functype_new = bind("wasm_functype_new", c_void_p, c_void_p, c_void_p)
functype_delete = bind("wasm_functype_delete", None, c_void_p)

error_new = bind("wasmtime_error_new", c_void_p, c_char_p)
error_message = bind("wasmtime_error_message", None, c_void_p, c_void_p)
error_delete = bind("wasmtime_error_delete", None, c_void_p)
byte_vec_delete = bind("wasm_byte_vec_delete", None, c_void_p)


class Vector(ctypes.Structure):
    """A `wasm_byte_vec_t`, or one of pointers."""

    _fields_ = (("size", c_size_t), ("data", c_void_p))
    size: int
    data: int | None


ADDRESS: Final = Struct("<Q")
CONTINUATION_STRUCT: Final = Struct("<QQQ")
"""`callback, env, finalizer`."""

BYTES_OFFSET: Final = bytes.__basicsize__ - 1
"""Offset of the content of a `bytes` object in CPython; checked by `self_check.py`."""


def address_of(data: bytes) -> int:
    """The address of the content of a `bytes` object, valid as long as the object is referenced."""
    return id(data) + BYTES_OFFSET


MAX_MESSAGE: Final = 65_536
"""Bytes of an error that are read. It contains names that the guest chose, so it can have gigabytes."""


def take_message(error: int) -> str:
    """Read the end of a `wasmtime_error_t`, which has its cause, and free it."""
    text = take_bytes(lambda vector: error_message(error, vector))
    error_delete(error)
    return text


def take_bytes(write: Callable[[int], None]) -> str:
    """The end of the text that a function writes to a vector at an address."""
    vector = Vector()
    write(ctypes.addressof(vector))
    size = min(vector.size, MAX_MESSAGE)
    start = vector.data or 0
    text: str = ctypes.string_at(start + vector.size - size, size).decode("utf-8", "replace")
    byte_vec_delete(ctypes.addressof(vector))
    return text
