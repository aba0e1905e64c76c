"""The handles of resources that a guest holds: what it passes is an index into its own table.

Types of the host's resources have numbers from 0 on, those that the guest defines itself are below 0.
"""

from __future__ import annotations

from typing import Final

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.engine.fiber import CurrentFiber
from guesthouse.wasm.errors import GuestTrap

_LARGEST: Final = 2**28 - 1
"""The canonical ABI's bound of an index."""
MAX_OWN: Final = 16_384
"""Handles of resources that a guest defines itself. What they stand for is in its memory; they take 0.2 KiB here."""


class Handles:
    """One guest's. As in the canonical ABI's tables, an index that was given back is the next to be used."""

    __slots__ = ("_free", "_held", "_lent", "_own")

    def __init__(self) -> None:
        self._held: dict[int, tuple[int, int]] = {}
        self._free: list[int] = []
        self._own = 0
        """How many are of resources of its own."""
        self._lent: set[int] = set()
        """What the call in hand borrows: the same call cannot give it away (canonical ABI, `num_lends`)."""

    def begin(self) -> None:
        """Another call, which borrows nothing yet."""
        self._lent.clear()

    def add(self, type_number: int, number: int) -> int:
        """Give it a handle of a resource; returns its index.

        Raises:
            GuestTrap: it holds as many as there are.
        """
        if len(self._held) >= _LARGEST:
            raise GuestTrap(
                ExitCause.TRAP, f"it holds {_LARGEST} handles of resources, and there are no more: drop some"
            )
        index = self._free.pop() if self._free else len(self._held) + 1
        self._held[index] = type_number, number
        return index

    def add_own(self, resource: int, number: int) -> int:
        """Give it a handle of a resource of its own; returns its index.

        Raises:
            GuestTrap: it holds as many as it may.
        """
        if self._own == MAX_OWN:
            raise GuestTrap(
                ExitCause.TRAP, f"it holds {MAX_OWN} handles of its own resources, the limit: drop some"
            )
        index = self.add(_own_type(resource), number)
        self._own += 1
        return index

    def take_own(self, resource: int, index: int) -> int:
        """The number of a handle of a resource of its own, which it holds no more.

        Raises:
            GuestTrap: it holds no such handle.
        """
        _, number = self.take(_own_type(resource), index)
        self._own -= 1
        return number

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

    def lend(self, type_number: int, index: int) -> tuple[int, int]:
        """`get`, and it stays the guest's until the call is over."""
        held = self.get(type_number, index)
        self._lent.add(index)
        return held

    def take(self, type_number: int, index: int) -> tuple[int, int]:
        """`get`, and the guest holds it no more.

        Raises:
            GuestTrap: it holds no such handle, or lends it to the same call.
        """
        held = self.get(type_number, index)
        if index in self._lent:
            raise GuestTrap(
                ExitCause.TRAP, f"it gave away the handle {index}, which it lends to the same call"
            )
        del self._held[index]
        self._free.append(index)
        return held


def begin() -> None:
    """`Handles.begin` of the guest that runs."""
    _running().begin()


def lend(type_number: int, index: int) -> tuple[int, int]:
    """`Handles.lend` of the guest that runs."""
    return _running().lend(type_number, index)


def take(type_number: int, index: int) -> tuple[int, int]:
    """`Handles.take` of the guest that runs."""
    return _running().take(type_number, index)


def give(type_number: int, number: int) -> int:
    """`Handles.add` of the guest that runs."""
    return _running().add(type_number, number)


def new_own(resource: int, number: int) -> int:
    """`Handles.add_own` of the guest that runs."""
    return _running().add_own(resource, number)


def own_number(resource: int, index: int) -> int:
    """What a handle of a resource of its own stands for, of the guest that runs."""
    return _running().get(_own_type(resource), index)[1]


def drop_own(resource: int, index: int) -> int:
    """`Handles.take_own` of the guest that runs, in a call that borrows nothing."""
    handles = _running()
    handles.begin()
    return handles.take_own(resource, index)


def _own_type(resource: int) -> int:
    return -1 - resource


def _running() -> Handles:
    handles: Handles = CurrentFiber.fiber.handles
    return handles
