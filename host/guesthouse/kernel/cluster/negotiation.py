"""Makes sessions: which node begins, and when one is there.

If both nodes begin, the Hello of that with the lower name counts. A session that another node begins is not used, and
ends no other, before a frame of that node has proven it: a Hello may be an old one that the carrier repeats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from guesthouse.core.ports import Transport
from guesthouse.kernel.cluster.arrivals import EventLoop
from guesthouse.kernel.cluster.greeter import Greeter
from guesthouse.kernel.cluster.handshake import HELLO, WELCOME, Agreed, BadHandshake
from guesthouse.kernel.cluster.handshake import digest as digest_of
from guesthouse.kernel.cluster.other_node import MOST_UNPROVEN, Attempt, OtherNode, Unproven
from guesthouse.kernel.cluster.peer_session import PeerSession

ATTEMPT_SECONDS: Final = 2.0
"""A Hello that is not answered in this time has failed; it is repeated meanwhile."""
REPEAT_SECONDS: Final = 0.5
PAUSE_SECONDS: Final = 1.0
"""After a failed attempt, what is sent to that node is refused at once."""


class Negotiation:
    """The other nodes that something is known of, and their sessions, proven and not.

    Args:
        node: this node's name.
        greeter: makes and checks handshakes.
        carrier: sends them.
        loop: the event loop.
        frame: processes a frame of a session.
        begun: called with a node whose session is there, in its place of that before.
    """

    def __init__(
        self,
        node: str,
        greeter: Greeter,
        carrier: Transport,
        loop: EventLoop,
        frame: Callable[[PeerSession, bytes], None],
        begun: Callable[[OtherNode, PeerSession], None],
    ) -> None:
        self._node = node
        self._greeter = greeter
        self._carrier = carrier
        self._loop = loop
        self._frame = frame
        self._begun = begun
        self.others: dict[str, OtherNode] = {}
        self.sessions: dict[bytes, PeerSession] = {}
        """By the ids that frames for this node name."""

    def begin(self, node: str, *, wanted: bool) -> OtherNode | Literal["offline"]:
        """Begin a session, unless one is being made; "offline" if it cannot be tried now.

        Args:
            node: the other node.
            wanted: somebody is to be told if it fails.
        """
        now, other = self._loop.time(), self.others.get(node)
        if other is not None and (other.losing or now - other.failed_at < PAUSE_SECONDS):
            return "offline"
        if other is None or other.attempt is None:
            initiator = self._greeter.begin(node, now) if self._greeter.knows(node) else None
            if initiator is None or self._carrier.send(node, initiator.frame) == "offline":
                return "offline"
            other = self._other(node)
            other.attempt = Attempt(initiator, now, wanted=wanted, sent_at=now)
            other.reconnect = False
        elif wanted:
            other.attempt.wanted = True
        return other

    def handshake(self, frame: bytes) -> None:
        """Process a frame that is of no session.

        Raises:
            BadHandshake: it is not valid.
        """
        kind = frame[0] if frame else 0
        if kind == HELLO:
            self._hello(frame)
        elif kind == WELCOME:
            self._welcome(frame)
        else:
            raise BadHandshake("it is no frame of a version that this node speaks")

    def _hello(self, frame: bytes) -> None:
        hello = self._greeter.read_hello(frame)
        sender, now, digest = hello.sender, self._loop.time(), digest_of(frame)
        other = self.others.get(sender)
        if other is not None:
            for unproven in other.unproven:
                if unproven.hello == digest:  # it was repeated, since the answer may be lost
                    self._carrier.send(sender, unproven.welcome)
                    return
            if other.attempt is not None and self._node < sender:
                return
        welcome, agreed = self._greeter.answer(hello, frame, now)
        other = self._other(sender)
        if len(other.unproven) == MOST_UNPROVEN:
            self.discard(other.unproven.pop(0).session)
        other.unproven.append(Unproven(digest, welcome, self._session(other, agreed), now))
        self._carrier.send(sender, welcome)

    def _welcome(self, frame: bytes) -> None:
        welcome = self._greeter.read_welcome(frame)
        other = self.others.get(welcome.sender)
        if other is None or other.attempt is None or other.attempt.initiator.digest != welcome.hello:
            return  # it came again, or too late
        agreed = self._greeter.agree(other.attempt.initiator, welcome, frame, self._loop.time())
        self.prove(self._session(other, agreed))

    def prove(self, session: PeerSession) -> None:
        """The other node has this session, too: it is the one from now on."""
        other = self.others[session.node]
        for unproven in other.unproven:
            if unproven.session is not session:
                self.discard(unproven.session)
        other.unproven.clear()
        other.attempt, other.reconnect = None, False
        session.proven, session.heard_at = True, self._loop.time()
        self._begun(other, session)

    def withdraw(self, session: PeerSession) -> None:
        """Discard a session that is not proven."""
        other = self.others[session.node]
        other.unproven = [each for each in other.unproven if each.session is not session]
        self.discard(session)

    def discard(self, session: PeerSession) -> None:
        """A session is over: its frames are of no session from now on."""
        session.ended = True
        session.lane.clear()
        self.sessions.pop(session.agreed.receiving_id, None)

    def drop_attempts(self, other: OtherNode) -> None:
        """Make no session with a node, unless one is begun again."""
        for unproven in list(other.unproven):
            self.withdraw(unproven.session)
        other.attempt, other.reconnect = None, False

    def look(self, other: OtherNode, now: float, pause: float) -> bool:
        """Look at a node without a session: repeat its Hello, or begin.

        Args:
            other: the node.
            now: seconds of the monotonic clock.
            pause: of these, since the last look, this node did not run.

        Returns:
            Whether an attempt has failed that somebody is to be told of.
        """
        for unproven in list(other.unproven):
            unproven.since += pause
            if now - unproven.since > ATTEMPT_SECONDS:
                self.withdraw(unproven.session)
        attempt = other.attempt
        if attempt is None:
            if other.reconnect and not other.losing:
                other.reconnect = False
                self.begin(other.node, wanted=False)
            return False
        attempt.since += pause
        if now - attempt.since > ATTEMPT_SECONDS:
            other.attempt, other.failed_at = None, now
            return attempt.wanted or bool(other.waiting)
        if now - attempt.sent_at >= REPEAT_SECONDS:
            attempt.sent_at = now
            self._carrier.send(other.node, attempt.initiator.frame)
        return False

    def forget_idle(self, now: float) -> None:
        """Forget the nodes of which there is nothing to remember."""
        for other in list(self.others.values()):
            if other.idle and now - other.failed_at >= PAUSE_SECONDS:
                del self.others[other.node]

    def _other(self, node: str) -> OtherNode:
        other = self.others.get(node)
        if other is None:
            other = self.others[node] = OtherNode(node)
        return other

    def _session(self, other: OtherNode, agreed: Agreed) -> PeerSession:
        session = PeerSession(agreed, other.waiting, self._frame, self._loop.time())
        self.sessions[agreed.receiving_id] = session
        return session
