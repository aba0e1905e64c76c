"""Messages that arrived and that nobody took yet. Pure."""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

from ._control import Message
from ._kept import cost_of
from .errors import Lost


class Answered:
    """Stands for a message that was dealt with when it arrived, behind others that were not: it is to be counted."""

    __slots__ = ("message",)

    def __init__(self, message: Message) -> None:
        self.message = message


Item: TypeAlias = Message | Lost | Answered


class Inbox:
    """The messages, in order, with what is to be told between them."""

    __slots__ = ("_items", "size")

    def __init__(self) -> None:
        self._items: deque[tuple[Item, Message]] = deque()
        """Each with what arrived, sealed or not."""
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._items)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._items)

    def put(self, item: Item, arrived: Message = b"") -> None:
        """Something arrived."""
        self._items.append((item, arrived))
        self.size += cost_of(arrived)

    def take(self) -> tuple[Item, Message]:
        """The next, and what it arrived as."""
        item, arrived = self._items.popleft()
        self.size -= cost_of(arrived)
        return item, arrived

    def trim(self, size: int, most: int) -> int:
        """Throw away the last that arrived, down to a size; at most so many. Returns how many messages those were."""
        thrown = 0
        while self.size > size and thrown < most and isinstance(self._items[-1][0], str | bytes):
            self.size -= cost_of(self._items.pop()[1])
            thrown += 1
        return thrown
