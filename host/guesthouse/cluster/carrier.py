"""Carries frames between nodes over NATS."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Final, Literal

from nats.aio.msg import Msg

from guesthouse.cluster.nats_connection import MOST_PENDING_BYTES, NatsConnection
from guesthouse.core.ports import Incoming

MOST_FRAME_BYTES: Final = 1024 * 1024
"""The longest frame, if the NATS server allows it: what most are configured for."""
LEAST_FRAME_BYTES: Final = 16 * 1024
"""What is taken for the longest frame of a server that says less, which then cuts connections."""
_ROOM_SECONDS: Final = 0.005


class NatsCarrier:
    """A `Transport` over NATS: each node listens on a subject of its own, that of its cluster and name.

    Args:
        connection: to NATS; not entered yet.
        cluster_id: in hexadecimal.
        node: this node's name.
    """

    def __init__(self, connection: NatsConnection, cluster_id: str, node: str) -> None:
        self._connection = connection
        self._cluster_id = cluster_id
        self._subjects: dict[str, str] = {}
        self._incoming: Incoming | None = None
        self._waits = False
        self.on_room: Callable[[], None] = lambda: None
        """Called when frames are taken again after `send` returned "full"."""
        self.dropped = 0
        """Frames that the node had no room for."""
        connection.handle(self._subject(node), self._receive)

    @property
    def frame_bytes(self) -> int:
        """The longest frame that the server takes."""
        return max(LEAST_FRAME_BYTES, min(self._connection.max_payload or MOST_FRAME_BYTES, MOST_FRAME_BYTES))

    def listen(self, incoming: Incoming) -> None:
        """Pass frames that arrive for this node to a function."""
        self._incoming = incoming

    def send(self, node: str, frame: bytes) -> Literal["offline", "full"] | None:
        """See `Transport`."""
        refusal = self._connection.publish(self._subject(node), frame)
        if refusal == "full" and not self._waits:
            self._waits = True
            self._look_for_room()
        return refusal

    def forget(self, node: str) -> None:
        """A node is no member any more."""
        self._subjects.pop(node, None)

    def _look_for_room(self) -> None:
        """The client does not tell when it has written what waits."""
        if self._connection.pending_bytes > MOST_PENDING_BYTES // 2:
            asyncio.get_running_loop().call_later(_ROOM_SECONDS, self._look_for_room)
            return
        self._waits = False
        self.on_room()

    def _subject(self, node: str) -> str:
        """Names have dots, which NATS takes for levels, and may be longer than it allows."""
        found = self._subjects.get(node)
        if found is None:
            digest = hashlib.sha256(node.encode()).hexdigest()[:32]
            found = self._subjects[node] = f"{subject_prefix(self._cluster_id)}.node.{digest}"
        return found

    def _receive(self, message: Msg) -> None:
        if self._incoming is None or self._incoming(message.data) is not None:
            self.dropped += 1


def subject_prefix(cluster_id: str) -> str:
    """What the subjects of a cluster begin with."""
    return f"guesthouse.{cluster_id}"
