"""A node's part in its cluster: hears of other nodes and says that it is there, keeps the cards, admits nodes.

Cards come by three ways, since NATS may withhold any: its bucket and what is published of it, and in sessions from
members that know later ones (`membership/member_messages.py`). All go through `Membership.take`, which verifies them.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, Final, Literal, Protocol, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct
from nats.aio.msg import Msg

from guesthouse.cluster.authority_duties import AuthorityDuties
from guesthouse.cluster.card_bucket import live_subject
from guesthouse.cluster.card_sync import CardSync
from guesthouse.cluster.carrier import NatsCarrier, subject_prefix
from guesthouse.cluster.member_sessions import MemberSessions
from guesthouse.cluster.membership import member_messages
from guesthouse.cluster.membership.member_messages import Leave
from guesthouse.cluster.membership.membership import BadMembership, Membership
from guesthouse.cluster.membership.own_presences import OwnPresences
from guesthouse.cluster.membership.presence_book import PRESENCE_SECONDS, PresenceBook
from guesthouse.cluster.membership.records import BadRecord, Card, Presence, signed
from guesthouse.cluster.membership.roster import Change
from guesthouse.cluster.nats_client import Access
from guesthouse.cluster.nats_connection import SOURCE, NatsConnection, end_tasks
from guesthouse.core.ports import LogPort, Transport
from guesthouse.core.throttle import Throttle
from guesthouse.core.throttled_log import ThrottledLog
from guesthouse.kernel.cluster.peer_traffic import PeerTraffic
from guesthouse.kernel.cluster.services import MEMBERSHIP, PeersPort

_SAVE_AGAIN_SECONDS: Final = 60.0
_MOST_LIVE: Final = 200
"""Records, published by anybody, that are verified in a second; those beyond are read from the bucket later."""
_FAREWELL_SECONDS: Final = 1.0


class Joined(PeersPort, Protocol):
    """The other nodes, as the node's session layer has them."""

    @property
    def traffic(self) -> PeerTraffic:
        """What is counted of frames and sessions."""

    def waiting_bytes(self) -> int:
        """Bytes that wait for other nodes to take them."""

    def incoming(self, frame: bytes) -> Literal["full"] | None:
        """A frame that arrived for this node."""

    def carrier_ready(self) -> None:
        """The carrier takes frames again."""

    def close(self) -> None:
        """End all sessions, and say so to the other nodes. Idempotent."""


class Figures(Struct, frozen=True):
    """What a node tells others of itself."""

    processes: int
    channels: int
    load: float
    version: str
    draining: bool


