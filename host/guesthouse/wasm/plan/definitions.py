"""What the definitions of a component stand for while the planner goes through them.

Nothing here exists yet: a core function is "what the third instance exports as `run`", a function "what
the component imports as `receive`". Each definition adds a value to an *index space*, by whose numbers later
definitions speak of it.
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
    """The index spaces of a component's own definitions, numbered as in the binary format."""

    FUNCTION = 1
    TYPE = 3
    COMPONENT = 4
    INSTANCE = 5


CORE: Final = 0
"""In the place of a `Sort`: a core sort follows."""
CORE_MODULE, CORE_INSTANCE = 0x11, 0x12
"""Core sorts beside those of `Kind`."""


class ImportedFunction(Struct, frozen=True):
    """A function of an interface that the component imports."""

    interface: str
    name: str


class Options(Struct, frozen=True):
    """How a function is lifted or lowered: the memory that values cross through, and its allocator."""

    memory: Source | None
    realloc: Source | None


class LiftedFunction(Struct, frozen=True):
    """A function made of a core function."""

    function: Export
    options: Options
    frame: Frame
    """The component whose function it is."""


class ImportedType(Struct, frozen=True):
    """A type of an interface that the component imports. It may be a resource."""

    interface: str
    name: str


class OwnType(Struct, frozen=True, eq=False):
    """A type that a component defines, whatever it is. A resource is another one in each instance of its component."""

    section: Section
    """Where it stands."""
    number: int
    """Among the types of that section."""
    frame: Frame


class OtherType(Struct, frozen=True):
    """Any other type. The planner does not ask what it is."""


class ImportedInstance(Struct, frozen=True):
    """An interface that the component imports."""

    interface: str


class Instance(Struct, frozen=True):
    """An instance that consists of what it exports: sorts and values by name."""

    exports: Mapping[str, tuple[Sort, Item]]


class NestedComponent(Struct, frozen=True):
    """A component inside: where it stands, and what surrounds its definition."""

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
    """In `Plan.instantiations`."""
    exports: Mapping[str, Kind]

    def get(self, name: str) -> tuple[Kind, Source] | None:
        """What it exports by a name."""
        kind = self.exports.get(name)
        return None if kind is None else (kind, Export(self.number, name))


_T = TypeVar("_T")


class Frame(Struct, eq=False):
    """The index spaces of one component, and the component around it."""

    outer: Frame | None
    depth: int
    arguments: Mapping[str, tuple[Sort, Item]]
    """What it is instantiated with; of the outermost component nothing, as the host gives it what it asks for."""
    items: Mapping[Sort, list[Item]] = field(default_factory=lambda: {sort: [] for sort in Sort})
    core: Mapping[Kind, list[Source]] = field(default_factory=lambda: {kind: [] for kind in Kind})
    modules: list[int] = field(default_factory=list)
    core_instances: list[CoreInstance | CoreBag] = field(default_factory=list)
    exports: dict[str, tuple[Sort, Item]] = field(default_factory=dict)

    def item(self, sort: Sort, index: int) -> Item:
        """One of its own definitions."""
        return at(self.items[sort], index)


def at(space: list[_T], index: int) -> _T:
    """What has that number in an index space.

    Raises:
        UnsupportedComponent: nothing has.
    """
    if index >= len(space):
        raise UnsupportedComponent(f"it speaks of the definition {index}, but there are {len(space)}")
    return space[index]
