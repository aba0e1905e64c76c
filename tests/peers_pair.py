"""Sessions between nodes in one process, for tests of what uses them: as `Peers`, without keys and frames."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from guesthouse.kernel.cluster.services import MAX_MESSAGE, PeerService, Unsendable


@dataclass
class Web:
    """Nodes that are all connected. What is sent arrives in a later iteration of the loop, in order."""

    nodes: dict[str, PairedPeers] = field(default_factory=dict)
    bodies: list[tuple[str, str, bytes]] = field(default_factory=list)
    """What was sent: by whom, to whom, what."""
    keep: bool = False
    """Whether to keep `bodies`."""

    def node(self, name: str) -> PairedPeers:
        """Add a node."""
        peers = self.nodes[name] = PairedPeers(name, self)
        return peers

    def up(self) -> None:
        """Sessions of all with all begin."""
        for name, peers in self.nodes.items():
            for other in self.nodes:
                if other != name:
                    peers.begin(other)

    def cut(self, name: str, other: str) -> None:
        """Their session ends, for both."""
        self.nodes[name].end(other)
        self.nodes[other].end(name)


class PairedPeers:
    """The other nodes, as services of one node see them. Implements `PeersPort`."""

    def __init__(self, name: str, web: Web) -> None:
        self.name = self._name = name
        self.web = self._web = web
        self._loop = asyncio.get_running_loop()
        self._services: dict[int, PeerService] = {}
        self._up: set[str] = set()
        self._queues: dict[str, deque[tuple[int, bytes]]] = {}
        self._refused: set[tuple[str, int]] = set()
        self.limit = 2**40
        """Bytes that may wait for one node."""
        self.stalled = False
        """Whether nothing is taken that others send."""

    def register(self, service: int, handler: PeerService) -> None:
        """See `PeersPort`."""
        self._services[service] = handler

    def begin(self, node: str) -> None:
        """A session with a node begins."""
        self._up.add(node)
        self._queues[node] = deque()
        for service in self._services.values():
            service.up(node)

    def end(self, node: str) -> None:
        """The session with a node ends."""
        if node in self._up:
            self._up.remove(node)
            del self._queues[node]
            for service in self._services.values():
                service.lost(node)

    def send(self, node: str, service: int, body: bytes, *, must: bool = False) -> Unsendable | None:
        """See `PeersPort`."""
        assert len(body) <= MAX_MESSAGE
        if node not in self._up:
            return "offline"
        queue = self._queues[node]
        if not must and sum(len(each) for _, each in queue) + len(body) > self.limit and queue:
            self._refused.add((node, service))
            return "full"
        if self._web.keep:
            self._web.bodies.append((self._name, node, body))
        queue.append((service, body))
        self._loop.call_soon(self._web.nodes[node].take, self._name)
        return None

    def take(self, node: str) -> None:
        """Take what a node has sent."""
        sender = self._web.nodes[node]
        queue = sender._queues.get(self._name)
        while queue and not self.stalled and node in self._up:
            service, body = queue.popleft()
            self._services[service].receive(node, body)
        for refused in tuple(sender._refused):
            if not queue and refused[0] == self._name:
                sender._refused.discard(refused)
                sender._services[refused[1]].room(self._name)

    def go_on(self) -> None:
        """Take again what others send."""
        self.stalled = False
        for node in tuple(self._up):
            self.take(node)

    def connect(self, node: str) -> None:
        """See `PeersPort`."""

    def is_up(self, node: str) -> bool:
        """See `PeersPort`."""
        return node in self._up

    def nodes(self) -> list[str]:
        """See `PeersPort`."""
        return list(self._up)

    def forget(self, node: str) -> None:
        """See `PeersPort`."""
        self._web.cut(self._name, node)
