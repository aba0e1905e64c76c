"""One session with another node: its keys, its credit, and the messages that arrive in parts. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from guesthouse.core.errors import GuesthouseError
from guesthouse.kernel.cluster.arrivals import Lane
from guesthouse.kernel.cluster.handshake import WINDOW, Agreed
from guesthouse.kernel.cluster.peer_traffic import DropReason
from guesthouse.kernel.cluster.sealing import MORE, OVERHEAD, sequence_of
from guesthouse.kernel.cluster.send_queues import MESSAGE_OVERHEAD, SendQueues
from guesthouse.kernel.cluster.services import MAX_MESSAGE
from guesthouse.kernel.cluster.session_messages import CONTROL

RETURN_BYTES: Final = WINDOW // 4
"""Credit is returned when so much is owed."""
FRAME_COST: Final = OVERHEAD + MESSAGE_OVERHEAD
"""Credit that a frame takes besides its body."""
MOST_IN_PARTS: Final = 2 * MAX_MESSAGE
"""Bytes of all messages of which more is to come."""
_CONTROL_BYTES: Final = 256 * 1024
"""Of frames without credit that may wait."""


class FrameDropped(GuesthouseError):
    """A frame is not taken; the session goes on. The message says why, and no sender can vary it.

    Args:
        reason: by which it is counted.
        text: the message.
    """

    def __init__(self, reason: DropReason, text: str) -> None:
        super().__init__(text)
        self.reason: Final = reason


class SessionBroken(GuesthouseError):
    """The session cannot go on. The message is the reason."""


class PeerSession:
    """A session, or one that is not proven yet.

    Args:
        agreed: the result of the handshake.
        waiting: what waits for the other node.
        take: processes a frame that arrived in it.
        now: seconds of the monotonic clock.
    """

    __slots__ = (
        *("_counted", "_part_bytes", "_parts", "_sealed"),
        *("agreed", "credit", "ended", "heard_at", "held", "lane", "node"),
        *("owed", "piece", "proven", "pumping", "waiting"),
    )

    def __init__(
        self,
        agreed: Agreed,
        waiting: SendQueues,
        take: Callable[[PeerSession, bytes], None],
        now: float,
    ) -> None:
        self.agreed: Final = agreed
        self.node: Final = agreed.node
        self.waiting: Final = waiting
        self.lane: Final = Lane(lambda frame: take(self, frame), WINDOW + _CONTROL_BYTES)
        self.credit = agreed.window
        """Bytes that may be sent."""
        self.owed = 0
        """Bytes that were processed and not returned as credit."""
        self.held: bytes | None = None
        """A frame that the carrier had no room for."""
        self.heard_at = now
        self.proven = False
        """Whether the other node has it too."""
        self.ended = False
        self.piece = 0
        """Larger messages are sent in parts of this size; set when the session is there."""
        self.pumping = False
        """Whether more of the outbox is sent in the next iteration."""
        self._parts: dict[int, bytearray] = {}
        self._part_bytes = self._counted = self._sealed = 0

    def seal(self, content: int, body: bytes | memoryview) -> bytes:
        """The next frame to send."""
        return self.agreed.sealing.seal(self.agreed.sending_id, content, body)

    def open(self, frame: bytes) -> tuple[int, bytes | None]:
        """Open a frame.

        Returns:
            Its service, and the message that it ends; None if more of it is to come.

        Raises:
            FrameDropped: it is forged, altered, or was received before.
            SessionBroken: one is missing before it, or the other node sends too large a message.
        """
        opening, node = self.agreed.opening, self.agreed.node
        sequence = sequence_of(frame)
        if sequence != opening.sequence:
            if sequence < opening.sequence:
                raise FrameDropped("repeated", f"{node} sent it before")
            if opening.is_genuine(frame):
                raise SessionBroken("frames were lost on the way")
            raise FrameDropped("altered", f"it was not sealed by {node}")
        opened = opening.open(frame)
        if opened is None:
            raise FrameDropped("altered", f"it was not sealed by {node}")
        content, body = opened
        service = content & ~MORE
        if service != CONTROL:
            self.owed += len(frame) + MESSAGE_OVERHEAD
        if content == service and service not in self._parts:
            return service, body
        return service, self._joined(service, body, more=content != service)

    def _joined(self, service: int, body: bytes, *, more: bool) -> bytes | None:
        part = self._parts.setdefault(service, bytearray())
        part += body
        self._part_bytes += len(body)
        if len(part) > MAX_MESSAGE or self._part_bytes > MOST_IN_PARTS:
            raise SessionBroken(
                f"it sent a message over the limit of {MAX_MESSAGE} bytes, or too many at once"
            )
        if more:
            return None
        del self._parts[service]
        self._part_bytes -= len(part)
        return bytes(part)

    def look(self, now: float, pause: float) -> tuple[bool, float]:
        """Look at the session once in a while.

        Args:
            now: seconds of the monotonic clock.
            pause: of these, since the last look, this node did not run.

        Returns:
            Whether anything was sent since the last look, and how long nothing has been heard.
        """
        sealed, opened = self.agreed.sealing.sequence, self.agreed.opening.sequence
        sent = sealed != self._sealed
        self._sealed = sealed
        if opened != self._counted:
            self._counted, self.heard_at = opened, now
        else:
            self.heard_at += pause
        return sent, now - self.heard_at
