"""What a worker has of the engine's, each freed with the Python object that stands for it.

The `wasmtime` package has the same classes, and takes as long to load as all the rest of a worker: it declares some
thousand functions, of which a worker calls forty. Only the compiler loads it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from ctypes import addressof, c_void_p, cast
from pathlib import Path
from typing import Any, Protocol

from guesthouse.wasm.engine import capi


class EngineError(Exception):
    """The engine refuses; the message is its own."""


class Native(Protocol):
    """Something of the engine's: one of the classes below, or of the `wasmtime` package."""

    def ptr(self) -> Any:
        """Where it is, for ctypes.

        Raises:
            ValueError: it was closed.
        """


def address_of_native(native: Native) -> int:
    """Where it is."""
    return cast(native.ptr(), c_void_p).value or 0


class _Owned:
    _address: int | None = None

    def __init__(self, address: int | None, delete: Callable[[int], None]) -> None:
        self._address = address
        self._delete = delete

    def ptr(self) -> c_void_p:
        """See `Native`."""
        if self._address is None:
            raise ValueError(f"the {type(self).__name__} was closed")
        return c_void_p(self._address)

    def close(self) -> None:
        """Free it now. Idempotent."""
        address, self._address = self._address, None
        if address is not None:
            self._delete(address)

    def __del__(self) -> None:
        self.close()


class Engine(_Owned):
    """An engine of a configuration, which it takes over."""

    def __init__(self, config: int) -> None:
        super().__init__(capi.engine_new(config), capi.engine_delete)


class CompiledModule(_Owned):
    """A core module, compiled by an engine."""

    @classmethod
    def deserialize_file(cls, engine: Native, path: Path) -> CompiledModule:
        """Load what an engine of the same settings compiled. The file is believed: whoever can write it has the worker.

        Raises:
            EngineError: it cannot be read, or another engine compiled it.
        """
        engine_address, name = address_of_native(engine), os.fsencode(path)
        return cls._made(lambda out: capi.module_deserialize_file(engine_address, name, out))

    @classmethod
    def of_text(cls, engine: Native, text: str) -> CompiledModule:
        """Compile a module of the host's own, written as text.

        Raises:
            EngineError: it is no module.
        """
        engine_address, written, binary = address_of_native(engine), text.encode(), capi.Vector()
        _raise(capi.wat2wasm(written, len(written), addressof(binary)))
        try:
            return cls._made(lambda out: capi.module_new(engine_address, binary.data, binary.size, out))
        finally:
            capi.byte_vec_delete(addressof(binary))

    @classmethod
    def _made(cls, make: Callable[[int], int | None]) -> CompiledModule:
        module = c_void_p()
        _raise(make(addressof(module)))
        return cls(module.value, capi.module_delete)


class Store(_Owned):
    """A store: all that one guest has."""

    def __init__(self, engine: Native) -> None:
        super().__init__(capi.store_new(address_of_native(engine), None, None), capi.store_delete)

    def context(self) -> int:
        """The address of its context, good until it is closed."""
        address: int = capi.store_context(self.ptr())
        return address


class CoreFunctionType(_Owned):
    """The type of a core function, of kinds of values (`wasm_valkind_t`)."""

    def __init__(self, params: Sequence[int], results: Sequence[int]) -> None:
        ins, outs = _value_types(params), _value_types(results)
        super().__init__(capi.functype_new(addressof(ins), addressof(outs)), capi.functype_delete)


def _value_types(kinds: Sequence[int]) -> capi.Vector:
    """Whoever gets its address frees what it holds."""
    types = (c_void_p * len(kinds))(*map(capi.valtype_new, kinds))
    vector = capi.Vector()
    capi.valtype_vec_new(addressof(vector), len(kinds), addressof(types))
    return vector


def _raise(error: int | None) -> None:
    if error:
        raise EngineError(capi.take_message(error))
