"""The linking of a component while it is evaluated: modules, their instances, and lowered functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from guesthouse.wasm.abi.layout import CoreSignature
from guesthouse.wasm.binary.byte_reader import Section, UnsupportedComponent
from guesthouse.wasm.binary.core_module import (
    DATA,
    ELEMENTS,
    GLOBALS,
    MAX_MODULE_EXPORTS,
    MAX_MODULE_IMPORTS,
    MAX_PARTS,
    MAX_TYPE_BYTES,
    TYPES,
    CoreModule,
    Kind,
    function_type,
    read_module,
    start_name,
    trapping_exports,
)
from guesthouse.wasm.plan.definitions import CoreBag, CoreInstance, ImportedFunction, ImportedType, Options
from guesthouse.wasm.plan.plan import (
    Call,
    CallOf,
    Dropped,
    Export,
    HandleAction,
    Instantiation,
    Lowered,
    OwnHandle,
    Source,
    Trapping,
)

MAX_MODULES: Final = 128
MAX_INSTANTIATIONS: Final = 512
MAX_CALLS: Final = 1_500
"""A Python guest has about 200. One function may be lowered many times; linking so many takes a worker 50 ms, in which
no guest runs.
"""


class Linking:
    """The plan so far. Numbers are those of `Plan`."""

    def __init__(self) -> None:
        self.modules: Final[list[CoreModule]] = []
        self._numbers: Final[dict[int, int]] = {}
        """By position of the module."""
        self._places: Final[list[Section | None]] = []
        """Position of each module in the component; None for one added by the host."""
        self.instantiations: Final[list[Instantiation]] = []
        self.calls: Final[list[Call]] = []
        self.memory: Export | None = None
        self.reallocs: Final[dict[Export, int]] = {}
        self._trapping: Final[dict[int, frozenset[str]]] = {}
        self._start_names: Final[dict[int, str | None]] = {}
        self._types: Final[dict[tuple[int, int], CoreSignature]] = {}
        """By module and number of the type: a module may be instantiated hundreds of times."""
        self._imports = 0
        self._exports = 0
        self._type_bytes = 0
        self._parts = 0

    def module(self, content: bytes, section: Section) -> int:
        """Add a core module, unless it was added before; returns its number."""
        known = self._numbers.get(section.start)
        if known is not None:
            return known
        if len(self.modules) == MAX_MODULES:
            raise UnsupportedComponent(f"it has over {MAX_MODULES} modules")
        module = read_module(content[section.body : section.end])
        self._count(module)
        self.modules.append(module)
        self._places.append(section)
        return self._numbers.setdefault(section.start, len(self.modules) - 1)

    def _count(self, module: CoreModule) -> None:
        """Count what a worker takes time for when it loads the module, whether it is instantiated or not."""
        types = module.reader(TYPES)
        self._exports += len(module.exports)
        self._type_bytes += types.end - types.at
        self._parts += sum(module.reader(kind).number() for kind in (GLOBALS, ELEMENTS, DATA))
        if self._exports > MAX_MODULE_EXPORTS:
            raise UnsupportedComponent(f"its modules have over {MAX_MODULE_EXPORTS} exports together")
        if self._type_bytes > MAX_TYPE_BYTES:
            raise UnsupportedComponent(f"its modules have types of over {MAX_TYPE_BYTES} bytes together")
        if self._parts > MAX_PARTS:
            raise UnsupportedComponent(f"its modules have over {MAX_PARTS} globals and segments together")

    def own_module(self, module: CoreModule) -> int:
        """Add a module of the host's, unless it was added before; returns its number."""
        if module not in self.modules:
            self.modules.append(module)
            self._places.append(None)
        return self.modules.index(module)

    def placed(self) -> Iterator[tuple[CoreModule, Section]]:
        """Each module, and its section in the component."""
        placed = zip(self.modules, self._places, strict=True)
        return ((module, place) for module, place in placed if place is not None)

    def instantiate(self, number: int, arguments: Mapping[str, CoreInstance | CoreBag]) -> CoreInstance:
        """Add an instance of a module, with its imports resolved in these instances."""
        module = self.modules[number]
        self._imports += len(module.imports)
        if self._imports > MAX_MODULE_IMPORTS:
            raise UnsupportedComponent(f"its modules have over {MAX_MODULE_IMPORTS} imports together")
        if len(self.instantiations) == MAX_INSTANTIATIONS:
            raise UnsupportedComponent(f"it instantiates modules over {MAX_INSTANTIATIONS} times")
        imports = tuple(
            _found(arguments, wanted.module, wanted.name, wanted.kind) for wanted in module.imports
        )
        self._learn_signatures(number, imports)
        if number not in self._start_names:
            self._start_names[number] = start_name(module)
        self.instantiations.append(Instantiation(number, imports, self._start_names[number]))
        return CoreInstance(len(self.instantiations) - 1, module.exports)

    def lowered(self, function: ImportedFunction, options: Options) -> CallOf:
        """Add a core function that calls an imported one."""
        return self._call(Lowered(function.interface, function.name, self.use(options)))

    def dropped(self, resource: ImportedType) -> CallOf:
        """Add a core function that drops a handle."""
        return self._call(Dropped(resource.interface, resource.name))

    def own_handle(self, resource: int, action: HandleAction) -> CallOf:
        """Add a core function for handles of the component's own resource."""
        return self._call(OwnHandle(resource, action))

    def trapping(self) -> CallOf:
        """Add a core function that traps. Its type is that of its import."""
        return self._call(Trapping(((), ())))

    def only_traps(self, function: Export) -> bool:
        """Whether a core function only traps."""
        number = self.instantiations[function.instance].module
        names = self._trapping.get(number)
        if names is None:
            names = self._trapping[number] = trapping_exports(self.modules[number])
        return function.name in names

    def _learn_signatures(self, number: int, imports: tuple[Source, ...]) -> None:
        module = self.modules[number]
        for wanted, source in zip(module.imports, imports, strict=True):
            if type(source) is CallOf and isinstance(self.calls[source.number], Trapping):
                place = number, wanted.type
                if place not in self._types:
                    self._types[place] = function_type(module, wanted.type)
                self.calls[source.number] = Trapping(self._types[place])

    def _call(self, call: Call) -> CallOf:
        if len(self.calls) == MAX_CALLS:
            raise UnsupportedComponent(f"it lowers over {MAX_CALLS} core functions")
        self.calls.append(call)
        return CallOf(len(self.calls) - 1)

    def use(self, options: Options) -> int | None:
        """Apply a function's options; returns the number of its allocator.

        Raises:
            UnsupportedComponent: other functions use another memory.
        """
        if options.memory is not None:
            if not isinstance(options.memory, Export) or self.memory not in (None, options.memory):
                raise UnsupportedComponent("it lifts and lowers with more than one memory")
            self.memory = options.memory
        if options.realloc is None:
            return None
        if not isinstance(options.realloc, Export):
            raise UnsupportedComponent("it has a host function as allocator")
        return self.reallocs.setdefault(options.realloc, len(self.reallocs))


def _found(arguments: Mapping[str, CoreInstance | CoreBag], module: str, name: str, kind: Kind) -> Source:
    instance = arguments.get(module)
    found = None if instance is None else instance.get(name)
    if found is None or found[0] != kind:
        raise UnsupportedComponent(f"a module imports {name!r} of {module!r}, which it is not given")
    return found[1]