class Cluster:
    """The cluster of a node that is a member. An async context manager, which waits neither for NATS nor for nodes.

    Args:
        membership: what the node knows of it.
        servers: the URLs of NATS servers.
        access: what is shown to them.
        key: the node's.
        log: the node's.
        join: makes the session layer, from a transport, what knows the keys of nodes, and the cluster's id.
        figures: what is told of the node now.
    """

    def __init__(
        self,
        membership: Membership,
        servers: Sequence[str],
        access: Access,
        key: Ed25519PrivateKey,
        log: LogPort,
        join: Callable[[Transport, Callable[[str], Ed25519PublicKey | None], bytes], Joined],
        figures: Callable[[], Figures],
    ) -> None:
        self.membership = membership
        self.roster = membership.roster
        self._node = membership.node
        self._key = key
        self._log = log
        self._throttled_log = ThrottledLog(log)
        self._figures = figures
        cluster_id = self.roster.cluster_id
        self.connection = NatsConnection(servers, access, self._node, log)
        self._prefix = subject_prefix(cluster_id)
        carrier = NatsCarrier(self.connection, cluster_id, self._node)
        self.peers = join(carrier, self.key_of, bytes.fromhex(cluster_id))
        carrier.listen(self.peers.incoming)
        carrier.on_room = self.peers.carrier_ready
        self._carrier = carrier
        self.presences = PresenceBook(cluster_id, self._key_of_speaker)
        self._said = OwnPresences()
        self._live = Throttle(1.0, _MOST_LIVE)
        self._sync = CardSync(self.connection, self.roster, self._take, log, owns=self._is_authority)
        self._unsaved = asyncio.Event()
        self._saving = asyncio.Lock()
        self._tasks = asyncio.TaskGroup()
        self._stack = AsyncExitStack()
        self._own: list[asyncio.Task[None]] = []
        self._speak = asyncio.Event()
        self._ended = asyncio.Event()
        """The node is no member any more."""
        self.roster.on_change = self._changed
        self.connection.on_up = self._on_connected
        self._sessions = MemberSessions(
            self.peers, self.roster, log, self._take, self._leaves, self._speak.set
        )
        self.peers.register(MEMBERSHIP, self._sessions)
        self.connection.handle(live_subject(cluster_id), self._on_record)
        self.connection.handle(f"{self._prefix}.presence", self._on_presence)
        self._duties: AuthorityDuties | None = None
        if membership.authority is not None:
            self._duties = AuthorityDuties(
                membership.authority,
                self.roster,
                self._node,
                self._prefix,
                log,
                self.connection.publish,
                self.announce,
                self._sessions.send_records,
                self._begin,
            )
            self.connection.handle(f"{self._prefix}.join", self._duties.on_join)

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.connection)
        await self._tasks.__aenter__()
        for work in (self._beat, self._save, self._sync.run):
            self._begin(work())
        if self._duties is not None:
            self._begin(self._duties.renew())
        self._log.write(SOURCE, "info", f"{self._node} is a node of the cluster {self.membership.shown}")
        if not self.is_member():
            self._out()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._sessions.end()
        self.peers.close()
        await end_tasks(list(self._own))
        await self._stack.aclose()  # nothing comes from here on
        await self._tasks.__aexit__(None, None, None)
        self.roster.on_change = lambda change: None
        if self._unsaved.is_set():
            await self.save()

    # --- what it knows

    def key_of(self, node: str) -> Ed25519PublicKey | None:
        """The key of another member; None of any other node, and of all if this one is no member any more."""
        if node == self._node or not self.is_member():
            return None
        return self.roster.key_of(node, time.time())

    def _key_of_speaker(self, node: str) -> Ed25519PublicKey | None:
        """As `key_of`, and of this node too: a copy of its home speaks with it."""
        return self._key.public_key() if node == self._node else self.key_of(node)

    def is_member(self) -> bool:
        """Whether this node is a member."""
        return self.roster.key_of(self._node, time.time()) is not None

    def member_names(self) -> list[str]:
        """The names of all nodes that are members now, this one among them."""
        now = time.time()
        return [card.node for card in self.roster.cards if self.roster.key_of(card.node, now) is not None]

    def presence(self) -> Presence:
        """What this node says of itself now."""
        figures = self._figures()
        return Presence(
            cluster=self.roster.cluster_id,
            node=self._node,
            sent=time.time(),
            latest=self.roster.latest,
            version=figures.version,
            processes=figures.processes,
            channels=figures.channels,
            load=figures.load,
            draining=figures.draining,
        )

    def _is_authority(self) -> bool:
        return self.membership.authority is not None

    # --- changes that this node makes

    async def save(self) -> None:
        """Write what has changed.

        Raises:
            BadMembership: it cannot be written.
        """
        async with self._saving:
            self._unsaved.clear()
            await asyncio.to_thread(self.membership.write, self.membership.encoded())

    async def announce(self, since: int) -> None:
        """Save the cards that the authority has issued since that serial, and have all nodes know them.

        Raises:
            BadMembership: they cannot be saved, and nobody is told.
        """
        await self.save()
        records = [*self.roster.successions, *self.roster.newer_than(since)]
        for node in self.peers.nodes():
            self._sessions.send_records(node, records)
        self._sync.soon()

    async def leave(self, seconds: float) -> bool:
        """Ask the authority for a card that says so; returns whether it came in that time."""
        authority = self.roster.authority
        if (
            authority is None
            or self.peers.send(authority, MEMBERSHIP, member_messages.encode(Leave())) is not None
        ):
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        return not self.is_member()

    # --- what comes

    def _on_connected(self) -> None:
        self._sync.soon()
        self._speak.set()

    def _on_presence(self, message: Msg) -> None:
        presence = self.presences.take(message.data, asyncio.get_running_loop().time())
        if presence is None:
            return
        if presence.node == self._node:
            self._check_is_own(presence)
            return
        if not self.peers.is_up(presence.node):
            self.peers.connect(presence.node)
        elif presence.latest < self.roster.latest:
            self._sessions.tell_later_cards(presence.node, presence.latest)
        if presence.latest > self.roster.latest:
            self._sync.soon()

    def _check_is_own(self, presence: Presence) -> None:
        """Sessions go to a copy and to this node by turns, and only these two can know why."""
        self.presences.forget(self._node)  # it is listed by what it says now
        if self._said.is_of_copy(presence.sent):
            text = (
                f"another node has the name and the key of {self._node}: it runs on a copy of this home, and the "
                "others reach one or the other by chance. Stop it; for a node of its own, remove node.ed25519 and "
                "cluster.json from the copy, and have it join by another name"
            )
            self._throttled_log.say(SOURCE, "copy", text, level="error")

    def _on_record(self, message: Msg) -> None:
        if self._live.omitted(0, asyncio.get_running_loop().time()) is None:
            self._sync.soon()
            return
        if message.data:
            self._take(message.data)

    # --- cards

    def _take(self, data: bytes) -> bool:
        """Take a record from anywhere. Returns whether it is genuine, new or not."""
        keys = len(self.roster.successions)
        try:
            if self.membership.take(data):
                self._unsaved.set()
        except BadRecord as error:
            text = str(error)
            self._throttled_log.say(
                SOURCE, text.partition(":")[0], f"a record of the cluster was dropped: {text}"
            )
            return False
        if len(self.roster.successions) > keys:
            self._log.write(SOURCE, "warning", "the cluster has another key from now on")
            self._sync.soon()
        return True

    def _changed(self, change: Change) -> None:
        """Act on a new card, which this node issued or was told."""
        card = change.card
        if card.node == self._node:
            if card.state != "member":
                self._out()
            return
        if change.other_key:
            self._forget(card.node)
        if not change.other_state:
            return
        if card.state == "member":
            self._log.write(SOURCE, "info", f"{card.node} is a node of the cluster")
            return
        text = f"{card.node} is no node of the cluster any more: it {_did(card)}"
        self._log.write(SOURCE, "warning", text)
        if card.state == "expelled":
            self._forget(card.node)
        else:  # it is told so in its session
            asyncio.get_running_loop().call_later(_FAREWELL_SECONDS, self._forget_unless_member, card.node)

    def _forget_unless_member(self, node: str) -> None:
        card = self.roster.card_of(node)
        if card is None or card.state != "member":
            self._forget(node)

    def _forget(self, node: str) -> None:
        self.peers.forget(node)
        self.presences.forget(node)
        self._carrier.forget(node)

    def _forget_expired(self) -> None:
        """End the sessions with nodes whose cards are not valid any more, or with all if that of this node is not."""
        for node in self.peers.nodes():
            card = self.roster.card_of(node)
            if self.key_of(node) is None and (card is None or card.state == "member" or not self.is_member()):
                text = f"the session with {node} ends: the card of one of the two has expired"
                self._throttled_log.say(SOURCE, f"expired {node}", text)
                self.peers.forget(node)

    def _out(self) -> None:
        """Stop: the node is no member any more."""
        self._ended.set()
        card = self.roster.card_of(self._node)
        if card is not None and card.state == "member":
            text = "the card of this node has expired: is the authority running, and is the clock right?"
        else:
            text = f"this node is in no cluster any more: it {'left' if card is None else _did(card)}"
        self._log.write(SOURCE, "error", text)
        for node in self.peers.nodes():
            self.peers.forget(node)

    def _leaves(self, node: str) -> None:
        if self._duties is not None:
            self._duties.let_go(node)

    # --- tasks

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._own.append(self._tasks.create_task(work))

    async def _beat(self) -> None:
        while True:
            if self.is_member():
                presence = self.presence()
                self._said.add(presence.sent)
                self.connection.publish(f"{self._prefix}.presence", signed(presence, self._key))
            self._own = [task for task in self._own if not task.done()]
            self._forget_expired()
            self._speak.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(PRESENCE_SECONDS * random.uniform(0.8, 1.2)):  # noqa: S311 - spreads the nodes
                    await self._speak.wait()

    async def _save(self) -> None:
        while True:
            await self._unsaved.wait()
            try:
                await self.save()
            except BadMembership as error:
                self._throttled_log.say(SOURCE, "save", f"changes of the cluster are not saved: {error}")
                self._unsaved.set()
                await asyncio.sleep(_SAVE_AGAIN_SECONDS)


def _did(card: Card) -> str:
    return "was expelled" if card.state == "expelled" else "left"
