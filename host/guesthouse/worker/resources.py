"""A guest's host resources by number: pollables, streams and the like."""

from __future__ import annotations

from typing import Any

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.errors import GuestTrap


class ResourceTable:
    """The resources of one guest. Numbers are reused: no handle outlives its resource."""

    __slots__ = ("_entries", "_free", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: dict[int, Any] = {}
        self._free: list[int] = []

    def add(self, type_number: int, entry: Any) -> tuple[int, int]:
        """Add an entry; returns the value of a WIT handle.

        Raises:
            GuestTrap: the table is full.
        """
        if len(self._entries) >= self._limit:
            raise GuestTrap(ExitCause.TRAP, f"it holds {self._limit} WASI resources, the limit: drop some")
        number = self._free.pop() if self._free else len(self._entries) + 1
        self._entries[number] = entry
        return type_number, number

    def get(self, handle: tuple[int, int]) -> Any:
        """The entry of a handle.

        Raises:
            GuestTrap: there is none.
        """
        entry = self._entries.get(handle[1])
        if entry is None:
            raise GuestTrap(ExitCause.TRAP, "it used a WASI resource that does not exist")
        return entry

    def drop(self, number: int) -> None:
        """Remove an entry."""
        if self._entries.pop(number, None) is not None:
            self._free.append(number)

    def __len__(self) -> int:
        return len(self._entries)
