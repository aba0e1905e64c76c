"""Sessions with other nodes, over a carrier that is not trusted.

The carrier sees names of nodes, sizes and times, and can lose what it likes; it cannot read, alter, forge, repeat or
reorder a message. A frame that was altered, forged or sent before is dropped, and its session goes on. When a frame is
missing, the session ends at both nodes, whose services are told (`lost`), and a new one is begun.

A node pings after a while in which it sent nothing, and a session ends after `SILENCE_SECONDS` in which nothing was
heard. If this node itself did not run meanwhile, that time does not count.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guesthouse.core.errors import GuesthouseError
from guesthouse.core.ports import LogPort, Transport
from guesthouse.core.printable import number_of
from guesthouse.core.throttled_log import ThrottledLog
from guesthouse.core.timing.clock import Cancellable
from guesthouse.kernel.cluster.announcer import Announcer
from guesthouse.kernel.cluster.arrivals import Arrivals, EventLoop, Lane
from guesthouse.kernel.cluster.frame_sender import FrameSender
from guesthouse.kernel.cluster.greeter import Greeter, KeyOf
from guesthouse.kernel.cluster.handshake import BadHandshake
from guesthouse.kernel.cluster.negotiation import Negotiation
from guesthouse.kernel.cluster.other_node import OtherNode
from guesthouse.kernel.cluster.peer_session import (
    RETURN_BYTES,
    FrameDropped,
    PeerSession,
    SessionBroken,
)
from guesthouse.kernel.cluster.peer_traffic import DropReason, PeerTraffic
from guesthouse.kernel.cluster.sealing import session_of
from guesthouse.kernel.cluster.send_queues import QUEUE_BYTES
from guesthouse.kernel.cluster.services import MAX_MESSAGE, PeerService, Unsendable
from guesthouse.kernel.cluster.session_messages import (
    CONTROL,
    PING,
    Goodbye,
    PeerPing,
    ReturnedCredit,
    decode,
)

SOURCE: Final = "remote"
"""Source of log lines about other nodes."""
SILENCE_SECONDS: Final = 2.0
"""A session in which nothing was heard for so long is lost. Not a setting: nodes that ping less often would lose
sessions with the others.
"""
TICK_SECONDS: Final = 0.25
"""Between looks at all sessions. One in which nothing was sent since the last look is pinged in."""
_HANDSHAKE_BYTES: Final = 256 * 1024
"""Of Hellos and Welcomes that wait."""


class MessageTooLarge(GuesthouseError):
    """A service sent a message of more than `MAX_MESSAGE` bytes."""


class Peers:
    """All other nodes. Implements `services.PeersPort`. Nothing in it blocks. Needs an event loop; `close` stops its
    timer.

    Args:
        node: this node's name.
        key: its key.
        key_of: returns another node's public key by name; None for an unknown node.
        carrier: sends frames; those that arrive are given to `incoming`.
        log: for sessions that end and frames that are dropped.
        cluster: the id of the cluster, which must be that of other nodes; empty without one.
        loop: the event loop, by default the running one.
    """

    def __init__(
        self,
        node: str,
        key: Ed25519PrivateKey,
        key_of: KeyOf,
        carrier: Transport,
        log: LogPort,
        *,
        cluster: bytes = b"",
        loop: EventLoop | None = None,
    ) -> None:
        self._log = log
        self._loop = loop or asyncio.get_running_loop()
        self._throttled_log = ThrottledLog(log, self._loop.time)
        self._services = Announcer(self._loop, self._throttled_log, SOURCE)
        self.traffic = PeerTraffic()
        self._sender = FrameSender(carrier, self._loop, self._unreachable, self._room, self.traffic)
        greeter = Greeter(node, key, key_of, cluster)
        self._negotiation = Negotiation(node, greeter, carrier, self._loop, self._frame, self._begun)
        self._others = self._negotiation.others
        self._arrivals = Arrivals(self._loop)
        self._handshakes = Lane(self._handshake, _HANDSHAKE_BYTES)
        self._looked_at = self._loop.time()
        self._timer: Cancellable | None = None
        self._closed = False

    # --- for services

    def register(self, service: int, handler: PeerService) -> None:
        """See `PeersPort`."""
        self._services.register(service, handler)

    def send(self, node: str, service: int, body: bytes, *, must: bool = False) -> Unsendable | None:
        """See `PeersPort`."""
        if len(body) > MAX_MESSAGE:
            raise MessageTooLarge(f"it is over the limit of {MAX_MESSAGE} bytes: {len(body)} bytes")
        other = self._others.get(node)
        if other is None or other.session is None or other.losing:
            begun = self._begin(node, wanted=True)
            if begun == "offline":
                return begun
            other = begun
        else:
            outcome = self._sender.send(other.session, service, body)
            if outcome != "wait":
                return outcome
        return self._queue(other, service, body, must=must)

    def connect(self, node: str) -> Literal["offline"] | None:
        """See `PeersPort`."""
        return "offline" if not self.is_up(node) and self._begin(node, wanted=True) == "offline" else None

    def is_up(self, node: str) -> bool:
        """See `PeersPort`."""
        other = self._others.get(node)
        return other is not None and other.session is not None

    def nodes(self) -> list[str]:
        """See `PeersPort`."""
        return [node for node, other in self._others.items() if other.session is not None]

    def forget(self, node: str) -> None:
        """See `PeersPort`."""
        other = self._others.get(node)
        if other is None:
            return
        wanted = other.attempt is not None and other.attempt.wanted
        self._negotiation.drop_attempts(other)
        if other.session is not None:
            self._end(other.session, "it is not known any more", reconnect=False)
        elif other.waiting or wanted:
            self._lose(other)

    def waiting_bytes(self) -> int:
        """Bytes that wait for other nodes to take them."""
        return self._sender.held_bytes() + sum(other.waiting.total for other in self._others.values())

    # --- for the carrier

    def incoming(self, frame: bytes) -> Literal["full"] | None:
        """Receive a frame for this node. What is invalid is dropped and logged. Must not be called from within
        `Transport.send`.

        Returns:
            "full" if too many of that session are waiting: the carrier should retry later; otherwise the frame is lost.
        """
        if self._closed:
            return None
        traffic = self.traffic
        traffic.frames_in += 1
        traffic.bytes_in += len(frame)
        name = session_of(frame)
        if name is None:
            lane = self._handshakes
        else:
            session = self._negotiation.sessions.get(name)
            if session is None:
                self._dropped("no-session", "it is of no session of this node")
                return None
            lane = session.lane
        refusal = self._arrivals.add(lane, frame)
        if refusal is not None:
            self._dropped("full", "too many are waiting", "a frame was refused")
        return refusal

    def carrier_ready(self) -> None:
        """The carrier has room again after it returned "full"."""
        self._sender.carrier_ready()

    def close(self) -> None:
        """The node stops or leaves its cluster: end all sessions, and tell other nodes and services. Idempotent."""
        self._closed = True
        for other in self._others.values():
            if other.session is not None:
                self._sender.say_goodbye(other.session, "it is being stopped", stopping=True)
        for session in list(self._negotiation.sessions.values()):
            self._sender.release(session)
            self._negotiation.discard(session)
        lost = [
            node for node, other in self._others.items() if other.session or other.attempt or other.waiting
        ]
        self._others.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._services.tell()
        for node in lost:
            self._services.lost(node)

    # --- sending

    def _queue(self, other: OtherNode, service: int, body: bytes, *, must: bool) -> Unsendable | None:
        size = other.waiting.size(service)
        if size >= QUEUE_BYTES and not must:
            other.waiting.refuse(service)
            return "full"
        if size >= 2 * QUEUE_BYTES:
            if other.session is not None:
                self._end(other.session, "it does not take what is sent to it")
            return "offline"
        other.waiting.add(service, body)
        if other.session is not None:
            self._sender.pump(other.session)
        return None

    def _room(self, service: int, node: str) -> None:
        self._services.later(partial(self._services.room, service, node))

    def _unreachable(self, session: PeerSession) -> None:
        self._end(session, "it cannot be reached", goodbye=False)

    # --- sessions begin and end

    def _begin(self, node: str, *, wanted: bool) -> OtherNode | Literal["offline"]:
        if self._closed:
            return "offline"
        begun = self._negotiation.begin(node, wanted=wanted)
        self._start_timer()
        return begun

    def _handshake(self, frame: bytes) -> None:
        try:
            self._negotiation.handshake(frame)
        except BadHandshake as error:
            self._dropped("handshake", str(error))
        self._start_timer()

    def _begun(self, other: OtherNode, session: PeerSession) -> None:
        if other.session is not None:
            self._end(other.session, "it began another", reconnect=False, goodbye=False)
        other.session, session.piece = session, self._sender.piece_of(session)
        self.traffic.sessions += 1
        self._services.later(partial(self._services.up, other.node))
        self._log.write(SOURCE, "debug", f"a session with {other.node} has begun")
        self._sender.pump(session)
        if session.agreed.sealing.sequence == 0 and not session.ended:
            self._sender.put(session, CONTROL, PING)  # the first frame proves the session

    def _end(self, session: PeerSession, why: str, *, reconnect: bool = True, goodbye: bool = True) -> None:
        """End a proven session."""
        if session.ended:
            return
        if goodbye:
            self._sender.say_goodbye(session, why)
        self._sender.release(session)
        self._negotiation.discard(session)
        other = self._others[session.node]
        other.session, other.reconnect = None, reconnect
        unsent = self._lose(other)
        lost = (
            f", and {number_of(unsent, 'message to it was', 'messages to it were')} discarded"
            if unsent
            else ""
        )
        text = f"the session with {session.node} has ended{lost}: {why}"
        self._throttled_log.say(SOURCE, f"{session.node} {why.partition(':')[0]}", text)

    def _lose(self, other: OtherNode) -> int:
        """Discard what waits for a node, and tell its loss. Returns how many messages that were."""
        unsent = other.waiting.clear()
        other.losing += 1
        self._services.later(partial(self._tell_lost, other))
        return unsent

    def _tell_lost(self, other: OtherNode) -> None:
        other.losing -= 1
        self._services.lost(other.node)

    # --- receiving

    def _frame(self, session: PeerSession, frame: bytes) -> None:
        try:
            service, body = session.open(frame)
        except FrameDropped as error:
            self._dropped(error.reason, str(error))
            return
        except SessionBroken as error:
            if session.proven:
                self._end(session, str(error))
            else:
                self._negotiation.withdraw(session)
            return
        if not session.proven:
            self._negotiation.prove(session)
        if body is not None:
            self._message(session, service, body)
        if session.owed >= RETURN_BYTES:
            self._sender.return_credit(session)

    def _message(self, session: PeerSession, service: int, body: bytes) -> None:
        if self._services.anything:
            self._services.tell()
        if session.ended:
            return
        if service == CONTROL:
            self._control(session, body)
        elif not self._services.receive(service, session.node, body):
            text = f"{session.node} sent it to a service that this node does not have: {service}"
            self._dropped("no-service", text)

    def _control(self, session: PeerSession, body: bytes) -> None:
        message = decode(body)
        if isinstance(message, ReturnedCredit):
            session.credit = min(session.credit + message.size, session.agreed.window)
            self._sender.pump(session)
        elif isinstance(message, Goodbye):
            why = f"the other node ended it: {message.reason}"
            self._end(session, why, reconnect=not message.stopping, goodbye=False)
        elif not isinstance(message, PeerPing):
            text = f"{session.node} sent a control message that this node does not know"
            self._dropped("unknown-control", text)

    def _dropped(
        self, reason: DropReason, why: str, what: str = "a frame of another node was dropped"
    ) -> None:
        """Count it and log it, throttled by the text before the first colon, which the sender cannot vary."""
        self.traffic.dropped[reason] += 1
        self._throttled_log.say(SOURCE, why.partition(":")[0], f"{what}: {why}")

    # --- time

    def _start_timer(self) -> None:
        if self._timer is None and self._others and not self._closed:
            self._looked_at = self._loop.time()
            self._timer = self._loop.call_later(TICK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        late = now - self._looked_at - TICK_SECONDS
        pause = late if late > TICK_SECONDS else 0.0
        self.carrier_ready()
        for other in list(self._others.values()):
            if self._negotiation.look(other, now, pause):
                unsent = self._lose(other)
                lost = number_of(unsent, "message to it was", "messages to it were")
                text = f"{other.node} does not answer; {lost} discarded"
                self._throttled_log.say(SOURCE, f"{other.node} does not answer", text)
            elif other.session is not None:
                self._look_at(other.session, now, pause)
        self._negotiation.forget_idle(now)
        self._start_timer()

    def _look_at(self, session: PeerSession, now: float, pause: float) -> None:
        sent, silent = session.look(now, pause)
        if silent > SILENCE_SECONDS:
            self._end(session, f"nothing was heard for {SILENCE_SECONDS:.0f} s")
        elif not sent and session.held is None:
            self._sender.put(session, CONTROL, PING)
