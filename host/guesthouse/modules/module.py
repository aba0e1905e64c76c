"""What a runtime module is made of, and what it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Final, Self

from msgspec import Struct

from guesthouse.core.address import ProcessId
from guesthouse.core.config import ProcessLimits
from guesthouse.kernel.messaging.modules import ModuleRequest
from guesthouse.kernel.storage.database import State
from guesthouse.kernel.storage.tables import Table

OK: Final = b'"Ok"'
"""The answer of what has nothing else to say."""

Tell = Callable[[ProcessId, bytes], bool]
"""Sends a process a request; returns False when it cannot take one now."""


class ModuleContext(Struct, frozen=True):
    """What a node gives its modules."""

    state: State
    limits: ProcessLimits
    folder_of: Callable[[str], Path | None]
    """The folder of a package's files by its id; None when it has none."""
    tell: Tell


class RuntimeModule(ABC):
    """A runtime module, which implements `kernel.modules.Module`. It is made known in `modules/registry.py`."""

    id: ClassVar[ProcessId]
    tables: ClassVar[tuple[Table, ...]] = ()
    """Where it keeps what it keeps. They are made, and purged with a package, without its doing."""

    @classmethod
    @abstractmethod
    def make(cls, context: ModuleContext) -> Self:
        """One for a node that starts."""

    async def load(self) -> None:  # noqa: B027 - most have nothing to do
        """Take up what earlier lives of the node left.

        Raises:
            StateError: it cannot be read.
        """

    @abstractmethod
    def request(self, request: ModuleRequest) -> None:
        """See `Module`."""

    def forget(self, process: ProcessId) -> None:  # noqa: B027 - most have nothing to do
        """Drop what it has in memory of a process that nobody can name again."""

    def forget_package(self, package: str) -> None:  # noqa: B027 - most have nothing to do
        """Drop what it has in memory of a package whose tables were purged."""

    def close(self) -> None:  # noqa: B027 - most have nothing to do
        """Do nothing more."""
