"""A plan: how a worker instantiates a component from its core modules.

A component is a program for a linker: it instantiates core modules one after the other, gives each what it
imports from those before it, and says how the functions of interfaces are lowered to core functions and
lifted from them (the component model's `canon` definitions). A plan is that program with all names resolved,
so that a worker needs nothing else.

Frequent parts are tuples: a Python guest has two thousand, created and looked up at each load. Those
that may occur in the same place, a `CallOf` and an `Export`, or two kinds of `Call`, differ in length or types, and so
are never equal.
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

MAX_MODULES: Final = 131
"""Of a component, its gate, its batch, and the module that calls destructors."""
MAX_MEMORIES: Final = 3
"""Of all instances together: tools for JavaScript make three. One can grow; each reserves 4 GiB of address space and
takes some of the 65,530 mappings of its worker.
"""
MAX_WITH_PAGES: Final = 2
"""Those that begin with pages, which take more mappings."""
MAX_OWN_RESOURCES: Final = 256
"""Resource types of a component and its nested ones."""


class Export(NamedTuple):
    """An export of a core instance."""

    instance: int
    """Index in `Plan.instantiations`."""
    name: str


class Lowered(NamedTuple):
    """An imported function, lowered to a core function (`canon lower`)."""

    interface: str
    name: str
    realloc: int | None = None
    """Index in `Plan.reallocs` of the allocator for its result."""


class Dropped(NamedTuple):
    """A core function that drops a handle of a host resource (`canon resource.drop`)."""

    interface: str
    name: str
    """Of the resource."""


class HandleAction(StrEnum):
    """Operations on handles of a guest's own resources."""

    NEW = "new"
    """Create one, with a representation (`canon resource.new`)."""
    REP = "rep"
    """Get its representation (`canon resource.rep`)."""
    TAKE = "take"
    """Drop it and get its representation, for a destructor."""
    DROP = "drop"
    """Drop it, if the resource has no destructor (`canon resource.drop`)."""


class OwnHandle(NamedTuple):
    """A core function for handles of a component's own resource."""

    resource: int
    """Number among the resources of the component and its nested ones."""
    action: HandleAction


class Trapping(NamedTuple):
    """A core function of the gate that traps: a call of a nested component whose code only traps."""

    signature: CoreSignature


class Checking(NamedTuple):
    """The gate's function that traps while the guest's allocator runs in a host call.

    It comes before each call that may block: the engine itself would panic there, outside of a fiber.
    """


Call: TypeAlias = Lowered | Dropped | OwnHandle | Trapping | Checking


class CallOf(NamedTuple):
    """A core function of the host, or of the gate."""

    number: int
    """Index in `Plan.calls`."""


Source: TypeAlias = CallOf | Export


def unchecked(number: int) -> str:
    """The gate's export for a lowered function that never blocks; under its number alone the function is checked."""
    return f"{number} unchecked"


class Instantiation(Struct, frozen=True):
    """The instantiation of a core module."""

    module: int
    """Index of the core module."""
    imports: tuple[Source, ...]
    """In the order of the module's import section."""
    start: str | None = None
    """An exported function to call afterwards, in place of the module's start section."""


class Lifted(Struct, frozen=True):
    """An exported function of the component (`canon lift`)."""

    interface: str | None
    """The exported interface; None for a function of the component itself."""
    name: str
    function: Export
    type: FunctionType
    realloc: int | None = None


class Import(NamedTuple):
    """A function of an imported interface."""

    interface: str
    name: str
    type: FunctionType


ANSWERED: Final = (
    ("guesthouse:process/messaging", "receive"),
    ("guesthouse:process/messaging", "get-blob"),
    ("guesthouse:process/messaging", "get-blob-text"),
    ("guesthouse:process/messaging", "receive-ws-push"),
    ("guesthouse:process/http-server", "send-ws-text"),
    ("guesthouse:process/http-server", "send-ws-push"),
)
"""The host calls that a batch answers (`batch_module.py`), whatever the interface's version."""


class BatchModule(Struct, frozen=True):
    """The module that answers some host calls itself (`batch_module.py`)."""

    module: int
    """Index of the core module, of which the plan has no instance."""
    realloc: int
    """Index in `Plan.reallocs` of the allocator for its results."""
    answered: tuple[int | None, ...]
    """Index in `Plan.calls` of each call of `ANSWERED`, if it answers it."""


class Plan(Struct, frozen=True):
    """All that a worker needs besides the compiled core modules."""

    modules: int
    """The number of core modules."""
    small: bool
    """Whether they are compiled for the engine of small components."""
    instantiations: tuple[Instantiation, ...]
    calls: tuple[Call, ...]
    memory: Export | None
    """The memory that values are lowered to and lifted from."""
    reallocs: tuple[Export, ...]
    functions: tuple[Import, ...]
    """All imported functions, used or not."""
    resources: tuple[tuple[str, str], ...]
    """All imported resources: interface and name."""
    exports: tuple[Lifted, ...]
    weights: tuple[Weight, ...] = ()
    """The cost of an instance of each module, in the order of the modules."""
    memories: int = 1
    """The number of its memories, at least 1."""
    needs: Needs = NO_NEEDS
    """Its initial memory and tables; `total_needs` adds the rest of its instances."""

    batch: BatchModule | None = None

    def total_needs(self) -> Needs:
        """What a guest needs initially."""
        besides = sum(self.weights[each.module].bytes for each in self.instantiations) if self.weights else 0
        return replace(self.needs, other_bytes=besides)

    def used_exports(self) -> list[set[str]]:
        """The names of the exports that it uses, by module."""
        used: list[set[str]] = [set() for _ in range(self.modules)]
        exports = [lifted.function for lifted in self.exports]
        exports += self.reallocs
        if self.memory is not None:
            exports.append(self.memory)
        for each in self.instantiations:
            exports += [source for source in each.imports if isinstance(source, Export)]
            if each.start is not None:
                used[each.module].add(each.start)
        for export in exports:
            used[self.instantiations[export.instance].module].add(export.name)
        return used
