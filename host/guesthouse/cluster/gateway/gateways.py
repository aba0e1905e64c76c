"""Channels between nodes: each node is a gateway to the processes of the others, and the home of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Sequence
from functools import partial
from typing import Final

from msgspec import Struct

from guesthouse.cluster.gateway.announcements import announcement
from guesthouse.cluster.gateway.away_homes import AwayHomes
from guesthouse.cluster.gateway.gateway_messages import (
    BODY_BYTES,
    Announce,
    BadGatewayMessage,
    Listed,
    RelayClose,
    RelayedAnswer,
    RelayPush,
    RelayTaken,
    TokenRefused,
    TokenVerified,
    Withdraw,
    decode,
    size_of,
)
from guesthouse.cluster.gateway.gateway_node import GatewayNode
from guesthouse.cluster.gateway.home_node import HomeNode
from guesthouse.cluster.gateway.joined_router import JoinedRouter
from guesthouse.cluster.gateway.peer_link import PeerLink
from guesthouse.cluster.gateway.served import ALL, Served
from guesthouse.core.address import ForeignProcess, ProcessId
from guesthouse.core.ports import LogPort, RouterPort
from guesthouse.core.throttled_log import ThrottledLog
from guesthouse.http_server import close_codes
from guesthouse.http_server.close_codes import CloseReason
from guesthouse.http_server.context import Context
from guesthouse.http_server.server import HttpServer
from guesthouse.http_server.state.pending_responses import PendingResponses
from guesthouse.http_server.state.relays import ContentRequest, Relays
from guesthouse.http_server.state.relays import Verified as WhenVerified
from guesthouse.kernel.cluster.services import GATEWAYS, PeersPort

SOURCE: Final = "gateway"
"""Source of log lines about channels between nodes."""

ANNOUNCED_BURST: Final = 4 * 1024 * 1024
"""Size of the announcements of changes that may be sent at once (`size_of`), and in each second."""
ANNOUNCED_A_SECOND: Final = 1024 * 1024
ANNOUNCE_SECONDS: Final = 0.25
"""How long those beyond that wait; what changes meanwhile is announced once."""

VERIFY_SECONDS: Final = 5.0
"""After which a token that its node has not verified is refused."""

MOST_TOGETHER: Final = 2 * BODY_BYTES
"""Size of the messages of a body without the largest: all are handled in one iteration of the loop. Another version may
estimate it differently.
"""

_TO_GATEWAY: Final = (
    RelayPush,
    RelayTaken,
    RelayClose,
    Announce,
    Withdraw,
    TokenVerified,
    TokenRefused,
    RelayedAnswer,
    Listed,
)


class GatewayFigures(Struct, frozen=True):
    """What is measured of channels between nodes."""

    channels_of_others: int
    """To this node's processes, of clients at gateways."""
    channels_to_others: int
    """Of clients here, to processes of other nodes."""
    processes_of_others: int
    """That clients here can reach."""
    waiting_bytes: int
    """What other nodes do not take yet."""
    announced: int
    """Announcements of changed processes that were sent, counted for each node."""
    heard: int
    """Announcements of other nodes."""


class _Peer(Struct, frozen=True):
    """Another node in both roles."""

    link: PeerLink
    as_gateway: GatewayNode
    as_home: HomeNode


