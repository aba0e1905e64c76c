"""How a component is put together from its core modules: what a worker does to bring one to life.

A component is a program for a linker: it instantiates core modules one after the other, gives each what it
imports from those before it, and says how the functions of interfaces are lowered to core functions and
lifted from them (the component model's `canon` definitions). A plan is that program with all names resolved,
so that a worker follows it without looking at the component.

What there is much of is a tuple, as a Python guest has two thousand, made and looked up each time it is loaded. Those
that stand for one another, a `CallOf` and an `Export`, or two kinds of `Call`, differ in length or types and so are
never equal.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from guesthouse.wasm.abi.layout import CoreSignature
from guesthouse.wasm.plan.needs import NO_NEEDS, Needs
from guesthouse.wasm.plan.weight import Weight
from guesthouse.wasm.types import FunctionType

MAX_MODULES: Final = 130
"""Of a component, its gate, and the module that calls destructors."""
MAX_MEMORIES: Final = 4
"""Of all instances together. One can grow; each reserves 4 GiB of addresses."""
MAX_OWN_RESOURCES: Final = 256
"""Resource types that a component and those within it define."""


class Export(NamedTuple):
    """What a core instance exports, once it exists."""

    instance: int
    """Its number in `Plan.instantiations`."""
    name: str


class Lowered(NamedTuple):
    """A core function that is an imported function, lowered (`canon lower`)."""

    interface: str
    name: str
    realloc: int | None = None
    """The number in `Plan.reallocs` of what allocates room for its result in the guest's memory."""


class Dropped(NamedTuple):
    """A core function that drops a handle of a resource of the host (`canon resource.drop`)."""

    interface: str
    name: str
    """Of the resource."""


class HandleAction(StrEnum):
    """What a guest does with the handles of its own resources."""

    NEW = "new"
    """Make one, of a number that is the guest's own business (`canon resource.new`)."""
    REP = "rep"
    """Ask for that number (`canon resource.rep`)."""
    TAKE = "take"
    """Drop a handle and get its number, for a destructor."""
    DROP = "drop"
    """Drop a handle of a resource without destructor (`canon resource.drop`)."""


class OwnHandle(NamedTuple):
    """A core function for the handles of a resource that a component defines itself."""

    resource: int
    """Its number among those of the component and the components within it."""
    action: HandleAction


class Trapping(NamedTuple):
    """A core function of the gate's that traps: a call to a component within whose code does nothing else."""

    signature: CoreSignature


Call: TypeAlias = Lowered | Dropped | OwnHandle | Trapping


class CallOf(NamedTuple):
    """A core function of the host, or of the gate."""

    number: int
    """In `Plan.calls`."""


Source: TypeAlias = CallOf | Export


class Instantiation(Struct, frozen=True):
    """One core module gets an instance."""

    module: int
    """Its number among the core modules of the plan."""
    imports: tuple[Source, ...]
    """In the order of the module's import section."""
    start: str | None = None
    """An exported function to call at once, in place of the module's start section."""


class Lifted(Struct, frozen=True):
    """A function that the component exports (`canon lift`)."""

    interface: str | None
    """Of the instance that it is exported in; None for a function of the component itself."""
    name: str
    function: Export
    type: FunctionType
    realloc: int | None = None


class Import(NamedTuple):
    """A function that the component imports from an interface."""

    interface: str
    name: str
    type: FunctionType


class Plan(Struct, frozen=True):
    """All that a worker needs beside the compiled core modules."""

    modules: int
    """How many there are."""
    small: bool
    """Whether they are compiled for the engine of small components."""
    instantiations: tuple[Instantiation, ...]
    calls: tuple[Call, ...]
    memory: Export | None
    """The one memory that values are lowered to and lifted from."""
    reallocs: tuple[Export, ...]
    functions: tuple[Import, ...]
    """All imported functions, whether a module uses them or not."""
    resources: tuple[tuple[str, str], ...]
    """All imported resources: interface and name."""
    exports: tuple[Lifted, ...]
    weights: tuple[Weight, ...] = ()
    """What an instance of each module takes, in the order of the modules."""
    memories: int = 1
    """How many its instances have, or one if they have none."""
    needs: Needs = NO_NEEDS
    """What its memory and tables take; `total_needs` has what its instances take besides."""

    def total_needs(self) -> Needs:
        """What a guest takes from the start."""
        besides = sum(self.weights[each.module].bytes for each in self.instantiations) if self.weights else 0
        return replace(self.needs, other_bytes=besides)
