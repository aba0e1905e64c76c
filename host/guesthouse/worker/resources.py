"""The host's resources that a guest holds: pollables, streams and the like, by number."""

from __future__ import annotations

from typing import Any

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.errors import GuestTrap


class ResourceTable:
    """One guest's resources. Their numbers are used again: a handle that names one lives no longer than it."""

    __slots__ = ("_entries", "_free", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: dict[int, Any] = {}
        self._free: list[int] = []

    def add(self, type_number: int, entry: Any) -> tuple[int, int]:
        """Keep an entry; returns what a WIT handle of it is made from.

        Raises:
            GuestTrap: the guest holds as many as it may.
        """
        if len(self._entries) >= self._limit:
            raise GuestTrap(
                ExitCause.TRAP, f"it holds {self._limit} WASI resources, as many as it may: drop some"
            )
        number = self._free.pop() if self._free else len(self._entries) + 1
        self._entries[number] = entry
        return type_number, number

    def get(self, handle: tuple[int, int]) -> Any:
        """The entry of a handle.

        Raises:
            GuestTrap: there is none (the guest forged or dropped it).
        """
        entry = self._entries.get(handle[1])
        if entry is None:
            raise GuestTrap(ExitCause.TRAP, "it used a WASI resource that does not exist")
        return entry

    def drop(self, number: int) -> None:
        """Forget an entry."""
        if self._entries.pop(number, None) is not None:
            self._free.append(number)

    def __len__(self) -> int:
        return len(self._entries)
