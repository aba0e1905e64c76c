"""What the session layer offers to the parts of a node that speak to other nodes: processes, gateways, administration.

A node has at most one session with each other node (`kernel/cluster/peers.py`). Each service sends and receives
messages of its own in it, as bytes. Messages of one service arrive in the order sent, each at most once, encrypted and
from the node that is named. Between services there is no order, so a large message of one does not delay another.

When a session ends, `lost` is called before anything of the next session is delivered. What was sent and not yet
received is lost then: a service that needs an outcome fails what it had under way.
"""

from __future__ import annotations

from typing import Final, Literal, Protocol, TypeAlias

PROCESSES: Final = 0
"""Messages between processes (`kernel/cluster/remote.py`)."""
GATEWAYS: Final = 1
"""Channels of clients at another node."""
ADMINISTRATION: Final = 2
"""Packages and listings of other nodes."""
MEMBERSHIP: Final = 3
"""Who belongs to the cluster."""
SERVICES: Final = (PROCESSES, GATEWAYS, ADMINISTRATION, MEMBERSHIP)

MAX_MESSAGE: Final = 20 * 1024 * 1024
"""Maximum bytes of a message: fits a blob of 16 MiB and a body. Larger ones are for the service to divide."""

Unsendable: TypeAlias = Literal["offline", "full"]
"""Why a message was not accepted: the node cannot be reached or is unknown, or too much of this service is waiting for
it.
"""


class PeerService(Protocol):
    """One service of this node. No method may raise or block; each may call `PeersPort.send`."""

    def receive(self, node: str, body: bytes) -> None:
        """A message of another node. The sender may send more once this has returned."""

    def up(self, node: str) -> None:
        """A session with the node has begun."""

    def lost(self, node: str) -> None:
        """The session has ended, or none could be made for what was sent: all that was sent and not received is lost.
        Never called from within `send`. Until it is called, `send` refuses messages as "offline".
        """

    def room(self, node: str) -> None:
        """There is room again after `send` returned "full". Called once for any number of refusals."""


class PeersPort(Protocol):
    """The other nodes, as services see them (`kernel/cluster/peers.py`). No method blocks."""

    def register(self, service: int, handler: PeerService) -> None:
        """Set what handles a service, once, before the first session. Messages of other services are dropped and
        logged.
        """

    def send(self, node: str, service: int, body: bytes, *, must: bool = False) -> Unsendable | None:
        """Send a message, or queue it. Without a session one is begun, and the message waits for it.

        Args:
            node: the receiver.
            service: one of `SERVICES`.
            body: at most `MAX_MESSAGE` bytes.
            must: accept the message although the queue is full, since its loss would leave something undecided, such
                as an answer. A node that lets twice the limit accumulate loses its session instead.

        Returns:
            None if it was accepted: it is delivered, or `lost` is called. Otherwise it was not sent.

        Raises:
            MessageTooLarge: it is over `MAX_MESSAGE`.
        """

    def connect(self, node: str) -> Literal["offline"] | None:
        """Begin a session with a node unless there is one: `up` tells when it is there, `lost` that it failed. Returns
        "offline" if it cannot be tried now.
        """

    def is_up(self, node: str) -> bool:
        """Whether there is a session with the node."""

    def nodes(self) -> list[str]:
        """Nodes with a session."""

    def forget(self, node: str) -> None:
        """End the session with a node and discard its key, since it was expelled or its key has changed. What is sent
        to it afterwards is checked against `key_of` again.
        """
