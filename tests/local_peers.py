"""Nodes of one event loop that reach each other without sessions: what a service needs of `Peers`, for its own tests.
Messages arrive in the next iteration of the loop; `part` loses what is under way, as the end of a session does.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal

from guesthouse.kernel.cluster.services import PeerService, Unsendable

OUTBOX_BYTES = 8 * 1024 * 1024


@dataclass
class LocalNet:
    """The nodes, and which pairs of them are apart."""

    nodes: dict[str, LocalPeers] = field(default_factory=dict)
    sessions: dict[frozenset[str], int] = field(default_factory=dict)
    """Pairs that have a session, by its number."""
    apart: set[frozenset[str]] = field(default_factory=set)
    made: int = 0

    def part(self, one: str, two: str) -> None:
        """End the session of two nodes; they do not reach each other until `meet`."""
        pair = frozenset((one, two))
        self.apart.add(pair)
        if self.sessions.pop(pair, None) is not None:
            for here, there in ((one, two), (two, one)):
                self.nodes[here].losing.add(there)
                asyncio.get_running_loop().call_soon(self.nodes[here].tell_lost, there)

    def meet(self, one: str, two: str) -> None:
        """Let two nodes reach each other again."""
        self.apart.discard(frozenset((one, two)))


class LocalPeers:
    """See `services.PeersPort`."""

    def __init__(self, net: LocalNet, node: str) -> None:
        self._net, self._node = net, node
        self._services: dict[int, PeerService] = {}
        self._waiting: dict[tuple[str, int], int] = {}
        self._refused: set[tuple[str, int]] = set()
        self.losing: set[str] = set()
        net.nodes[node] = self

    def register(self, service: int, handler: PeerService) -> None:
        """See `PeersPort`."""
        self._services[service] = handler

    def send(self, node: str, service: int, body: bytes, *, must: bool = False) -> Unsendable | None:
        """See `PeersPort`."""
        self.connect(node)
        if not self.is_up(node) or node in self.losing:
            return "offline"
        waiting = self._waiting.get((node, service), 0)
        if waiting >= OUTBOX_BYTES and not must:
            self._refused.add((node, service))
            return "full"
        self._waiting[node, service] = waiting + len(body)
        session = self._net.sessions[frozenset((self._node, node))]
        asyncio.get_running_loop().call_soon(self._arrive, session, node, service, body)
        return None

    def _arrive(self, session: int, node: str, service: int, body: bytes) -> None:
        self._waiting[node, service] -= len(body)
        if self._net.sessions.get(frozenset((self._node, node))) == session:
            handler = self._net.nodes[node]._services.get(service)
            if handler is not None:
                handler.receive(self._node, body)
        if (node, service) in self._refused and self._waiting[node, service] < OUTBOX_BYTES // 2:
            self._refused.discard((node, service))
            self._services[service].room(node)

    def connect(self, node: str) -> Literal["offline"] | None:
        """See `PeersPort`."""
        pair = frozenset((self._node, node))
        if pair in self._net.sessions:
            return None
        if pair in self._net.apart or node not in self._net.nodes:
            return "offline"
        if self.losing & {node} or self._net.nodes[node].losing & {self._node}:
            return "offline"
        self._net.made += 1
        self._net.sessions[pair] = self._net.made
        for here, there in ((self._node, node), (node, self._node)):
            asyncio.get_running_loop().call_soon(self._net.nodes[here].tell_up, there)
        return None

    def tell_up(self, node: str) -> None:
        """Tell the services of a session."""
        for handler in self._services.values():
            handler.up(node)

    def tell_lost(self, node: str) -> None:
        """Tell the services that it ended."""
        self.losing.discard(node)
        for handler in self._services.values():
            handler.lost(node)

    def is_up(self, node: str) -> bool:
        """See `PeersPort`."""
        return frozenset((self._node, node)) in self._net.sessions

    def nodes(self) -> list[str]:
        """See `PeersPort`."""
        return [node for node in self._net.nodes if node != self._node and self.is_up(node)]

    def forget(self, node: str) -> None:
        """See `PeersPort`."""
        self._net.part(self._node, node)
