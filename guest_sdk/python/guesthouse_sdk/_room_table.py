"""Who is in which room, and what changes. Pure: it calls no host."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guesthouse_sdk.errors import GuestError

if TYPE_CHECKING:
    from guesthouse_sdk.channel import Channel


class RoomError(GuestError):
    """A channel could not join a room."""


class RoomFull(RoomError):
    """The room has as many members as a room may have."""


class TooManyRooms(RoomError):
    """The process has as many rooms as it may have."""


class TooManyJoined(RoomError):
    """The channel is in as many rooms as a channel may be."""


@dataclass(frozen=True, slots=True)
class Member:
    """A channel in a room, and what the process says of it there, such as a name."""

    channel: Channel
    info: Any = None


@dataclass(frozen=True, slots=True)
class PresenceChange:
    """What changed in a room.

    Attributes:
        room: its name.
        joined: the new members.
        left: the members that are gone.
        updated: members with another info: before and after.
    """

    room: str
    joined: tuple[Member, ...] = ()
    left: tuple[Member, ...] = ()
    updated: tuple[tuple[Member, Member], ...] = ()


@dataclass(frozen=True, slots=True)
class RoomLimits:
    """Limits of the rooms of a process. What goes over one is refused.

    Attributes:
        rooms: rooms with members.
        members: members of one room.
        joined: rooms that one channel is in.
    """

    rooms: int = 10_000
    members: int = 20_000
    joined: int = 100


class RoomTable:
    """The rooms of one process. A room exists as long as it has a member."""

    def __init__(self, limits: RoomLimits) -> None:
        self._limits = limits
        self._rooms: dict[str, dict[Channel, Member]] = {}
        self._joined: dict[Channel, dict[str, None]] = {}

    def join(self, room: str, channel: Channel, info: object) -> PresenceChange | None:
        """Add a member, or replace its info. Returns None if nothing changed.

        Raises:
            RoomError: it is over a limit; nothing changed.
        """
        members = self._rooms.get(room)
        before = None if members is None else members.get(channel)
        after = Member(channel, info)
        if members is None or before is None:
            self._check_room_for(room, channel)
            self._rooms.setdefault(room, {})[channel] = after
            self._joined.setdefault(channel, {})[room] = None
            return PresenceChange(room, joined=(after,))
        if before.info == info:
            return None
        members[channel] = after
        return PresenceChange(room, updated=((before, after),))

    def leave(self, room: str, channel: Channel) -> PresenceChange | None:
        """Remove a member. Returns None if it was none."""
        members = self._rooms.get(room, {})
        member = members.pop(channel, None)
        if member is None:
            return None
        if not members:
            del self._rooms[room]
        joined = self._joined[channel]
        del joined[room]
        if not joined:
            del self._joined[channel]
        return PresenceChange(room, left=(member,))

    def leave_all(self, channel: Channel) -> list[PresenceChange]:
        """Remove a channel from its rooms."""
        changes = (self.leave(room, channel) for room in list(self._joined.get(channel, ())))
        return [change for change in changes if change is not None]

    def member(self, room: str, channel: Channel) -> Member | None:
        """A channel's membership of a room."""
        return self._rooms.get(room, {}).get(channel)

    def members(self, room: str) -> Iterator[Member]:
        """The members of a room, in the order in which they joined."""
        return iter(self._rooms.get(room, {}).values())

    def joined(self, channel: Channel) -> Iterator[str]:
        """The rooms of a channel, in the order in which it joined them."""
        return iter(self._joined.get(channel, ()))

    def names(self) -> Iterator[str]:
        """The rooms."""
        return iter(self._rooms)

    def _check_room_for(self, room: str, channel: Channel) -> None:
        members = self._rooms.get(room)
        if members is None and len(self._rooms) >= self._limits.rooms:
            raise TooManyRooms(f"this process has {self._limits.rooms} rooms, which is the limit")
        if members is not None and len(members) >= self._limits.members:
            raise RoomFull(f"the room has {self._limits.members} members, which is the limit")
        if len(self._joined.get(channel, ())) >= self._limits.joined:
            raise TooManyJoined(f"the channel is in {self._limits.joined} rooms, which is the limit")


class ChangeQueue:
    """Changes that wait to be told, in order within a room. Members that leave one after another are one change."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[PresenceChange]] = {}
        self._left: dict[str, list[Member]] = {}
        """Of the last change of each room, if members only left by it."""

    def add(self, change: PresenceChange) -> None:
        """A change is to be told."""
        if not change.joined and not change.updated:
            self._left.setdefault(change.room, []).extend(change.left)
            self._waiting.setdefault(change.room, deque())
            return
        waiting = self._waiting.setdefault(change.room, deque())
        waiting.extend(self._leaving(change.room))
        waiting.append(change)

    def take(self) -> PresenceChange | None:
        """Remove and return the next change; None if there is none."""
        for room, waiting in self._waiting.items():
            if not waiting:
                waiting.extend(self._leaving(room))
            change = waiting.popleft()
            if not waiting and room not in self._left:
                del self._waiting[room]
            return change
        return None

    def _leaving(self, room: str) -> Iterator[PresenceChange]:
        left = self._left.pop(room, None)
        if left:
            yield PresenceChange(room, left=tuple(left))
