"""The handles of the host's resources that a guest holds: what it passes is an index into its own table."""

from __future__ import annotations

from typing import Final

from guesthouse.link.ops import ExitCause
from guesthouse.worker.boundary.errors import GuestTrap
from guesthouse.worker.boundary.fiber import Running

_LARGEST: Final = 2**28 - 1
"""The canonical ABI's bound of an index."""


class Handles:
    """One guest's. An index is never used twice, so a stale one finds nothing."""

    __slots__ = ("_held", "_next")

    def __init__(self) -> None:
        self._held: dict[int, tuple[int, int]] = {}
        self._next = 1

    def add(self, type_number: int, number: int) -> int:
        """Give it a handle of a resource; returns its index.

        Raises:
            GuestTrap: it was given as many as there are.
        """
        index = self._next
        if index > _LARGEST:
            raise GuestTrap(
                ExitCause.TRAP, f"it was given {_LARGEST} handles of resources, and there are no more"
            )
        self._next += 1
        self._held[index] = type_number, number
        return index

    def get(self, type_number: int, index: int) -> tuple[int, int]:
        """The resource of a handle: type and number.

        Raises:
            GuestTrap: it holds no such handle.
        """
        held = self._held.get(index)
        if held is None or held[0] != type_number:
            raise GuestTrap(
                ExitCause.TRAP, f"it passed the handle {index}, which it does not hold (unknown handle)"
            )
        return held

    def take(self, type_number: int, index: int) -> tuple[int, int]:
        """`get`, and the guest holds it no more."""
        held = self.get(type_number, index)
        del self._held[index]
        return held


def lend(type_number: int, index: int) -> tuple[int, int]:
    """`Handles.get` of the guest that runs."""
    return _running().get(type_number, index)


def take(type_number: int, index: int) -> tuple[int, int]:
    """`Handles.take` of the guest that runs."""
    return _running().take(type_number, index)


def give(type_number: int, number: int) -> int:
    """`Handles.add` of the guest that runs."""
    return _running().add(type_number, number)


def _running() -> Handles:
    handles: Handles = Running.fiber.handles
    return handles
