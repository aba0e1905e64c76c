"""What the authority of a cluster does while its node runs: admits nodes, lets them go, renews their cards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from nats.aio.msg import Msg

from guesthouse.cluster.membership.authority import Authority
from guesthouse.cluster.membership.membership import BadMembership
from guesthouse.cluster.membership.roster import Roster
from guesthouse.cluster.nats_connection import SOURCE
from guesthouse.core.ports import LogPort
from guesthouse.core.throttle import Throttle
from guesthouse.core.throttled_log import ThrottledLog

_RENEW_SECONDS: Final = 3600.0
"""Seconds between checks for cards that expire soon."""
_MOST_JOINS: Final = 50
"""Requests to join that are examined per second."""


class AuthorityDuties:
    """Those of this node, which is the authority.

    Args:
        authority: issues cards.
        roster: the cards that this node knows.
        node: its name.
        prefix: of the cluster's NATS subjects.
        log: the node's.
        publish: publishes a message on a subject.
        announce: saves the cards issued since a serial, and has all nodes know them.
        send_records: sends records to a member.
        begin: runs a task of the cluster.
    """

    def __init__(
        self,
        authority: Authority,
        roster: Roster,
        node: str,
        prefix: str,
        log: LogPort,
        publish: Callable[[str, bytes], object],
        announce: Callable[[int], Awaitable[None]],
        send_records: Callable[[str, Sequence[bytes]], None],
        begin: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._authority = authority
        self._roster = roster
        self._node = node
        self._prefix = prefix
        self._log = log
        self._throttled_log = ThrottledLog(log)
        self._publish = publish
        self._announce = announce
        self._send_records = send_records
        self._begin = begin
        self._joins = Throttle(1.0, _MOST_JOINS)

    def on_join(self, message: Msg) -> None:
        """A node asks to be admitted."""
        authority = self._authority
        if not message.reply.startswith(f"{self._prefix}.welcome."):
            return
        if self._joins.omitted(0, asyncio.get_running_loop().time()) is None:
            return
        since = self._roster.latest
        answer = authority.admit(message.data, time.time())
        if answer is None:
            text = "a request to join was ignored: it has no ticket of this cluster"
            self._throttled_log.say(SOURCE, "join", text)
            return
        data, changed = answer
        if changed:
            self._begin(self._admit(message.reply, data, since))
        else:
            self._publish(message.reply, data)

    async def _admit(self, reply: str, answer: bytes, since: int) -> None:
        try:
            await self._announce(since)
        except BadMembership as error:
            self._log.write(SOURCE, "error", f"a node was not admitted: {error}")
            return
        self._publish(reply, answer)

    def let_go(self, node: str) -> None:
        """A member asks to leave."""
        authority, card = self._authority, self._roster.card_of(node)
        if card is None or card.state != "member" or node == self._node:
            return
        since = self._roster.latest
        authority.issue(node, card.key, "left", time.time())
        self._send_records(node, self._roster.newer_than(since))
        self._begin(self._announce_leaving(node, since))

    async def _announce_leaving(self, node: str, since: int) -> None:
        try:
            await self._announce(since)
        except BadMembership as error:
            self._log.write(SOURCE, "error", f"{node} has left, but that was not saved: {error}")

    async def renew(self) -> None:
        """Renew cards before they expire, until cancelled."""
        while True:
            since = self._roster.latest
            if self._authority.renew(time.time()):
                try:
                    await self._announce(since)
                except BadMembership as error:
                    self._throttled_log.say(SOURCE, "save", f"renewed cards are not saved: {error}")
            await asyncio.sleep(_RENEW_SECONDS)