class Gateways:
    """Implements `guesthouse.kernel.cluster.services.PeerService` and `guesthouse.http_server.state.relays.Relays`.
    Needs a running event loop.

    Args:
        http: this node's HTTP server.
        peers: the other nodes.
        log: the node's log.
        taken_from: the nodes that may be gateways to this node's processes; `ALL` among them stands for each.
        serve: whose processes this node is a gateway to; see `Served`.
    """

    def __init__(
        self,
        http: HttpServer,
        peers: PeersPort,
        log: LogPort,
        taken_from: Sequence[str] = (ALL,),
        *,
        serve: Sequence[str] = (ALL,),
    ) -> None:
        self.draining: Container[str] = ()
        """Other nodes that take no new clients."""
        self._taken_from = frozenset(taken_from)
        self._served = Served(serve)
        self._http = http
        self._sessions = peers
        self._loop = asyncio.get_running_loop()
        self._log = ThrottledLog(log)
        self._peers: dict[str, _Peer] = {}
        self._homes: dict[str, HomeNode] = {}
        self._away = AwayHomes(self._loop.time)
        self._changed: dict[ProcessId, None] = {}
        """Processes of which the others are to be told."""
        self._announced = self._heard = 0
        """Announcements of changes: sent to each node, and those of others."""
        self._announcing = False
        """Whether `_announce` is scheduled."""
        self._lists = False
        """Whether the others are to be told that nothing else is there, once all changes are announced."""
        self._may_announce = float(ANNOUNCED_BURST)
        self._refilled_at = self._loop.time()
        self._context: Context
        self._exchanges: PendingResponses
        self._own: RouterPort
        http.join(self._connect)
        peers.register(GATEWAYS, self)

    def _connect(self, context: Context, exchanges: PendingResponses) -> tuple[RouterPort, Relays]:
        self._context, self._exchanges, self._own = context, exchanges, context.router
        router = JoinedRouter(
            context.router, self._homes, lambda: self.draining, self._away.have, self._may_have
        )
        return router, self

    def expect(self, nodes: Iterable[str]) -> None:
        """The cluster has these other nodes. Clients of processes that are not known are asked to come again until each
        has said what it runs, or had the time for it.
        """
        self._away.expect(nodes)

    def _may_have(self, process: ProcessId) -> bool:
        return self._away.may_have(process, self._served.has)

    # Other nodes.

    def up(self, node: str) -> None:
        """See `PeerService`."""
        self.lost(node)
        link = PeerLink(node, self._sessions, self._loop.call_soon, partial(self._give_up, node))
        complain = partial(self._complain, node)
        peer = _Peer(
            link,
            GatewayNode(self._context, self._exchanges, self._own, link, complain),
            HomeNode(self._context, self._exchanges, link, complain, partial(self._serves, node)),
        )
        self._peers[node], self._homes[node] = peer, peer.as_home
        self._away.back(node)
        if self._may_be_gateway(node):
            peer.as_gateway.announce_all()
        if not self._context.access.starting:
            peer.link.send(Listed())

    def lost(self, node: str) -> None:
        """See `PeerService`."""
        peer = self._peers.pop(node, None)
        if peer is not None:
            del self._homes[node]
            self._away.lost(node, peer.as_home.processes)
            peer.as_gateway.lost()
            peer.as_home.lost()

    def close(self) -> None:
        """The node stops, or leaves the cluster: tell the others, and close the channels between them and this one.
        Idempotent.
        """
        if self._context.relays is not self:
            return
        for relayed in tuple(self._context.relayed):
            relayed.end(close_codes.GOING_AWAY)
        if not self._context.stopping:  # it leaves the cluster
            for process in self._own.processes():
                self._withdraw(process.id)
        peers, self._peers = self._peers, {}
        self._homes.clear()
        for peer in peers.values():
            peer.link.flush()
            peer.as_gateway.lost()
            peer.as_home.lost(close_codes.GOING_AWAY)
        if self._context.relays is self:
            self._http.part(self._own)

    def room(self, node: str) -> None:
        """See `PeerService`."""
        peer = self._peers.get(node)
        if peer is not None:
            peer.as_home.room()

    def receive(self, node: str, body: bytes) -> None:
        """See `PeerService`."""
        peer = self._peers.get(node)
        if peer is None:
            return
        try:
            messages = decode(body, partial(self._malformed, node))
        except BadGatewayMessage as error:
            self._malformed(node, str(error))
            return
        sizes = [size_of(message) for message in messages]
        if sum(sizes) - max(sizes, default=0) > MOST_TOGETHER:
            self._complain(node, "sent more in one body than a node does, which was dropped")
            return
        home, gateway = peer.as_home.handle, peer.as_gateway.handle
        for message in messages:
            if isinstance(message, _TO_GATEWAY):
                self._heard += isinstance(message, Announce)
                home(message)
                if isinstance(message, Listed):
                    self._away.listed(node)
            elif self._may_be_gateway(node):
                gateway(message)
            else:
                self._complain(node, "would be a gateway, and is not in cluster.gateways_from")

    def _may_be_gateway(self, node: str) -> bool:
        return ALL in self._taken_from or node in self._taken_from

    def _serves(self, node: str, package: str) -> bool:
        if self._served.has(node, package):
            return True
        text = f"{package} of {node} is not served by this node: cluster.serve does not name it"
        self._log.say(SOURCE, f"{node} is not served", text, level="info")
        return False

    def _malformed(self, node: str, error: str) -> None:
        self._complain(node, f"sent what is no message of gateways: {error}")

    def _give_up(self, node: str) -> None:
        """A node takes nothing of what is for it."""
        self._complain(node, "takes nothing of what it was sent: the session with it ends")
        self._sessions.forget(node)

    def _complain(self, node: str, fault: str) -> None:
        self._log.say(SOURCE, f"{node} {fault.partition(':')[0]}", f"{node} {fault}")

    def figures(self) -> GatewayFigures:
        """What is measured of all of it now."""
        peers = self._peers.values()
        return GatewayFigures(
            channels_of_others=sum(peer.as_gateway.channel_count for peer in peers),
            channels_to_others=sum(peer.as_home.channel_count for peer in peers),
            processes_of_others=sum(len(peer.as_home.processes) for peer in peers),
            waiting_bytes=sum(peer.link.waiting_bytes for peer in peers),
            announced=self._announced,
            heard=self._heard,
        )

    # This node's processes, and tokens of others.

    def process_changed(self, process: ProcessId) -> None:
        """See `Relays`."""
        self._changed[process] = None
        if not self._announcing:
            self._announcing = True
            self._loop.call_soon(self._announce)

    def _announce(self) -> None:
        """Tell of what has changed, as far as that is not too much: guests could bind without end."""
        changed, now = self._changed, self._loop.time()
        passed, self._refilled_at = now - self._refilled_at, now
        self._may_announce = min(ANNOUNCED_BURST, self._may_announce + passed * ANNOUNCED_A_SECOND)
        while changed and self._may_announce > 0:
            process_id = next(iter(changed))
            del changed[process_id]
            process = self._own.find(process_id)
            if process is not None and not process.gone:
                message = announcement(self._context, process_id)
                self._may_announce -= size_of(message)
                for node, peer in self._peers.items():
                    if self._may_be_gateway(node):
                        self._announced += 1
                        peer.link.send(message)
        self._announcing = bool(changed)
        if changed:
            self._loop.call_later(ANNOUNCE_SECONDS, self._announce)
        elif self._lists:
            self._lists = False
            for peer in self._peers.values():
                peer.link.send(Listed())

    def started(self) -> None:
        """See `Relays`."""
        self._lists = True
        if not self._announcing:
            self._announce()

    def process_gone(self, process: ProcessId) -> None:
        """See `Relays`."""
        self._changed.pop(process, None)
        if self._context.stopping:  # it comes back with the node: the others keep its clients for it
            return
        self._withdraw(process)

    def _withdraw(self, process: ProcessId) -> None:
        for node, peer in self._peers.items():
            if self._may_be_gateway(node):
                peer.link.send(Withdraw(str(process)))

    def present(self, process: ForeignProcess, channel_id: int, *, away: bool) -> None:
        """See `Relays`."""
        home = self._homes.get(process.node)
        if home is not None:
            home.present(channel_id, away=away)

    def fetch(self, process: ForeignProcess, http_id: int, request: ContentRequest) -> bool:
        """See `Relays`."""
        home = self._homes.get(process.node)
        return home is not None and home.fetch(process, http_id, request)

    def verify(
        self, target: ForeignProcess, token: str, otherwise: CloseReason, answered: WhenVerified
    ) -> None:
        """See `Relays`."""
        home = self._homes.get(target.node)
        if home is None or target.plain not in home.processes:
            if self._away.is_away(target.node):
                otherwise = close_codes.NODE_LOST
            elif self._may_have(target):
                otherwise = close_codes.NOT_LISTED
            answered(otherwise)
            return
        number = home.verify(target, token, answered)
        if number:
            self._loop.call_later(VERIFY_SECONDS, home.give_up, number)
        else:
            answered(close_codes.CROWDED_HOME)
