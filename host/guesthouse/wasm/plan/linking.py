"""The core of a component under construction: modules, their instances, and the functions of the host they get."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from guesthouse.wasm.binary.byte_reader import Section, UnsupportedComponent
from guesthouse.wasm.binary.core_module import (
    MAX_MODULE_EXPORTS,
    MAX_MODULE_IMPORTS,
    CoreModule,
    Kind,
    read_module,
    without_start,
)
from guesthouse.wasm.plan.definitions import CoreBag, CoreInstance, ImportedFunction, ImportedType
from guesthouse.wasm.plan.plan import Call, CallOf, Dropped, Export, Instantiation, Lowered, Source

MAX_MODULES: Final = 128
MAX_INSTANTIATIONS: Final = 512
MAX_CALLS: Final = 10_000
"""A Python guest has some 200. One function may be lowered many times."""


class Linking:
    """What the definitions so far add up to. Numbers that it gives are those of `Plan`."""

    def __init__(self) -> None:
        self.modules: Final[list[CoreModule]] = []
        self._places: Final[list[Section]] = []
        self.instantiations: Final[list[Instantiation]] = []
        self.calls: Final[list[Call]] = []
        self.memory: Export | None = None
        self.reallocs: Final[dict[Export, int]] = {}
        self._imports = 0
        self._exports = 0

    def module(self, content: bytes, section: Section) -> int:
        """Add a core module; returns its number."""
        if len(self.modules) == MAX_MODULES:
            raise UnsupportedComponent(f"it has over {MAX_MODULES} modules")
        module = read_module(content[section.body : section.end])
        self._exports += len(module.exports)
        if self._exports > MAX_MODULE_EXPORTS:
            raise UnsupportedComponent(f"its modules export over {MAX_MODULE_EXPORTS} things together")
        self.modules.append(module)
        self._places.append(section)
        return len(self.modules) - 1

    def placed(self) -> Iterator[tuple[CoreModule, Section]]:
        """Each module, and the section of the component that holds it."""
        return zip(self.modules, self._places, strict=True)

    def instantiate(self, number: int, arguments: Mapping[str, CoreInstance | CoreBag]) -> CoreInstance:
        """Add an instance of a module, whose imports are found in these instances."""
        module = self.modules[number]
        self._imports += len(module.imports)
        if self._imports > MAX_MODULE_IMPORTS:
            raise UnsupportedComponent(f"its modules import over {MAX_MODULE_IMPORTS} things together")
        if len(self.instantiations) == MAX_INSTANTIATIONS:
            raise UnsupportedComponent(f"it instantiates modules over {MAX_INSTANTIATIONS} times")
        imports = tuple(
            _found(arguments, wanted.module, wanted.name, wanted.kind) for wanted in module.imports
        )
        self.instantiations.append(Instantiation(number, imports, without_start(module)[1]))
        return CoreInstance(len(self.instantiations) - 1, module.exports)

    def lowered(self, function: ImportedFunction, realloc: int | None) -> CallOf:
        """Add a core function that calls an imported one."""
        return self._call(Lowered(function.interface, function.name, realloc))

    def dropped(self, resource: ImportedType) -> CallOf:
        """Add a core function that drops a handle."""
        return self._call(Dropped(resource.interface, resource.name))

    def _call(self, call: Call) -> CallOf:
        if len(self.calls) == MAX_CALLS:
            raise UnsupportedComponent(f"it makes over {MAX_CALLS} core functions of imports")
        self.calls.append(call)
        return CallOf(len(self.calls) - 1)

    def use_memory(self, source: Source) -> None:
        """See that values cross through the same memory everywhere."""
        if not isinstance(source, Export) or self.memory not in (None, source):
            raise UnsupportedComponent("values cross through more than one memory")
        self.memory = source

    def realloc(self, source: Source) -> int:
        """The number of an allocator."""
        if not isinstance(source, Export):
            raise UnsupportedComponent("an allocator is a function of the host")
        return self.reallocs.setdefault(source, len(self.reallocs))


def _found(arguments: Mapping[str, CoreInstance | CoreBag], module: str, name: str, kind: Kind) -> Source:
    instance = arguments.get(module)
    found = None if instance is None else instance.get(name)
    if found is None or found[0] != kind:
        raise UnsupportedComponent(f"a module imports {name!r} of {module!r}, which it does not get")
    return found[1]
