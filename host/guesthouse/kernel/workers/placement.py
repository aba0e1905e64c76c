"""Which workers there are, and whose guests each may run: decided here, done in `pool.py`.

With isolation `shared` a node has a fixed number of workers, and every one may run any process. With
`package` a worker belongs to the first package that it runs a process of. No other package's guests
ever run on it, neither beside that package's nor after them: when the last process of the package is
gone, the worker is ended. So there are as many workers as packages with processes, up to a limit.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct, field

from guesthouse.core.errors import GuesthouseError


class Isolation(StrEnum):
    """Whose guests may be in one worker."""

    SHARED = "shared"
    PACKAGE = "package"


SPARES: Final = 1
"""Workers that a node with isolation by package starts with, before it has a package."""


class NoWorkerLeft(GuesthouseError):
    """A package needs a worker of its own, and there are as many workers as there may be."""


class _Seat(Struct):
    """One worker by its name, whether its subprocess lives at this moment or is being replaced."""

    owner: str | None = None
    """The package whose guests alone it runs; None while it has run nobody's."""
    processes: int = 0
    """Processes of that package, running or waiting to."""


class Placement(Struct):
    """The workers of a node. `package` is always `package:publisher`.

    Args:
        isolation: who may share a worker.
        count: workers to start with, when they are shared.
        most: how many there may be, when they are not.
    """

    isolation: Isolation
    count: int
    most: int
    _seats: dict[str, _Seat] = field(default_factory=dict)
    _owned: dict[str, str] = field(default_factory=dict)
    """The worker of each package that has one."""
    _named: int = 0

    def __post_init__(self) -> None:
        for _ in range(self.count if self.isolation is Isolation.SHARED else SPARES):
            self._new_seat()

    @property
    def names(self) -> tuple[str, ...]:
        """The workers that there are to be."""
        return tuple(self._seats)

    def owner(self, name: str) -> str | None:
        """The package that a worker belongs to; None when it is shared, or nobody's yet."""
        seat = self._seats.get(name)
        return None if seat is None else seat.owner

    def may_run(self, name: str, package: str) -> bool:
        """Whether a worker may run a package's processes."""
        if self.isolation is Isolation.SHARED:
            return name in self._seats
        return self._owned.get(package) == name

    def enter(self, package: str) -> str | None:
        """A process of a package begins its life. Returns the worker to start for it, if one is needed.

        Raises:
            NoWorkerLeft: it needs one, and there are as many as there may be.
        """
        if self.isolation is Isolation.SHARED:
            return None
        name = self._owned.get(package)
        if name is not None:
            self._seats[name].processes += 1
            return None
        spare = next((name for name, seat in self._seats.items() if seat.owner is None), None)
        if spare is None and len(self._seats) >= self.most:
            raise NoWorkerLeft(
                f"{package} needs a worker of its own, and all {self.most} belong to other packages: "
                "raise most_workers in guesthouse.toml, or uninstall a package"
            )
        name = self._new_seat() if spare is None else spare
        self._owned[package] = name
        self._seats[name] = _Seat(package, 1)
        return name if spare is None else None

    def leave(self, package: str) -> str | None:
        """A process that entered is gone. Returns the worker to end, when it was its package's last."""
        name = self._owned.get(package)
        if name is None:
            return None
        seat = self._seats[name]
        seat.processes -= 1
        if seat.processes:
            return None
        del self._owned[package], self._seats[name]
        return name

    def _new_seat(self) -> str:
        name = f"worker-{self._named}"
        self._named += 1
        self._seats[name] = _Seat()
        return name
