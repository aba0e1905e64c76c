"""Nodes with real sessions under a clock that tests move, and a carrier that does what a test says to each frame.

Nothing of it needs an event loop: `World.run` carries out what is due. So a failure found by hypothesis happens again.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guesthouse.kernel.cluster.peers import Peers
from guesthouse.kernel.cluster.services import SERVICES

KEYS = {
    name: Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
    for name in ("a.os", "b.os", "c.os")
}
Deliver = Callable[[str, str, bytes], Iterable[tuple[float, str, bytes]]]
"""Of sender, receiver and frame makes the frames that arrive: after how many seconds, where, and what."""


@dataclass
class Call:
    """See `Cancellable`."""

    callback: Callable[[], object]
    cancelled: bool = False

    def cancel(self) -> None:
        """See `Cancellable`."""
        self.cancelled = True


class Clock:
    """See `arrivals.EventLoop`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._calls: list[tuple[float, int, Call]] = []
        self._numbers = count()

    def time(self) -> float:
        """See `EventLoop`."""
        return self.now

    def call_soon(self, callback: Callable[[], object], /) -> Call:
        """See `EventLoop`."""
        return self.call_later(0.0, callback)

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Call:
        """See `EventLoop`."""
        call = Call(callback)
        heapq.heappush(self._calls, (self.now + delay, next(self._numbers), call))
        return call

    def run(self, seconds: float = 0.0) -> None:
        """Carry out what is due within some seconds."""
        until = self.now + seconds
        while self._calls and self._calls[0][0] <= until:
            at, _, call = heapq.heappop(self._calls)
            self.now = max(self.now, at)
            if not call.cancelled:
                call.callback()
        self.now = until


@dataclass
class Heard:
    """What one service of a node was told of another, in order."""

    messages: list[bytes] = field(default_factory=list)
    events: list[str] = field(default_factory=list)


class Recorder:
    """A service that remembers. See `services.PeerService`."""

    def __init__(self) -> None:
        self.of: dict[str, Heard] = {}
        self.on_receive: Callable[[str, bytes], None] | None = None
        self.on_lost: Callable[[str], None] | None = None

    def heard(self, node: str) -> Heard:
        """What it was told of a node."""
        return self.of.setdefault(node, Heard())

    def receive(self, node: str, body: bytes) -> None:
        """See `PeerService`."""
        self.heard(node).messages.append(body)
        if self.on_receive is not None:
            self.on_receive(node, body)

    def up(self, node: str) -> None:
        """See `PeerService`."""
        self.heard(node).events.append("up")

    def lost(self, node: str) -> None:
        """See `PeerService`."""
        self.heard(node).events.append("lost")
        if self.on_lost is not None:
            self.on_lost(node)

    def room(self, node: str) -> None:
        """See `PeerService`."""
        self.heard(node).events.append("room")


class Lines:
    """See `ports.LogPort`."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, source: str, level: str, text: str, *, stream: str = "host", channel_id: int = 0) -> None:
        """See `LogPort`."""
        self.lines.append(f"{level} {source} {text}")

    def __contains__(self, part: str) -> bool:
        return any(part in line for line in self.lines)

    @property
    def failures(self) -> list[str]:
        """Errors of the node itself."""
        return [line for line in self.lines if line.startswith("error")]


class End:
    """One node: its sessions, its services, and its end of the carrier."""

    def __init__(self, world: World, name: str, cluster: bytes) -> None:
        self._world = world
        self.name = name
        self.log = Lines()
        self.full = False
        """Whether the carrier has no room."""
        self.offline = False
        known = {other: key.public_key() for other, key in KEYS.items()}
        self.keys = known
        self.peers = Peers(
            name,
            KEYS[name],
            lambda other: self.keys.get(other),
            self,
            self.log,
            cluster=cluster,
            loop=world.clock,
        )
        self.services = [Recorder() for _ in SERVICES]
        for service, recorder in zip(SERVICES, self.services, strict=True):
            self.peers.register(service, recorder)

    @property
    def frame_bytes(self) -> int:
        """See `ports.Transport`."""
        return self._world.frame_bytes

    def send(self, node: str, frame: bytes) -> Literal["offline", "full"] | None:
        """See `ports.Transport`."""
        if self.offline or self.full:
            self._world.seen.append((self.name, node, frame))
            return "offline" if self.offline else "full"
        self._world.carry(self.name, node, frame)
        return None


class World:
    """The nodes `a.os`, `b.os` and `c.os`, or some of them."""

    def __init__(self, *names: str, frame_bytes: int = 64 * 1024, cluster: bytes = b"") -> None:
        self.clock = Clock()
        self.frame_bytes = frame_bytes
        self.seen: list[tuple[str, str, bytes]] = []
        """All frames that were sent, with sender and receiver."""
        self.deliver: Deliver = lambda sender, receiver, frame: [(0.0, receiver, frame)]
        self.ends = {name: End(self, name, cluster) for name in names or ("a.os", "b.os")}

    def restart(self, name: str) -> End:
        """A node that knows nothing of its sessions, in the place of one."""
        self.ends[name] = End(self, name, b"")
        return self.ends[name]

    def carry(self, sender: str, receiver: str, frame: bytes) -> None:
        """Deliver a frame as the test says."""
        self.seen.append((sender, receiver, frame))
        for delay, where, data in self.deliver(sender, receiver, frame):
            self.clock.call_later(delay, partial(self.arrive, where, data))

    def arrive(self, where: str, data: bytes) -> None:
        """A frame arrives at a node."""
        if where in self.ends:
            self.ends[where].peers.incoming(data)

    def run(self, seconds: float = 0.0) -> None:
        """Carry out what is due within some seconds."""
        self.clock.run(seconds)

    def connect(self) -> None:
        """Make sessions between all."""
        for end in self.ends.values():
            for other in self.ends:
                if other != end.name:
                    end.peers.connect(other)
        self.run(0.01)
