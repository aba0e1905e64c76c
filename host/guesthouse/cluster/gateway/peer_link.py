"""What goes to one other node: the messages of an iteration of the loop together, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from guesthouse.cluster.gateway.gateway_messages import (
    BODY_BYTES,
    CHANNEL_SIZE,
    MOST_CHANNELS,
    MOST_MESSAGES,
    Message,
    RelayPush,
    encode,
    size_of,
)
from guesthouse.kernel.cluster.services import GATEWAYS, PeersPort

MOST_WAITING: Final = 128 * 1024 * 1024
"""Bytes that a node may leave waiting; the session with one that takes nothing for so long is ended."""


class PeerLink:
    """The way to one node.

    What waits here is bounded by what sends it: pushes by the credit of their channels, as those in sockets' buffers
    are; messages of clients because their sockets are not read while anything waits (`is_held_up`). What the node has
    asked for is bounded by `MOST_WAITING` alone: it could ask without end and take no answer.

    Args:
        node: its name.
        peers: sends.
        call_soon: schedules a callback for the loop's next iteration.
        overrun: called when more than `MOST_WAITING` waits: the node is to be given up.
    """

    def __init__(
        self,
        node: str,
        peers: PeersPort,
        call_soon: Callable[[Callable[[], None]], Any],
        overrun: Callable[[], None],
    ) -> None:
        self.node = node
        self._overrun = overrun
        self._peers = peers
        self._call_soon = call_soon
        self._batch: list[Message] = []
        self._size = 0
        self._scheduled = False
        self._waiting: deque[bytes] = deque()
        self.waiting_bytes = 0
        """What the node does not take yet."""
        self.over = False

    def send(self, message: Message) -> None:
        """Send a message, in this iteration or the next."""
        if self.over:
            return
        batch = self._batch
        batch.append(message)
        self._size += size_of(message)
        if self._size >= BODY_BYTES or len(batch) == MOST_MESSAGES:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            self._call_soon(self.flush)

    def push(self, channel_id: int, frame: bytes) -> None:
        """Send a push. One that has the very frame of the message before becomes one message with that."""
        batch = self._batch
        if batch:
            last = batch[-1]
            if type(last) is RelayPush and last.frame is frame and len(last.channel_ids) < MOST_CHANNELS:
                last.channel_ids.append(channel_id)
                self._size += CHANNEL_SIZE
                return
        self.send(RelayPush([channel_id], frame))

    def flush(self) -> None:
        """Send what was collected."""
        self._scheduled = False
        batch = self._batch
        if not batch or self.over:
            return
        self._batch, self._size = [], 0
        body = encode(batch)
        if self._waiting or self._peers.send(self.node, GATEWAYS, body) is not None:
            self._waiting.append(body)
            self.waiting_bytes += len(body)
            if self.waiting_bytes > MOST_WAITING:
                self.end()
                self._overrun()

    @property
    def is_held_up(self) -> bool:
        """Whether the node takes no more for now."""
        return bool(self._waiting)

    def room(self) -> bool:
        """The node takes more. Returns whether it has taken all."""
        waiting = self._waiting
        while waiting:
            if self._peers.send(self.node, GATEWAYS, waiting[0]) is not None:
                return False
            self.waiting_bytes -= len(waiting.popleft())
        return True

    def end(self) -> None:
        """The node is gone: what waits is lost."""
        self.over = True
        self._batch = []
        self._waiting.clear()
        self.waiting_bytes = 0
