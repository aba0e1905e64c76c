"""Assigns packages to workers. Pure; `pool.py` starts and stops the workers.

With isolation `shared` there is a fixed number of workers, and each may run any process. With `package` a worker
belongs to the first package that it runs a process of; it never runs guests of another package, and is stopped after
the last process of its package. So there are as many workers as packages with processes, up to a limit.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct, field

from guesthouse.core.errors import GuesthouseError


class Isolation(StrEnum):
    """Whose guests may share a worker."""

    SHARED = "shared"
    PACKAGE = "package"


SPARES: Final = 1
"""Workers that a node with isolation `package` starts in advance."""


class NoWorkerLeft(GuesthouseError):
    """A package needs a worker of its own, and the limit is reached."""


class _Slot(Struct):
    """A worker, running or being replaced."""

    owner: str | None = None
    """The only package it runs; None if none yet."""
    processes: int = 0
    """Processes of that package, running or waiting."""


class Placement(Struct):
    """The workers of a node. Packages are named `package:publisher`.

    Args:
        isolation: whose guests may share a worker.
        count: number of workers with isolation `shared`.
        most: maximum workers with isolation `package`.
    """

    isolation: Isolation
    count: int
    most: int
    _slots: dict[str, _Slot] = field(default_factory=dict)
    _owned: dict[str, str] = field(default_factory=dict)
    """Workers by package."""
    _named: int = 0

    def __post_init__(self) -> None:
        for _ in range(self.count if self.isolation is Isolation.SHARED else SPARES):
            self._new_slot()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the workers that should run."""
        return tuple(self._slots)

    def owner(self, name: str) -> str | None:
        """The package that a worker belongs to, or None."""
        slot = self._slots.get(name)
        return None if slot is None else slot.owner

    def may_run(self, name: str, package: str) -> bool:
        """Whether a worker may run a package's processes."""
        if self.isolation is Isolation.SHARED:
            return name in self._slots
        return self._owned.get(package) == name

    def enter(self, package: str) -> str | None:
        """Count a new process of a package. Returns the worker to start for it, if one is needed.

        Raises:
            NoWorkerLeft: it needs one, and the limit is reached.
        """
        if self.isolation is Isolation.SHARED:
            return None
        name = self._owned.get(package)
        if name is not None:
            self._slots[name].processes += 1
            return None
        spare = next((name for name, slot in self._slots.items() if slot.owner is None), None)
        if spare is None and len(self._slots) >= self.most:
            raise NoWorkerLeft(
                f"{package} needs a worker of its own, and all {self.most} belong to other packages: "
                "raise most_workers in guesthouse.toml, or uninstall a package"
            )
        name = self._new_slot() if spare is None else spare
        self._owned[package] = name
        self._slots[name] = _Slot(package, 1)
        return name if spare is None else None

    def leave(self, package: str) -> str | None:
        """Uncount a process that is gone. Returns the worker to stop, if it was its package's last."""
        name = self._owned.get(package)
        if name is None:
            return None
        slot = self._slots[name]
        slot.processes -= 1
        if slot.processes:
            return None
        del self._owned[package], self._slots[name]
        return name

    def _new_slot(self) -> str:
        name = f"worker-{self._named}"
        self._named += 1
        self._slots[name] = _Slot()
        return name
