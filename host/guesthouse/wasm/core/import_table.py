"""Where the modules of a guest are put together: what they import and their instances, side by side in memory.

A Python guest has fourteen modules with 2,300 imports. Asking the engine for one takes a tenth of a microsecond;
for ctypes to turn the arguments of the call into C's takes four times as long. So they are turned once, and used
for all guests of a component, one after the other.
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
    """What one module imports, in its own order. Names are those of the host's calls and of exports."""

    first: int
    """The place of the first one among the imports of all modules."""
    count: int
    calls: tuple[tuple[int, bytes], ...]
    """Those that are calls of the host: place and name."""
    exports: tuple[tuple[int, int, bytes], ...]
    """Those that a module before it exports: place, number of the instance, and name."""
    again: tuple[tuple[int, int], ...]
    """Those that were imported before: place, and where they are."""


class ImportScratch:
    """Room for one guest at a time. What a guest before it left there is fetched anew before it is used.

    Args:
        modules: what each imports, in the order in which they are instantiated.
        linker: the address of the linker with the host's calls.
    """

    __slots__ = ("_externs", "_fetches", "_linker", "externs_address", "instances", "instances_address")

    def __init__(self, modules: Sequence[Imports], linker: int) -> None:
        self._linker = repeat(ready_pointer(linker))
        places = sum(module.count for module in modules)
        self._externs = bytearray(EXTERN_SIZE * (places + 1))  # at least one, to have an address
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
        """Put all that a module imports in its place; returns whether it exists.

        Args:
            module: its number; those before it have their instances.
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
    """The name as an argument; one for all that are equal."""
    found = names.get(name)
    if found is None:
        found = names[name] = ready_text(name)
    return found


def _address(data: Any) -> int:
    return addressof(c_char.from_buffer(data))
