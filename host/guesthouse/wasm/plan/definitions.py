"""Values of a component's definitions while the planner evaluates them.

They are symbolic: a core function is "the export `run` of the third instance", a function "the
import `receive`". Each definition adds a value to an *index space*, by whose indices later
definitions refer to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final, TypeAlias, TypeVar

from msgspec import Struct, field

from guesthouse.wasm.binary.byte_reader import Section, UnsupportedComponent
from guesthouse.wasm.binary.core_module import Kind
from guesthouse.wasm.plan.plan import Export, Source


class Sort(IntEnum):
    """Index spaces of a component's own definitions, numbered as in the binary format."""

    FUNCTION = 1
    TYPE = 3
    COMPONENT = 4
    INSTANCE = 5


CORE: Final = 0
"""In place of a `Sort`: a core sort follows."""
CORE_MODULE, CORE_INSTANCE = 0x11, 0x12
"""Core sorts besides those of `Kind`."""


class ImportedFunction(Struct, frozen=True):
    """A function of an imported interface."""

    interface: str
    name: str


class Options(Struct, frozen=True):
    """Options of lifting or lowering a function: its memory and allocator."""

    memory: Source | None
    realloc: Source | None


class LiftedFunction(Struct, frozen=True):
    """A function lifted from a core function."""

    function: Export
    options: Options
    frame: Frame
    """The component that it belongs to."""


class ImportedType(Struct, frozen=True):
    """A type of an imported interface, maybe a resource."""

    interface: str
    name: str


class OwnType(Struct, frozen=True, eq=False):
    """A type that a component defines. A resource is distinct in each instance of its component."""

    section: Section
    """Its section."""
    number: int
    """Index in the section."""
    frame: Frame


class OtherType(Struct, frozen=True):
    """Any other type, whose content does not matter."""


class ImportedInstance(Struct, frozen=True):
    """An interface that the component imports."""

    interface: str


class Instance(Struct, frozen=True):
    """An instance, as its exports: sorts and values by name."""

    exports: Mapping[str, tuple[Sort, Item]]


class NestedComponent(Struct, frozen=True):
    """A nested component: its position, and the frame of its definition."""

    start: int
    end: int
    outer: Frame


Item: TypeAlias = (
    ImportedFunction
    | LiftedFunction
    | ImportedType
    | OwnType
    | OtherType
    | ImportedInstance
    | Instance
    | NestedComponent
)

CoreBag: TypeAlias = Mapping[str, tuple[Kind, Source]]


class CoreInstance(Struct, frozen=True):
    """An instance of a core module."""

    number: int
    """Index in `Plan.instantiations`."""
    exports: Mapping[str, Kind]

    def get(self, name: str) -> tuple[Kind, Source] | None:
        """An export by name."""
        kind = self.exports.get(name)
        return None if kind is None else (kind, Export(self.number, name))


_T = TypeVar("_T")


class Frame(Struct, eq=False):
    """The index spaces of one component, and the enclosing component."""

    outer: Frame | None
    depth: int
    arguments: Mapping[str, tuple[Sort, Item]]
    """The arguments of its instantiation; empty for the outermost component, whose imports the host provides."""
    items: Mapping[Sort, list[Item]] = field(default_factory=lambda: {sort: [] for sort in Sort})
    core: Mapping[Kind, list[Source]] = field(default_factory=lambda: {kind: [] for kind in Kind})
    modules: list[int] = field(default_factory=list)
    core_instances: list[CoreInstance | CoreBag] = field(default_factory=list)
    exports: dict[str, tuple[Sort, Item]] = field(default_factory=dict)

    def item(self, sort: Sort, index: int) -> Item:
        """One of its own definitions."""
        return at(self.items[sort], index)


def at(space: list[_T], index: int) -> _T:
    """The value of an index in an index space.

    Raises:
        UnsupportedComponent: the index is out of range.
    """
    if index >= len(space):
        raise UnsupportedComponent(f"it refers to the definition {index} of {len(space)}")
    return space[index]
