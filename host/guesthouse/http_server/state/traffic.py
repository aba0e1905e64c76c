"""How many messages the channels of each process have carried, closed ones included. Pure."""

from __future__ import annotations

from msgspec import Struct

from guesthouse.core.address import ProcessId
from guesthouse.http_server.state.channels import ChannelRecord


class Traffic(Struct):
    """Of one process, or of several."""

    channels: int = 0
    """That are open."""
    resumable: int = 0
    """Of these, with a session."""
    away: int = 0
    """Of these, without a socket."""
    opened: int = 0
    """That were ever opened."""
    messages_in: int = 0
    """From clients."""
    messages_out: int = 0
    """To clients."""
    outbox_bytes: int = 0
    """That clients have not read."""

    def add_open(self, channel: ChannelRecord) -> None:
        """Count an open channel."""
        self.channels += 1
        self.resumable += channel.resumable
        self.away += channel.away
        self.outbox_bytes += channel.outbox_bytes
        self.add_closed(channel)

    def add_closed(self, channel: ChannelRecord) -> None:
        """Count a channel that is not open any more."""
        self.opened += 1
        self.messages_in += channel.messages_in
        self.messages_out += channel.messages_out

    def add(self, other: Traffic) -> None:
        """Add another's figures to these."""
        self.channels += other.channels
        self.resumable += other.resumable
        self.away += other.away
        self.opened += other.opened
        self.messages_in += other.messages_in
        self.messages_out += other.messages_out
        self.outbox_bytes += other.outbox_bytes


class ClosedChannels:
    """What the closed channels of processes that there still are have carried."""

    def __init__(self) -> None:
        self._by_owner: dict[ProcessId, Traffic] = {}

    def add(self, channel: ChannelRecord) -> None:
        """A channel was closed."""
        self._by_owner.setdefault(channel.owner, Traffic()).add_closed(channel)

    def forget(self, owner: ProcessId) -> None:
        """The process is gone."""
        self._by_owner.pop(owner, None)

    def traffic(self) -> dict[ProcessId, Traffic]:
        """By process. The caller may add to it."""
        copied: dict[ProcessId, Traffic] = {}
        for owner, traffic in self._by_owner.items():
            copied[owner] = Traffic()
            copied[owner].add(traffic)
        return copied
