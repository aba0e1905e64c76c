"""Tells the running `Process` which channels its code closes by id or path, for which there are no events."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Protocol


class Keeper(Protocol):
    """Keeps open channels."""

    def has(self, channel_id: int) -> bool:
        """Whether it is one of them: if the node has it no more, the client has left, and `on_close` follows."""

    def closed(self, channel_id: int) -> None:
        """The process closed a channel of its node."""

    def closed_on(self, path: str, but: Collection[int]) -> None:
        """The process closed the channels of a path except some, which were refused."""


class _Nobody:
    def has(self, channel_id: int) -> bool:
        return False

    def closed(self, channel_id: int) -> None:
        pass

    def closed_on(self, path: str, but: Collection[int]) -> None:
        pass


NOBODY: Final[Keeper] = _Nobody()


class _Closing:
    """The current keeper; none in the low-level form."""

    __slots__ = ("keeper",)

    def __init__(self) -> None:
        self.keeper = NOBODY


closing: Final = _Closing()
