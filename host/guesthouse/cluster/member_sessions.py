"""What members say to each other in their sessions: which cards they know, and that one leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from guesthouse.cluster.membership import member_messages
from guesthouse.cluster.membership.member_messages import MOST_RECORDS, Latest, Leave, Records
from guesthouse.cluster.membership.roster import Roster
from guesthouse.cluster.nats_connection import SOURCE
from guesthouse.core.ports import LogPort
from guesthouse.core.throttle import Throttle
from guesthouse.core.throttled_log import ThrottledLog
from guesthouse.kernel.cluster.services import MEMBERSHIP, PeersPort

_MOST_ASKED: Final = 4
"""How often per second a member is sent what it says it lacks, which may be all cards."""


class MemberSessions:
    """Implements `PeerService`.

    Args:
        peers: the other nodes.
        roster: the cards that this node knows.
        log: the node's.
        take: takes a record; returns whether it is genuine.
        leaves: called with a member that asks to leave.
        speak: says that this node is there.
    """

    def __init__(
        self,
        peers: PeersPort,
        roster: Roster,
        log: LogPort,
        take: Callable[[bytes], bool],
        leaves: Callable[[str], None],
        speak: Callable[[], None],
    ) -> None:
        self._peers = peers
        self._roster = roster
        self._log = log
        self._throttled_log = ThrottledLog(log)
        self._take = take
        self._leaves = leaves
        self._speak = speak
        self._told = Throttle(5.0)
        self._asked = Throttle(1.0, _MOST_ASKED)
        self._reached: set[str] = set()

    def end(self) -> None:
        """Sessions end because this node does: say nothing of it."""
        self._reached.clear()

    def up(self, node: str) -> None:
        """A session with a member has begun."""
        self._reached.add(node)
        self._speak()  # it may not have heard this node yet
        self._log.write(SOURCE, "info", f"{node} can be reached")
        latest = Latest(self._roster.latest, len(self._roster.successions))
        self._peers.send(node, MEMBERSHIP, member_messages.encode(latest))

    def lost(self, node: str) -> None:
        """It has ended, or none could be made."""
        if node in self._reached:
            self._reached.remove(node)
            self._log.write(SOURCE, "warning", f"{node} cannot be reached any more")

    def room(self, node: str) -> None:
        """What was not sent is sent with the next session, or when the node says what it knows."""

    def receive(self, node: str, body: bytes) -> None:
        """A message of a member."""
        message = member_messages.decode(body)
        if isinstance(message, Latest):
            later = (
                message.successions < len(self._roster.successions) or message.serial < self._roster.latest
            )
            if later and self._asked.omitted(node, asyncio.get_running_loop().time()) is not None:
                records = [
                    *self._roster.successions[message.successions :],
                    *self._roster.newer_than(message.serial),
                ]
                self.send_records(node, records)
        elif isinstance(message, Records):
            for record in message.records:
                if not self._take(record):
                    break  # a member that sends rubbish costs one signature a message
        elif isinstance(message, Leave):
            self._leaves(node)
        else:
            text = f"a message of {node} about the cluster was ignored: this version does not know it"
            self._throttled_log.say(SOURCE, f"unknown {node}", text)

    def tell_later_cards(self, node: str, serial: int) -> None:
        """A node does not know cards that this one has: NATS may have withheld them."""
        if self._told.omitted(node, asyncio.get_running_loop().time()) is not None:
            self.send_records(node, [*self._roster.successions, *self._roster.newer_than(serial)])

    def send_records(self, node: str, records: Sequence[bytes]) -> None:
        """Send cards and successions to a member, as far as there is room."""
        for first in range(0, len(records), MOST_RECORDS):
            body = member_messages.encode(Records(tuple(records[first : first + MOST_RECORDS])))
            if self._peers.send(node, MEMBERSHIP, body) is not None:
                return
