"""Where the tree of a value stands while wasmtime reads it.

A value is 32 bytes that point to more: names, fields, payloads. wasmtime copies the whole tree in one
`wasmtime_component_val_clone`; what it was copied from is needed no longer.
"""

from __future__ import annotations

import ctypes
from typing import Final

from tests.boundary.whole.native import MEMORY

from guesthouse.wasm.engine.capi import address_of

from . import capi as component_capi
from .capi import KIND_U8, VAL_SIZE

_ALIGN: Final = 16
_U8_BLOCK: Final = 4096
_U8_KINDS: Final = bytes((KIND_U8,))
_U8_PATTERN: Final = (_U8_KINDS + bytes(VAL_SIZE - 1)) * _U8_BLOCK


class Arena:
    """Memory for one tree at a time.

    Args:
        size: bytes that are there from the start and used again for each tree; larger trees, and all trees
            of an arena of none, get memory of their own.
    """

    __slots__ = (
        "_block", "_end", "_keep", "_next", "_start", "_u8_block", "_u8_start", "_u8_used", "context", "resources",
    )  # fmt: skip

    def __init__(self, size: int = 0) -> None:
        self.context = 0
        """The store that resources are made for."""
        self.resources: list[int] = []
        """Handles that were made for this tree and are copied with it."""
        self._keep: list[object] = []
        self._block = bytearray(size)
        self._start = self._next = _address(self._block) if size else 0
        self._end = self._start + size
        self._u8_block = bytearray()
        """Made when it is first needed: it is 128 KiB."""
        self._u8_start = 0
        self._u8_used = False

    def take(self, size: int) -> int:
        """The address of so many bytes, which hold anything."""
        address = self._next
        after = address + (size + _ALIGN - 1 & -_ALIGN)
        if after <= self._end:
            self._next = after
            return address
        block = bytearray(size)
        self._keep.append(block)
        return _address(block)

    def keep(self, data: bytes) -> int:
        """The address of the content of a `bytes` object, which stays as long as the tree."""
        self._keep.append(data)
        return address_of(data)

    def clear(self) -> None:
        """Forget the tree."""
        self._next = self._start
        self._u8_used = False
        if self._keep:
            self._keep.clear()
        if self.resources:
            for handle in self.resources:
                component_capi.resource_any_delete(handle)
            self.resources.clear()

    def bytes_as_values(self, data: bytes) -> int:
        """Spread bytes out into `u8` values; returns the first one's address.

        The first short list of a tree uses memory that is there already.
        """
        size = len(data)
        if size <= _U8_BLOCK and not self._u8_used:
            self._u8_used = True
            start = self._u8_start or self._make_u8_block()
            MEMORY[start + 8 : start + VAL_SIZE * size : VAL_SIZE] = data
            return start
        values = bytearray(VAL_SIZE * size)
        values[::VAL_SIZE] = _U8_KINDS * size
        values[8::VAL_SIZE] = data
        self._keep.append(values)
        return _address(values)

    def _make_u8_block(self) -> int:
        self._u8_block = bytearray(_U8_PATTERN)
        self._u8_start = _address(self._u8_block)
        return self._u8_start


def _address(data: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(data))
