"""Tells the `Process` that runs which channels its code closes by number or by path: the host says nothing of those."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Protocol


class Keeper(Protocol):
    """Keeps open channels."""

    def closed(self, channel_id: int) -> None:
        """The process has closed a channel of its node."""

    def closed_on(self, path: str, but: Collection[int]) -> None:
        """The process has closed the channels of a path but for some, which were refused."""


class _Nobody:
    def closed(self, channel_id: int) -> None:
        pass

    def closed_on(self, path: str, but: Collection[int]) -> None:
        pass


NOBODY: Final[Keeper] = _Nobody()


class _Closing:
    """Who is told: the low-level form keeps its channels itself."""

    __slots__ = ("keeper",)

    def __init__(self) -> None:
        self.keeper = NOBODY


closing: Final = _Closing()
