"""What was sent and not acknowledged, so that it can be sent again. Pure.

Messages are numbered by counting them. In the order of their numbers they are acknowledged (and forgotten), *written*
to the present socket, or *waiting* to be written to it; without a socket all that is kept waits. Messages that are
given up leave a gap, which stands for their numbers, so that the node is told how many it does not get.
"""

from __future__ import annotations

from collections import deque
from typing import Final, TypeAlias

from ._control import Message
from .errors import ProtocolViolated

OVERHEAD: Final = 64
"""Bytes that each message counts besides its content."""

_Entry: TypeAlias = Message | int
"""A message; or a gap: how many messages it stands for."""


def cost_of(message: Message) -> int:
    """What a message counts, in bytes."""
    return bytes_of(message) + OVERHEAD


def bytes_of(message: Message) -> int:
    """How many bytes a message has as it is sent."""
    return len(message) if isinstance(message, bytes) or message.isascii() else len(message.encode())


class Kept:
    """The messages of this end of one session."""

    __slots__ = ("_highest", "_waiting", "_written", "acknowledged", "count", "size", "written")

    def __init__(self) -> None:
        self._written: deque[_Entry] = deque()
        self._waiting: deque[_Entry] = deque()
        self.acknowledged = 0
        """Of the first so many the node has said that it got them."""
        self.written = 0
        """The first so many were given to the present socket."""
        self._highest = 0
        self.count = 0
        """Messages in all, since the session began."""
        self.size = 0
        """What is kept counts, in bytes."""

    @property
    def waits(self) -> bool:
        """Whether anything waits to be written."""
        return bool(self._waiting)

    def add(self, message: Message) -> None:
        """Number a message and keep it; it waits to be written."""
        self._waiting.append(message)
        self.count += 1
        self.size += cost_of(message)

    def take(self) -> _Entry | None:
        """What to write next: a message, or how many the node is to be told are lost; None when nothing waits."""
        if not self._waiting:
            return None
        entry = self._waiting.popleft()
        self._written.append(entry)
        self.written += entry if isinstance(entry, int) else 1
        self._highest = max(self._highest, self.written)
        return entry

    def acknowledge(self, received: int) -> None:
        """The node has received so many, in all.

        Raises:
            ProtocolViolated: it cannot be so.
        """
        if not self.acknowledged <= received <= self.written:
            raise ProtocolViolated("the node acknowledged what was never sent, or less than before")
        self._forget(received, self._written)

    def cut(self) -> None:
        """The socket is gone: what it was given waits for the next one."""
        if self._written:
            self._written.extend(self._waiting)
            self._written, self._waiting = deque(), self._written
        self.written = self.acknowledged

    def resume(self, received: int) -> None:
        """There is another socket, and the node has received so many, in all. After `cut`.

        Raises:
            ProtocolViolated: it counts what was never sent.
        """
        if not self.acknowledged <= received <= self._highest:
            raise ProtocolViolated("the node counts messages that were never sent, or fewer than before")
        self._forget(received, self._waiting)
        self.written = received

    def drop_oldest(self) -> bool:
        """Give up the message that has waited longest; False: none waits."""
        waiting = self._waiting
        gap = 0
        while waiting:
            entry = waiting.popleft()
            if not isinstance(entry, int):
                self.size -= cost_of(entry)
                waiting.appendleft(gap + 1)
                return True
            gap += entry
        if gap:
            waiting.appendleft(gap)
        return False

    def split(self) -> tuple[list[Message], list[Message]]:
        """The session is over: the messages that were written and not acknowledged, and those that never were."""
        self.cut()
        number = self.acknowledged
        sent: list[Message] = []
        unsent: list[Message] = []
        for entry in self._waiting:
            number += entry if isinstance(entry, int) else 1
            if not isinstance(entry, int):
                (sent if number <= self._highest else unsent).append(entry)
        return sent, unsent

    def _forget(self, received: int, entries: deque[_Entry]) -> None:
        left = received - self.acknowledged
        self.acknowledged = received
        while left > 0:
            entry = entries.popleft()
            if not isinstance(entry, int):
                self.size -= cost_of(entry)
                left -= 1
            elif entry > left:  # a gap of which a part had arrived before it was given up
                entries.appendleft(entry - left)
                left = 0
            else:
                left -= entry
