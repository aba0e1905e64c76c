"""Scratch memory in which a guest's imports and instances are collected while it is instantiated.

A Python guest has fourteen modules with 2,300 imports. Looking one up takes the engine a tenth of a microsecond;
ctypes takes four times as long to convert the call's arguments. So arguments are converted once, and used
for all guests of a component, one at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import addressof, c_char
from itertools import repeat
from typing import Any, Final, TypeAlias

from msgspec import Struct

from guesthouse.wasm.core.core_capi import EXTERN_SIZE, INSTANCE_SIZE, ready_instance_export, ready_linker_get
from guesthouse.wasm.engine.capi import Ready, ready_pointer, ready_size, ready_text

_Columns: TypeAlias = tuple[Sequence[Ready], ...]

_NO_NAME: Final = repeat(ready_text(b""))
_NO_SIZE: Final = repeat(ready_size(0))


class Imports(Struct, frozen=True):
    """What one module imports, in order. Names are those of host calls and of exports."""

    first: int
    """The slot of its first import."""
    count: int
    calls: tuple[tuple[int, bytes], ...]
    """Host calls: slot and name."""
    exports: tuple[tuple[int, int, bytes], ...]
    """Exports of earlier modules: slot, number of the instance, and name."""
    again: tuple[tuple[int, int], ...]
    """Imports of earlier modules: slot, and the slot to copy from."""


class ImportScratch:
    """Scratch for one guest at a time. Old content is overwritten before it is used.

    Args:
        modules: their imports, in the order of instantiation.
        linker: the address of the linker with the host's calls.
    """

    __slots__ = ("_externs", "_fetches", "_linker", "externs_address", "instances", "instances_address")

    def __init__(self, modules: Sequence[Imports], linker: int) -> None:
        self._linker = repeat(ready_pointer(linker))
        places = sum(module.count for module in modules)
        self._externs = bytearray(EXTERN_SIZE * (places + 1))  # at least one, for an address
        self.externs_address = _address(self._externs)
        self.instances = bytearray(INSTANCE_SIZE * (len(modules) + 1))
        self.instances_address = _address(self.instances)
        names: dict[bytes, Ready] = {}
        instances = [
            ready_pointer(self.instances_address + INSTANCE_SIZE * number) for number in range(len(modules))
        ]
        self._fetches = [
            (self._calls(module, names), self._exports(module, names, instances), _slices(module.again))
            for module in modules
        ]

    def fetch(self, module: int, context: int) -> bool:
        """Collect all imports of a module; returns whether they exist.

        Args:
            module: its number; earlier ones are instantiated.
            context: of the guest's store.
        """
        calls, exports, again = self._fetches[module]
        store = repeat(ready_pointer(context))
        found = all(map(ready_linker_get, self._linker, store, _NO_NAME, _NO_SIZE, *calls)) and all(
            map(ready_instance_export, store, *exports)
        )
        externs = self._externs
        for place, where in again:
            externs[place] = externs[where]
        return found

    def _calls(self, module: Imports, names: dict[bytes, Ready]) -> _Columns:
        texts = [_ready_name(name, names) for _, name in module.calls]
        sizes = [ready_size(len(name)) for _, name in module.calls]
        return texts, sizes, [self._place(place) for place, _ in module.calls]

    def _exports(self, module: Imports, names: dict[bytes, Ready], instances: Sequence[Ready]) -> _Columns:
        owners = [instances[number] for _, number, _ in module.exports]
        texts = [_ready_name(name, names) for _, _, name in module.exports]
        sizes = [ready_size(len(name)) for _, _, name in module.exports]
        return owners, texts, sizes, [self._place(place) for place, _, _ in module.exports]

    def _place(self, number: int) -> Ready:
        return ready_pointer(self.externs_address + EXTERN_SIZE * number)


def _slices(pairs: Sequence[tuple[int, int]]) -> list[tuple[slice, slice]]:
    return [(_slice(place), _slice(where)) for place, where in pairs]


def _slice(place: int) -> slice:
    return slice(EXTERN_SIZE * place, EXTERN_SIZE * (place + 1))


def _ready_name(name: bytes, names: dict[bytes, Ready]) -> Ready:
    """The name as a ctypes argument, shared by equal names."""
    found = names.get(name)
    if found is None:
        found = names[name] = ready_text(name)
    return found


def _address(data: Any) -> int:
    return addressof(c_char.from_buffer(data))
