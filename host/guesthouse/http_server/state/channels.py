"""The open channels of a node and their owners. Pure."""

from __future__ import annotations

import secrets
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Final, Generic, Protocol, TypeVar

from msgspec import Struct

from guesthouse.core.address import ProcessId

MAX_CHANNEL_ID: Final = 2**32 - 1
"""That a message can name: other nodes may give such."""
MAX_DRAWN_ID: Final = 2**31 - 1
"""That this node gives: StarlingMonkey spoils larger numbers that a JavaScript guest passes as `u32`."""

_REMEMBERED: Final = 65_536


class Owned(Protocol):
    """A channel of one process."""

    owner: ProcessId


_Channel = TypeVar("_Channel", bound=Owned)


class ChannelRecord(Struct, frozen=True):
    """Status of an open channel: a `ports.ChannelInfo`."""

    channel_id: int
    owner: ProcessId
    path: str
    client: str
    """Its client's address; with its port, unless it is behind a trusted proxy."""
    opened_at: float
    messages_in: int
    messages_out: int
    outbox_bytes: int
    resumable: bool = False
    away: bool = False
    """Its client has no socket now, and may come back."""
    bound_path: str | None = None


class ChannelTable(Generic[_Channel]):
    """Channels by id and by owner.

    Ids are random, so they reveal nothing about other channels. The ids of open and recently closed channels are not
    reused, so a late push cannot reach another client.

    Args:
        draw: returns a random id.
        closed: called with each channel that is removed.
    """

    def __init__(
        self,
        draw: Callable[[], int] = lambda: secrets.randbelow(MAX_DRAWN_ID) + 1,
        closed: Callable[[_Channel], None] = lambda _: None,
    ) -> None:
        self._draw = draw
        self._on_closed = closed
        self._channels: dict[int, _Channel] = {}
        self._by_owner: dict[ProcessId, dict[int, _Channel]] = {}
        self._reserved: set[int] = set()
        self._closed: set[int] = set()
        self._closed_order: deque[int] = deque()
        self.get = self._channels.get

    def __len__(self) -> int:
        return len(self._channels)

    def __iter__(self) -> Iterator[_Channel]:
        return iter(tuple(self._channels.values()))

    def reserve(self) -> int:
        """Reserve an id for a channel that is not open yet."""
        channel_id = self._draw()
        while not self.is_free(channel_id):
            channel_id = self._draw()
        self._reserved.add(channel_id)
        return channel_id

    def is_free(self, channel_id: int) -> bool:
        """Whether no channel has this id, will have it, or had it recently."""
        return not (
            channel_id in self._channels or channel_id in self._closed or channel_id in self._reserved
        )

    def release(self, channel_id: int) -> None:
        """Free a reserved id whose channel will not open."""
        self._reserved.discard(channel_id)

    def add(self, channel: _Channel, reserved: int = 0) -> int:
        """Add an open channel under its reserved id, or under a new one (0); returns the id."""
        channel_id = reserved or self.reserve()
        self._reserved.discard(channel_id)
        self._channels[channel_id] = channel
        self._by_owner.setdefault(channel.owner, {})[channel_id] = channel
        return channel_id

    def remove(self, channel_id: int) -> None:
        """Remove a channel. Idempotent."""
        channel = self._channels.pop(channel_id, None)
        if channel is None:
            return
        owned = self._by_owner[channel.owner]
        del owned[channel_id]
        if not owned:
            del self._by_owner[channel.owner]
        self._closed.add(channel_id)
        self._closed_order.append(channel_id)
        if len(self._closed_order) > _REMEMBERED:
            self._closed.discard(self._closed_order.popleft())
        self._on_closed(channel)

    def was_closed(self, channel_id: int) -> bool:
        """Whether a channel of that id was closed recently."""
        return channel_id in self._closed

    def owned(self, owner: ProcessId, channel_id: int) -> _Channel | None:
        """The channel, if it belongs to that process."""
        channel = self._channels.get(channel_id)
        return channel if channel is not None and channel.owner == owner else None

    def of(self, owner: ProcessId) -> tuple[_Channel, ...]:
        """All channels of a process, oldest first."""
        return tuple(self._by_owner.get(owner, {}).values())


class TokenChannels:
    """Counts the open channels of each token family."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def take(self, family: str, limit: int | None) -> bool:
        """Count a channel; False when the family's limit is reached."""
        if limit is not None and self._open[family] >= limit:
            return False
        self._open[family] += 1
        return True

    def release(self, family: str) -> None:
        """Uncount a closed channel."""
        self._open[family] -= 1
        if self._open[family] <= 0:
            del self._open[family]
