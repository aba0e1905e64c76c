"""Rooms: some of a process's channels, who get the same messages and see who is there.

A room has a name, and exists as long as a channel is in it. A channel that is closed, by either end, leaves its rooms
at once. Rooms are in memory: after a restart or an upgrade there are none, and each channel that
stayed open is announced again, by `on_resume`: join its rooms there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from guesthouse_sdk._checks import checked_text
from guesthouse_sdk._json import written
from guesthouse_sdk._room_table import (
    ChangeQueue,
    Member,
    PresenceChange,
    RoomError,
    RoomFull,
    RoomLimits,
    RoomTable,
    TooManyJoined,
    TooManyRooms,
)
from guesthouse_sdk.channel import Channel
from guesthouse_sdk.errors import ChannelNotFound, CloseError, PushError
from guesthouse_sdk.http_server import close_channels
from guesthouse_sdk.log import log_exception
from guesthouse_sdk.process import Process

__all__ = [
    "MAX_NAME",
    "Member",
    "PresenceChange",
    "RoomError",
    "RoomFull",
    "RoomLimits",
    "Rooms",
    "TooManyJoined",
    "TooManyRooms",
]

MAX_NAME: Final = 256
"""Characters of a room's name."""


class Rooms:
    """The rooms of a process. Make one in its `__init__` or `on_start`."""

    def __init__(
        self,
        process: Process,
        on_change: Callable[[PresenceChange], object] | None = None,
        limits: RoomLimits | None = None,
    ) -> None:
        """Watch a process's channels.

        Args:
            process: whose channels join.
            on_change: called with each change of a room, in order, once the members are as it says: before
                `join` returns, and before `on_close`. A change that is made while it runs follows when it returns, so
                `members` may be ahead of the change; members that leave meanwhile are one change.
                An exception in it is logged.
            limits: what may be; by default those of `RoomLimits`.
        """
        self._process = process
        self._on_change = on_change
        self._table = RoomTable(limits or RoomLimits())
        self._queue = ChangeQueue()
        self._held = False
        process._watch(self._forget)

    def join(self, room: str, channel: Channel, info: object = None) -> bool:
        """Add an open channel to a room, or replace its info there.

        Args:
            room: at most `MAX_NAME` characters.
            channel: of this process.
            info: what presence says of it, such as a name.

        Returns:
            Whether it was not in the room before.

        Raises:
            RoomError: it would be over a limit; the subclass says which.
            ChannelNotFound: the channel is closed.
            ValueError: the name is empty or too long.
        """
        if not 0 < len(checked_text(room, "the name of a room")) <= MAX_NAME:
            raise ValueError(f"the name of a room has 1 to {MAX_NAME} characters, not {len(room)}")
        if channel not in self._process.channels:
            raise ChannelNotFound(channel.id, f"channel {channel.id} is closed: it cannot join a room")
        change = self._table.join(room, channel, info)
        if change is None:
            return False
        self._tell([change])
        return bool(change.joined)

    def leave(self, room: str, channel: Channel) -> bool:
        """Remove a channel from a room. Returns whether it was there."""
        change = self._table.leave(room, channel)
        if change is None:
            return False
        self._tell([change])
        return True

    def members(self, room: str) -> list[Member]:
        """Who is in a room, in the order in which they joined."""
        return list(self._table.members(room))

    def member(self, room: str, channel: Channel) -> Member | None:
        """A channel's membership of a room; None if it is not there."""
        return self._table.member(room, channel)

    def joined(self, channel: Channel) -> list[str]:
        """The rooms that a channel is in, in the order in which it joined them."""
        return list(self._table.joined(channel))

    def names(self) -> list[str]:
        """The rooms that have members."""
        return list(self._table.names())

    def broadcast(
        self, room: str, message: str | bytes, but: Iterable[Channel] = ()
    ) -> dict[Channel, PushError]:
        """Send one message to the members of a room except some; it is passed to the host once.

        Returns:
            The channels that refused it, and why: usually `ChannelFull`. They stay in the room;
            `close` them, or let them miss the message.
        """
        left_out = frozenset(but)
        to = (member.channel for member in self._table.members(room))
        return self._process.broadcast(message, to=[channel for channel in to if channel not in left_out])

    def broadcast_json(
        self, room: str, value: object, but: Iterable[Channel] = ()
    ) -> dict[Channel, PushError]:
        """Send a value to the members of a room except some, as `broadcast` and `Channel.send_json` do.

        Raises:
            TypeError: JSON cannot express it.
            ValueError: it has NaN, an infinity or itself in it.
        """
        return self.broadcast(room, written(value), but)

    def close(
        self, channels: Iterable[Channel], code: int = 1000, reason: str = ""
    ) -> dict[Channel, CloseError]:
        """Close channels by one call to the host. They leave their rooms, by one change for each room.

        Returns:
            The channels that were not closed, and why. One whose client has left leaves its rooms when
            the process is told of it.
        """
        by_id = {channel.id: channel for channel in channels}
        held, self._held = self._held, True
        try:
            refused = close_channels(by_id, code, reason)
        finally:
            self._held = held
        self._tell([])
        return {by_id[channel_id]: error for channel_id, error in refused.items()}

    def _forget(self, channel: Channel) -> None:
        """The channel is closed."""
        self._tell(self._table.leave_all(channel))

    def _tell(self, changes: list[PresenceChange]) -> None:
        """Calls `on_change`, never from within itself: a broadcast that finds a slow client, whose end is
        broadcast in turn, would recurse once for each slow client.
        """
        if self._on_change is None:
            return
        for change in changes:
            self._queue.add(change)
        if self._held:
            return
        self._held = True
        try:
            while (next_change := self._queue.take()) is not None:
                try:
                    self._on_change(next_change)
                except Exception as error:
                    log_exception("on_change", error)
        finally:
            self._held = False
