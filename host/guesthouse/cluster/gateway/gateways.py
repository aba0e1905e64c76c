"""Channels between nodes: each node is a gateway to the processes of the others, and the home of its own."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from msgspec import Struct

from guesthouse.cluster.gateway.gateway_messages import (
    Announce,
    BadGatewayMessage,
    RelayClose,
    RelayedAnswer,
    RelayPush,
    RelayTaken,
    TokenRefused,
    TokenVerified,
    Withdraw,
    decode,
)
from guesthouse.cluster.gateway.gateway_node import GatewayNode
from guesthouse.cluster.gateway.home_node import HomeNode
from guesthouse.cluster.gateway.joined_router import JoinedRouter
from guesthouse.cluster.gateway.peer_link import PeerLink
from guesthouse.core.address import ForeignProcess, ProcessId
from guesthouse.core.ports import LogPort, RouterPort
from guesthouse.core.throttled_log import ThrottledLog
from guesthouse.http_server import close_codes
from guesthouse.http_server.close_codes import CloseReason
from guesthouse.http_server.server import HttpServer
from guesthouse.http_server.state.context import Context
from guesthouse.http_server.state.pending_responses import PendingResponses
from guesthouse.http_server.state.relays import ContentRequest, Relays
from guesthouse.http_server.state.relays import Verified as WhenVerified
from guesthouse.kernel.cluster.services import GATEWAYS, PeersPort

SOURCE: Final = "gateway"
"""Source of log lines about channels between nodes."""

VERIFY_SECONDS: Final = 5.0
"""After which a token that its node has not verified is refused."""

_TO_GATEWAY: Final = (
    RelayPush,
    RelayTaken,
    RelayClose,
    Announce,
    Withdraw,
    TokenVerified,
    TokenRefused,
    RelayedAnswer,
)


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
    """

    def __init__(self, http: HttpServer, peers: PeersPort, log: LogPort) -> None:
        self._sessions = peers
        self._loop = asyncio.get_running_loop()
        self._log = ThrottledLog(log)
        self._peers: dict[str, _Peer] = {}
        self._homes: dict[str, HomeNode] = {}
        self._changed: dict[ProcessId, None] = {}
        self._context: Context
        self._exchanges: PendingResponses
        self._own: RouterPort
        http.join(self._connect)
        peers.register(GATEWAYS, self)

    def _connect(self, context: Context, exchanges: PendingResponses) -> tuple[RouterPort, Relays]:
        self._context, self._exchanges, self._own = context, exchanges, context.router
        return JoinedRouter(context.router, self._homes), self

    # Other nodes.

    def up(self, node: str) -> None:
        """See `PeerService`."""
        self.lost(node)
        link = PeerLink(node, self._sessions, self._loop.call_soon)
        complain = partial(self._complain, node)
        peer = _Peer(
            link,
            GatewayNode(self._context, self._exchanges, self._own, link, complain),
            HomeNode(self._context, self._exchanges, link, complain),
        )
        self._peers[node], self._homes[node] = peer, peer.as_home
        peer.as_gateway.announce_all()

    def lost(self, node: str) -> None:
        """See `PeerService`."""
        peer = self._peers.pop(node, None)
        if peer is not None:
            del self._homes[node]
            peer.as_gateway.lost()
            peer.as_home.lost()

    def close(self) -> None:
        """The node stops: tell the others, and close the channels between them and this one."""
        for relayed in tuple(self._context.relayed):
            relayed.end(close_codes.GOING_AWAY)
        peers, self._peers = self._peers, {}
        self._homes.clear()
        for peer in peers.values():
            peer.link.flush()
            peer.as_gateway.lost()
            peer.as_home.lost(close_codes.GOING_AWAY)

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
            messages = decode(body)
        except BadGatewayMessage as error:
            self._complain(node, f"sent what is no message of gateways: {error}")
            return
        home, gateway = peer.as_home.handle, peer.as_gateway.handle
        for message in messages:
            if isinstance(message, _TO_GATEWAY):
                home(message)
            else:
                gateway(message)

    def _complain(self, node: str, fault: str) -> None:
        self._log.say(SOURCE, f"{node} {fault.partition(':')[0]}", f"{node} {fault}")

    # This node's processes, and tokens of others.

    def process_changed(self, process: ProcessId) -> None:
        """See `Relays`."""
        if not self._changed:
            self._loop.call_soon(self._announce)
        self._changed[process] = None

    def _announce(self) -> None:
        changed, self._changed = self._changed, {}
        for process_id in changed:
            process = self._own.find(process_id)
            if process is not None and not process.gone:
                for peer in self._peers.values():
                    peer.as_gateway.announce(process_id)

    def process_gone(self, process: ProcessId) -> None:
        """See `Relays`."""
        self._changed.pop(process, None)
        for peer in self._peers.values():
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
            answered(otherwise)
            return
        number = home.verify(target, token, answered)
        if number:
            self._loop.call_later(VERIFY_SECONDS, home.give_up, number)
        else:
            answered(close_codes.CROWDED_HOME)
