"""Evaluates the definitions of a component, in order.

The format is that of the component model's `Binary.md`. Everything that is not understood exactly is refused:
instances of shapes that tool chains do not produce, and what was added to the format after WASI 0.2. Types of values
are not checked: the engine does that when it compiles the skeleton.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from guesthouse.wasm.binary.byte_reader import COMPONENT, Reader, Section, UnsupportedComponent, sections
from guesthouse.wasm.binary.core_module import Kind
from guesthouse.wasm.plan.definitions import (
    CORE,
    CORE_INSTANCE,
    CoreBag,
    CoreInstance,
    Frame,
    ImportedFunction,
    ImportedInstance,
    ImportedType,
    Instance,
    Item,
    LiftedFunction,
    NestedComponent,
    Options,
    OtherType,
    OwnType,
    Sort,
    at,
)
from guesthouse.wasm.plan.linking import Linking
from guesthouse.wasm.plan.own_resources import OwnResources
from guesthouse.wasm.plan.plan import Export, HandleAction, Source

MAX_DEFINITIONS: Final = 200_000
"""Of a component and all instances of nested ones. A Python guest has about 2,000."""
_BYTES: Final = 64
"""Bytes of definitions that count as one more: names can be long, and be read many times."""
MAX_DEPTH: Final = 8
"""Nesting of components."""


class Outcome(Struct, frozen=True):
    """The result of evaluating a component."""

    linking: Linking
    exports: Mapping[str, tuple[Sort, Item]]
    caller: Frame | None
    """The component that calls the host, if any."""


def evaluate(content: bytes) -> Outcome:
    """Evaluate a component.

    Raises:
        UnsupportedComponent: it is malformed, unsupported, or too big.
    """
    evaluator = _Evaluator(content)
    frame = Frame(None, 0, {})
    evaluator.component(frame, 0, len(content))
    return Outcome(evaluator.linking, frame.exports, evaluator.caller)


class _Evaluator:
    def __init__(self, content: bytes) -> None:
        self.linking: Final = Linking()
        self._own: Final = OwnResources(content, self.linking)
        self.caller: Frame | None = None
        """The component that calls the host."""
        self._content: Final = content
        self._left = MAX_DEFINITIONS

    def component(self, frame: Frame, start: int, end: int) -> None:
        """Evaluate a component, in a frame of its own."""
        for section in sections(self._content, start, end, COMPONENT):
            self._count(1)

            read = _WHOLE.get(section.kind)
            if read is not None:
                read(self, frame, section)
            else:
                self._vector(frame, section)

    def _vector(self, frame: Frame, section: Section) -> None:
        define = _VECTORS.get(section.kind)
        if define is None:
            raise UnsupportedComponent(f"it has a section of the kind {section.kind}")
        self._count((section.end - section.body) // _BYTES)
        reader = Reader(self._content, section.body, section.end)
        for _ in range(self._counted(reader)):
            define(self, frame, reader)
        reader.finish()

    def _count(self, definitions: int) -> None:
        self._left -= definitions
        if self._left < 0:
            raise UnsupportedComponent(f"it has over {MAX_DEFINITIONS} definitions")

    def _counted(self, reader: Reader) -> int:
        """The length of a vector, whose elements count as definitions."""
        count = reader.count(MAX_DEFINITIONS, "definitions at once")
        self._count(count)
        return count

    def custom(self, frame: Frame, section: Section) -> None:
        """Custom sections have no effect."""

    def core_module(self, frame: Frame, section: Section) -> None:
        """Section 1."""
        frame.modules.append(self.linking.module(self._content, section))

    def nested(self, frame: Frame, section: Section) -> None:
        """Section 4: evaluated when it is instantiated."""
        frame.items[Sort.COMPONENT].append(NestedComponent(section.body, section.end, frame))

    def types(self, frame: Frame, section: Section) -> None:
        """Section 7: each entry defines one type, which is skipped."""
        reader = Reader(self._content, section.body, section.end)
        frame.items[Sort.TYPE] += [OwnType(section, number, frame) for number in range(self._counted(reader))]

    def core_instance(self, frame: Frame, reader: Reader) -> None:
        """Section 2: instantiates a module, or collects exports of others."""
        match reader.byte():
            case 0x00:
                module = at(frame.modules, reader.number())
                arguments = dict(self._core_argument(frame, reader) for _ in range(self._counted(reader)))
                frame.core_instances.append(self.linking.instantiate(module, arguments))
            case 0x01:
                exports = dict(self._core_export(frame, reader) for _ in range(self._counted(reader)))
                frame.core_instances.append(exports)
            case other:
                raise UnsupportedComponent(f"it creates a core instance by the unknown form {other}")

    def _core_argument(self, frame: Frame, reader: Reader) -> tuple[str, CoreInstance | CoreBag]:
        name = reader.name()
        if reader.byte() != CORE_INSTANCE:
            raise UnsupportedComponent("a module is instantiated with something other than instances")
        return name, at(frame.core_instances, reader.number())

    def _core_export(self, frame: Frame, reader: Reader) -> tuple[str, tuple[Kind, Source]]:
        name, kind = reader.name(), _core_kind(reader.byte())
        return name, (kind, at(frame.core[kind], reader.number()))

    def instance(self, frame: Frame, reader: Reader) -> None:
        """Section 5: instantiates a component, or collects exports of others."""
        match reader.byte():
            case 0x00:
                component = frame.item(Sort.COMPONENT, reader.number())
                arguments = dict(self._argument(frame, reader) for _ in range(self._counted(reader)))
                frame.items[Sort.INSTANCE].append(self._instantiate(frame, component, arguments))
            case 0x01:
                exports = dict(self._inline_export(frame, reader) for _ in range(self._counted(reader)))
                frame.items[Sort.INSTANCE].append(Instance(exports))
            case other:
                raise UnsupportedComponent(f"it creates an instance by the unknown form {other}")

    def _instantiate(
        self, frame: Frame, component: Item, arguments: Mapping[str, tuple[Sort, Item]]
    ) -> Instance:
        if not isinstance(component, NestedComponent):
            raise UnsupportedComponent("it instantiates something other than a nested component")
        if frame.depth == MAX_DEPTH:
            raise UnsupportedComponent(f"it nests components over {MAX_DEPTH} deep")
        inner = Frame(component.outer, frame.depth + 1, arguments)
        self.component(inner, component.start, component.end)
        return Instance(inner.exports)

    def _argument(self, frame: Frame, reader: Reader) -> tuple[str, tuple[Sort, Item]]:
        return reader.name(), self._sorted_item(frame, reader)

    def _inline_export(self, frame: Frame, reader: Reader) -> tuple[str, tuple[Sort, Item]]:
        return _extern_name(reader), self._sorted_item(frame, reader)

    def _sorted_item(self, frame: Frame, reader: Reader) -> tuple[Sort, Item]:
        sort = _sort(reader.byte())
        return sort, frame.item(sort, reader.number())

    def alias(self, frame: Frame, reader: Reader) -> None:
        """Section 6: an export of an instance, or a definition of an enclosing component."""
        sort, core_sort = reader.byte(), None
        if sort == CORE:
            core_sort = reader.byte()
        match reader.byte():
            case 0x00:
                instance, name = frame.item(Sort.INSTANCE, reader.number()), reader.name()
                frame.items[_sort(sort)].append(_exported(instance, _sort(sort), name))
            case 0x01:
                self._core_alias(frame, _core_kind(core_sort), reader)
            case 0x02:
                frame.items[_sort(sort)].append(
                    _outer(frame, reader.number()).item(_sort(sort), reader.number())
                )
            case other:
                raise UnsupportedComponent(f"it has an alias of the unknown kind {other}")

    def _core_alias(self, frame: Frame, kind: Kind, reader: Reader) -> None:
        instance, name = at(frame.core_instances, reader.number()), reader.name()
        found = instance.get(name)
        if found is None or found[0] != kind:
            raise UnsupportedComponent(f"it refers to the export {name!r} of a module that lacks it")
        frame.core[kind].append(found[1])

    def canon(self, frame: Frame, reader: Reader) -> None:
        """Section 8: lifted and lowered functions, and resource drops."""
        match reader.byte():
            case 0x00:
                _one_of((0x00,), reader)
                self._lift(frame, reader)
            case 0x01:
                _one_of((0x00,), reader)
                self._lower(frame, reader)
            case (0x02 | 0x03 | 0x04) as kind:
                resource = frame.item(Sort.TYPE, reader.number())
                frame.core[Kind.FUNCTION].append(self._handle_function(frame, kind, resource))
            case other:
                raise UnsupportedComponent(f"it uses the built-in function {other:#x}")

    def _handle_function(self, frame: Frame, kind: int, resource: Item) -> Source:
        if isinstance(resource, OwnType):
            if kind == 0x03:
                return self._own.dropped(resource, frame)
            if resource.frame is frame:
                return self._own.function(resource, frame, _HANDLE_ACTIONS[kind])
        elif isinstance(resource, ImportedType) and kind == 0x03:
            self._calls_host(frame)
            return self.linking.dropped(resource)
        raise UnsupportedComponent("it uses handles of a resource that is neither imported nor its own")

    def _calls_host(self, frame: Frame) -> None:
        """Check that only one component calls the host: another would have its own handles and memory."""
        if self.caller not in (None, frame):
            raise UnsupportedComponent("several nested components call the host")
        self.caller = frame

    def _lift(self, frame: Frame, reader: Reader) -> None:
        function = at(frame.core[Kind.FUNCTION], reader.number())
        options = self._options(frame, reader)
        frame.item(Sort.TYPE, reader.number())
        if not isinstance(function, Export):
            raise UnsupportedComponent("it exports an imported function")
        frame.items[Sort.FUNCTION].append(LiftedFunction(function, options, frame))

    def _lower(self, frame: Frame, reader: Reader) -> None:
        function = frame.item(Sort.FUNCTION, reader.number())
        options = self._options(frame, reader)
        frame.core[Kind.FUNCTION].append(self._lowered(frame, function, options))

    def _lowered(self, frame: Frame, function: Item, options: Options) -> Source:
        if isinstance(function, ImportedFunction):
            self._calls_host(frame)
            return self.linking.lowered(function, options)
        if not isinstance(function, LiftedFunction) or function.frame is frame:
            raise UnsupportedComponent("it lowers a function of its own")
        if not self.linking.only_traps(function.function):
            raise UnsupportedComponent("a nested component calls another whose code does more than trap")
        return self.linking.trapping()

    def _options(self, frame: Frame, reader: Reader) -> Options:
        """The options of one function."""
        memory = realloc = None
        for _ in range(self._counted(reader)):
            match reader.byte():
                case 0x00:
                    pass  # UTF-8
                case 0x03:
                    memory = at(frame.core[Kind.MEMORY], reader.number())
                case 0x04:
                    realloc = at(frame.core[Kind.FUNCTION], reader.number())
                case 0x05:  # post-return: the guest ends then anyway
                    at(frame.core[Kind.FUNCTION], reader.number())
                case other:
                    raise UnsupportedComponent(f"it lifts or lowers with the option {other:#x}")
        return Options(memory, realloc)

    def import_(self, frame: Frame, reader: Reader) -> None:
        """Section 10: imports from the host, or from the enclosing component."""
        name = _extern_name(reader)
        sort, bound = _description(frame, reader)
        if frame.outer is not None:
            given = frame.arguments.get(name)
            if given is None or given[0] != sort:
                raise UnsupportedComponent(f"a nested component imports {name!r}, which it is not given")
            frame.items[sort].append(given[1])
        elif sort is Sort.INSTANCE:
            frame.items[sort].append(ImportedInstance(name))
        elif bound is not None:
            frame.items[sort].append(bound)
        else:
            raise UnsupportedComponent(f"it imports {name!r}, which is not an interface")

    def export(self, frame: Frame, reader: Reader) -> None:
        """Section 11: exports, each of which also is a new definition."""
        name = _extern_name(reader)
        sort, item = self._sorted_item(frame, reader)
        if _one_of((0x00, 0x01), reader):
            described, bound = _description(frame, reader)
            if described != sort or sort in (Sort.INSTANCE, Sort.COMPONENT):
                raise UnsupportedComponent(f"it exports {name!r} with less than it has")
            if sort is Sort.TYPE and bound is None and not isinstance(item, OwnType):
                item = OtherType()  # an abstract type to others
        frame.items[sort].append(item)
        frame.exports[name] = sort, item


_HANDLE_ACTIONS: Final = {0x02: HandleAction.NEW, 0x04: HandleAction.REP}
_WHOLE: Final[Mapping[int, Callable[[_Evaluator, Frame, Section], None]]] = {
    0: _Evaluator.custom,
    1: _Evaluator.core_module,
    4: _Evaluator.nested,
    7: _Evaluator.types,
}
_VECTORS: Final[Mapping[int, Callable[[_Evaluator, Frame, Reader], None]]] = {
    2: _Evaluator.core_instance,
    5: _Evaluator.instance,
    6: _Evaluator.alias,
    8: _Evaluator.canon,
    10: _Evaluator.import_,
    11: _Evaluator.export,
}


def _exported(instance: Item, sort: Sort, name: str) -> Item:
    """An export of an instance."""
    if isinstance(instance, ImportedInstance) and sort is Sort.FUNCTION:
        return ImportedFunction(instance.interface, name)
    if isinstance(instance, ImportedInstance) and sort is Sort.TYPE:
        return ImportedType(instance.interface, name)
    found = instance.exports.get(name) if isinstance(instance, Instance) else None
    if found is None or found[0] != sort:
        raise UnsupportedComponent(f"it refers to the export {name!r} of an instance that lacks it")
    return found[1]


def _outer(frame: Frame, levels: int) -> Frame:
    """The component that many levels further out."""
    if levels > MAX_DEPTH:
        raise UnsupportedComponent("it refers to an enclosing component that does not exist")
    around: Frame | None = frame
    for _ in range(levels):
        around = None if around is None else around.outer
    if around is None:
        raise UnsupportedComponent("it refers to an enclosing component that does not exist")
    return around


def _description(frame: Frame, reader: Reader) -> tuple[Sort, Item | None]:
    """The sort of an import or export; of a type, also the type that it equals."""
    match reader.byte():
        case 0x03:
            if _one_of((0x00, 0x01), reader):
                return Sort.TYPE, None
            return Sort.TYPE, frame.item(Sort.TYPE, reader.number())
        case (0x01 | 0x04 | 0x05) as kind:
            frame.item(Sort.TYPE, reader.number())
            return Sort(kind), None
        case other:
            raise UnsupportedComponent(f"it imports or exports something of the kind {other:#x}")


def _extern_name(reader: Reader) -> str:
    _one_of((0x00, 0x01), reader)
    return reader.name()


def _sort(value: int) -> Sort:
    if value not in (1, 3, 4, 5):
        raise UnsupportedComponent(f"it has a definition of the sort {value}")
    return Sort(value)


def _core_kind(value: int | None) -> Kind:
    if value not in (0, 1, 2, 3):
        raise UnsupportedComponent(f"it has a core definition of the sort {value}")
    return Kind(value)


def _one_of(known: tuple[int, ...], reader: Reader) -> int:
    value = reader.byte()
    if value not in known:
        raise UnsupportedComponent(f"it has {value:#x} where one of {known} is known")
    return value
