"""Sends the frames of sessions, as far as the credit of other nodes and the room of the carrier allow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Final, Literal

from guesthouse.core.ports import Transport
from guesthouse.core.turn import TURN_SECONDS
from guesthouse.kernel.cluster.arrivals import EventLoop
from guesthouse.kernel.cluster.peer_session import FRAME_COST, RETURN_BYTES, PeerSession
from guesthouse.kernel.cluster.peer_traffic import PeerTraffic
from guesthouse.kernel.cluster.sealing import MORE, OVERHEAD
from guesthouse.kernel.cluster.session_messages import CONTROL, Goodbye, ReturnedCredit, encode

PIECE_BYTES: Final = 128 * 1024
"""Larger messages are sent in frames of this size, or what the carrier takes."""


class FrameSender:
    """Seals and sends. A frame that the carrier has no room for is held until it has, and the session's others wait.

    Args:
        carrier: takes frames.
        loop: the event loop.
        unreachable: called when the carrier cannot reach the node of a session, which ends.
        room: called with a service that may send again in a session.
        traffic: counts what is sent.
    """

    def __init__(
        self,
        carrier: Transport,
        loop: EventLoop,
        unreachable: Callable[[PeerSession], None],
        room: Callable[[int, str], None],
        traffic: PeerTraffic,
    ) -> None:
        self._carrier = carrier
        self._loop = loop
        self._unreachable = unreachable
        self._room = room
        self._traffic = traffic
        self._held: dict[PeerSession, None] = {}

    def piece_of(self, session: PeerSession) -> int:
        """Maximum bytes of a message in one frame, as the carrier and the other node have it now."""
        return min(PIECE_BYTES, self._carrier.frame_bytes - OVERHEAD, session.agreed.window // 4)

    def send(self, session: PeerSession, service: int, body: bytes) -> Literal["offline", "wait"] | None:
        """Send a message at once, in one frame. "wait" if it has to be queued."""
        cost = len(body) + FRAME_COST
        if session.waiting or session.held is not None or cost > session.credit or len(body) > session.piece:
            return "wait"
        session.credit -= cost
        return self.put(session, service, body)

    def put(self, session: PeerSession, content: int, body: bytes | memoryview) -> Literal["offline"] | None:
        """Seal a frame and give it to the carrier. It has seen it then, so its sequence is used up in any case."""
        frame = session.seal(content, body)
        traffic = self._traffic
        traffic.frames_out += 1
        traffic.bytes_out += len(frame)
        outcome = self._carrier.send(session.node, frame)
        if outcome is None:
            return None
        if outcome == "full":
            session.held = frame
            self._held[session] = None
            return None
        self._unreachable(session)
        return "offline"

    def pump(self, session: PeerSession) -> None:
        """Send what waits, for one turn of the event loop; the rest follows."""
        if not session.pumping and not session.ended:
            self._pump(session)

    def _pump(self, session: PeerSession) -> None:
        session.pumping = False
        waiting = session.waiting
        until = perf_counter() + TURN_SECONDS
        while waiting and session.held is None and not session.ended:
            cost = waiting.next_bytes(session.piece) + FRAME_COST
            if cost > session.credit:
                break
            if perf_counter() > until:
                session.pumping = True
                self._loop.call_soon(partial(self._pump, session))
                break
            session.credit -= cost
            service, body, more = waiting.take(session.piece)
            self.put(session, service | MORE if more else service, body)
        for service in waiting.roomy():
            self._room(service, session.node)

    def return_credit(self, session: PeerSession) -> None:
        """Let the other node send as much as it was processed of it, if that is worth a frame."""
        if session.owed >= RETURN_BYTES and session.held is None and not session.ended:
            owed, session.owed = session.owed, 0
            self.put(session, CONTROL, encode(ReturnedCredit(owed)))

    def say_goodbye(self, session: PeerSession, reason: str, *, stopping: bool = False) -> None:
        """Tell the other node that the session ends, if the carrier takes it now."""
        if session.held is None:
            self._carrier.send(session.node, session.seal(CONTROL, encode(Goodbye(reason, stopping))))

    def held_bytes(self) -> int:
        """Bytes of the frames that are held."""
        return sum(len(session.held) for session in self._held if session.held is not None)

    def release(self, session: PeerSession) -> None:
        """The session has ended."""
        session.held = None
        self._held.pop(session, None)

    def carrier_ready(self) -> None:
        """The carrier may have room again."""
        for session in list(self._held):
            frame = session.held
            if frame is None:
                continue
            outcome = self._carrier.send(session.node, frame)
            if outcome == "full":
                return
            self.release(session)
            if outcome == "offline":
                self._unreachable(session)
            else:
                self.return_credit(session)
                self.pump(session)
