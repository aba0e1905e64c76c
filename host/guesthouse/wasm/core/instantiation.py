"""What a fiber needs to know of its component: how its core modules are instantiated, and what runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

from guesthouse.wasm.abi.memory import LinearMemory
from guesthouse.wasm.core.import_table import Imports, ImportScratch
from guesthouse.wasm.engine.owned import Native
from guesthouse.wasm.plan.needs import Needs


class Step(Struct, frozen=True):
    """One instantiation."""

    module: int
    """The address of the compiled module."""
    imports: Imports
    memory: bytes | None
    """The export name of the guest's memory, if it is in this module."""
    start: bytes | None
    """The exported start function."""
    microseconds: int = 0
    """Estimated time."""


class EntryPoint(Struct, frozen=True):
    """The function that runs the process."""

    instance: int
    name: bytes
    realloc: int | None


class BatchSource(Struct, frozen=True):
    """The module that answers a component's frequent calls in batches (`plan/batch_module.py`), and its allocator."""

    module: int
    """The address of the compiled module."""
    instance: int
    realloc: bytes


class Instantiable(Protocol):
    """A component whose core modules are linked. Lives as long as any of its fibers."""

    engine: Native
    run: EntryPoint
    steps: Sequence[Step]
    """Its instantiations, in order."""
    needs: Needs
    memories: int
    """The number of memories of all instances."""
    reallocs: list[tuple[int, bytes]]
    """Its allocators by their numbers in the plan: instance and export name."""
    answering: BatchSource | None

    def take_scratch(self) -> ImportScratch:
        """Scratch for an instantiation, to be returned by `give_scratch`."""

    def give_scratch(self, scratch: ImportScratch) -> None:
        """Return scratch."""

    def lower_run_arguments(self, arguments: tuple[Any, ...], memory: LinearMemory) -> list[tuple[str, int]]:
        """The arguments of the run function as core values: type and bits.

        Raises:
            ConversionError: the component's run function takes other parameters.
        """
