"""Base class of runtime modules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Final, Self

from msgspec import Struct

from guesthouse.core.address import ProcessId
from guesthouse.core.config import ProcessLimits
from guesthouse.core.json_forms import error
from guesthouse.core.timing.clock import Clock
from guesthouse.kernel.messaging.modules import ModuleRequest
from guesthouse.kernel.storage.database import State
from guesthouse.kernel.storage.tables import Table

OK: Final = b'"Ok"'
"""Response without a value."""

Tell = Callable[[ProcessId, bytes], bool]
"""Sends a request to a process; returns False when that is not possible now."""


class ModuleContext(Struct, frozen=True):
    """What a node passes to its modules."""

    state: State
    limits: ProcessLimits
    folder_of: Callable[[str], Path | None]
    """Returns the folder of an installed package by its id, or None."""
    tell: Tell
    clock: Clock


class RuntimeModule(ABC):
    """A runtime module; implements `kernel.messaging.modules.Module`. To be listed in `modules/registry.py`."""

    id: ClassVar[ProcessId]
    tables: ClassVar[tuple[Table, ...]] = ()
    """Its tables, which the node creates, and purges with a package."""

    @classmethod
    @abstractmethod
    def make(cls, context: ModuleContext) -> Self:
        """Make the module of a node."""

    async def load(self) -> None:  # noqa: B027 - most have nothing to do
        """Take up what earlier lives of the node left.

        Raises:
            StateError: it cannot be read.
        """

    @abstractmethod
    def request(self, request: ModuleRequest) -> None:
        """See `Module`."""

    def go_on(self, request: ModuleRequest, waited_seconds: float) -> None:
        """See `Module`. Nearly all are carried out before a node hands over, so here nothing is known of it."""
        request.answer(error("Failed"), None)

    def forget(self, process: ProcessId) -> None:  # noqa: B027 - most have nothing to do
        """Drop what is in memory of a process with a generated name, which will not be used again."""

    def forget_package(self, package: str) -> None:  # noqa: B027 - most have nothing to do
        """Drop what is in memory of a package whose tables were purged."""

    def close(self) -> None:  # noqa: B027 - most have nothing to do
        """Stop the module."""
