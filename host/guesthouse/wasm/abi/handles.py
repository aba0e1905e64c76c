"""The guest's handles of resources: the guest passes indices into its table.

Types of host resources have numbers from 0 on, those that the guest defines itself below 0.
"""

from __future__ import annotations

from typing import Final

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.engine.fiber import CURRENT
from guesthouse.wasm.errors import GuestTrap

_LARGEST: Final = 2**28 - 1
"""The canonical ABI's largest index."""
MAX_OWN: Final = 16_384
"""Handles of resources that a guest defines itself, each 0.2 KiB here; the resources are in its memory."""


class Handles:
    """The handle table of one guest. As in the canonical ABI, the last freed index is reused first."""

    __slots__ = ("_free", "_held", "_lent", "_own")

    def __init__(self) -> None:
        self._held: dict[int, tuple[int, int]] = {}
        self._free: list[int] = []
        self._own = 0
        """The number of handles of its own resources."""
        self._lent: set[int] = set()
        """Handles borrowed by the current call, which cannot give them away (canonical ABI, `num_lends`)."""

    def begin(self) -> None:
        """Start another call, which has borrowed nothing."""
        self._lent.clear()

    def add(self, type_number: int, number: int) -> int:
        """Add a handle of a resource; returns its index.

        Raises:
            GuestTrap: the table is full.
        """
        if len(self._held) >= _LARGEST:
            raise GuestTrap(ExitCause.TRAP, f"it holds {_LARGEST} handles of resources, the limit: drop some")
        index = self._free.pop() if self._free else len(self._held) + 1
        self._held[index] = type_number, number
        return index

    def add_own(self, resource: int, number: int) -> int:
        """Add a handle of its own resource; returns its index.

        Raises:
            GuestTrap: there are too many.
        """
        if self._own == MAX_OWN:
            raise GuestTrap(
                ExitCause.TRAP, f"it holds {MAX_OWN} handles of its own resources, the limit: drop some"
            )
        index = self.add(_own_type(resource), number)
        self._own += 1
        return index

    def take_own(self, resource: int, index: int) -> int:
        """Remove a handle of its own resource; returns its representation.

        Raises:
            GuestTrap: there is no such handle.
        """
        _, number = self.take(_own_type(resource), index)
        self._own -= 1
        return number

    def get(self, type_number: int, index: int) -> tuple[int, int]:
        """The resource of a handle: type and number.

        Raises:
            GuestTrap: there is no such handle.
        """
        held = self._held.get(index)
        if held is None or held[0] != type_number:
            raise GuestTrap(
                ExitCause.TRAP, f"it passed the handle {index}, which it does not hold (unknown handle)"
            )
        return held

    def lend(self, type_number: int, index: int) -> tuple[int, int]:
        """`get`, and mark it as borrowed until the call ends."""
        held = self.get(type_number, index)
        self._lent.add(index)
        return held

    def take(self, type_number: int, index: int) -> tuple[int, int]:
        """`get`, and remove it from the table.

        Raises:
            GuestTrap: there is no such handle, or the same call has borrowed it.
        """
        held = self.get(type_number, index)
        if index in self._lent:
            raise GuestTrap(ExitCause.TRAP, f"it gave away the handle {index}, which the same call borrows")
        del self._held[index]
        self._free.append(index)
        return held


def begin() -> None:
    """`Handles.begin` of the running guest."""
    _running().begin()


def lend(type_number: int, index: int) -> tuple[int, int]:
    """`Handles.lend` of the running guest."""
    return _running().lend(type_number, index)


def take(type_number: int, index: int) -> tuple[int, int]:
    """`Handles.take` of the running guest."""
    return _running().take(type_number, index)


def give(type_number: int, number: int) -> int:
    """`Handles.add` of the running guest."""
    return _running().add(type_number, number)


def new_own(resource: int, number: int) -> int:
    """`Handles.add_own` of the running guest."""
    return _running().add_own(resource, number)


def own_number(resource: int, index: int) -> int:
    """The representation of a handle of the running guest's own resource."""
    return _running().get(_own_type(resource), index)[1]


def drop_own(resource: int, index: int) -> int:
    """`Handles.take_own` of the running guest, in a call that borrows nothing."""
    handles = _running()
    handles.begin()
    return handles.take_own(resource, index)


def _own_type(resource: int) -> int:
    return -1 - resource


def _running() -> Handles:
    handles: Handles = CURRENT.fiber.handles
    return handles
