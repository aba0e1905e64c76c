"""One session of `guesthouse.v1` as its client has it: counts, what is kept, what is due when. Pure: messages and the
time come in, messages go out; sockets and clocks are somebody else's. `docs/resume.md` has the protocol.

    NEW ──hello──▶ OPENING ──opened──▶ LIVE ──cut──▶ AWAY ──hello──▶ RESUMING ──resumed──▶ LIVE
                      │                                ▲                 │
                      └──cut──▶ NEW                    └───────cut───────┘

Messages of the process are *arrived* when they came by the socket, and *consumed* once the client's user took them. The
node is told of what is consumed: what is not it keeps, so that the memory of a client that is slow is bounded by the
node's outbox. Only when the session is resumed what has arrived is said to be here, for it does not come again.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Protocol, TypeAlias

from ._control import ESCAPE, MAX_COUNT, Message, Opened, control, count_of, escaped, read_control
from ._kept import Kept, cost_of
from .errors import ProtocolViolated


class Cipher(Protocol):
    """What seals the payloads of an encrypted channel, and opens them."""

    def seal(self, message: Message) -> bytes:
        """A payload as it is sent."""

    def open(self, message: Message) -> bytes:
        """A payload that came.

        Raises:
            ProtocolViolated: it is not sealed.
        """


class Phase(Enum):
    """Where a session is in its life."""

    NEW = "new"
    OPENING = "opening"
    LIVE = "live"
    AWAY = "away"
    RESUMING = "resuming"


class Due(Enum):
    """What `Session.tick` finds to be due."""

    NOTHING = "nothing"
    PING = "ping"
    """A WebSocket ping, on a plain channel."""
    GIVE_UP = "give up"
    """The socket is dead."""


@dataclass(frozen=True, slots=True)
class Live:
    """The session has a socket."""

    resumed: bool


@dataclass(frozen=True, slots=True)
class Missing:
    """So many messages of the process do not come."""

    count: int


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """The node's answer to a new token: when it expires (Unix seconds), or why it is not taken."""

    expiration: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The node has received more than before."""


Event: TypeAlias = Live | Missing | TokenAnswer | Acknowledged

_ACKNOWLEDGED: Final = Acknowledged()


class Session:
    """A session of a resumable channel.

    Args:
        ping_seconds: after so much silence the node is asked whether it is there.
        pong_seconds: it may take so long to answer.
    """

    resumable: Final = True

    def __init__(self, ping_seconds: float, pong_seconds: float) -> None:
        self.phase = Phase.NEW
        self.kept = Kept()
        self.cipher: Cipher | None = None
        self.opened: Opened | None = None
        self.arrived = 0
        self.consumed = 0
        self._told = 0
        """Of the node's messages, acknowledged."""
        self._untold_bytes = 0
        self._controls: deque[str] = deque()
        self._ping_seconds = ping_seconds
        self._pong_seconds = pong_seconds
        self._heard = 0.0
        self._pong_by = math.inf
        self._acknowledge_at = math.inf

    @property
    def told(self) -> int:
        """How many messages of the process the node knows to be here."""
        return self._told

    @property
    def progress(self) -> tuple[int, int]:
        """Changes when a payload came, or when the node has acknowledged one."""
        return self.arrived, self.kept.acknowledged

    def hello(self, **fields: object) -> str:
        """The first message on another socket.

        Args:
            fields: those of `open`. Of them `resume` takes the token alone.
        """
        if self.opened is None:
            self.phase = Phase.OPENING
            return control("open", **fields)
        self.phase = Phase.RESUMING
        self._told = max(self._told, self.arrived)  # the node may hear it, and its answer be lost
        token = fields.get("auth_token")
        return control("resume", session=self.opened.key, received=self.arrived, auth_token=token)

    def put(self, message: Message) -> None:
        """Send a message: keep it until the node has it."""
        self.kept.add(message)

    def ask(self, now: float) -> None:
        """Ask the node what it has received, unless it is asked already."""
        if self.phase is Phase.LIVE and self._pong_by == math.inf:
            self._pong_by = now + self._pong_seconds
            self._controls.append(control("ping"))

    def renew(self, token: str) -> None:
        """Move the session to another token."""
        self._controls.append(control("token", auth_token=token))

    def next(self) -> Message | None:
        """What to write to the socket next; None: nothing."""
        if self.phase is not Phase.LIVE:
            return None
        if self._controls:
            return self._controls.popleft()
        entry = self.kept.take()
        if isinstance(entry, int):
            return control("lost", count=entry)
        if entry is None:
            return None
        return escaped(entry) if self.cipher is None else self.cipher.seal(entry)

    def take(self, message: Message, now: float) -> Message | Event | None:
        """A message from the socket: a payload, or what a control message says, if it is of interest.

        Raises:
            ProtocolViolated: it cannot be.
        """
        self._heard = now
        if not isinstance(message, str) or not message.startswith(ESCAPE):
            return self._payload(message)
        if message.startswith(ESCAPE, 1):
            return self._payload(message[1:])
        fields = read_control(message)
        if self.phase is not Phase.LIVE:
            return self._answered(fields)
        match fields["type"]:
            case "ack" | "pong" as kind:
                if kind == "pong":
                    self._pong_by = math.inf
                self.kept.acknowledge(count_of(fields, "received"))
                return _ACKNOWLEDGED
            case "lost":
                return self._missing(count_of(fields, "count", least=1))
            case "token":
                expiration, error = fields.get("expiration"), fields.get("error")
                return TokenAnswer(
                    expiration if type(expiration) is int else None, None if error is None else str(error)
                )
        return None

    def consume(self, message: Message, now: float) -> bool:
        """The user has taken a payload that arrived. Returns whether there is something to write for it, or a new
        deadline.
        """
        self.consumed += 1
        if self.consumed > self._told:
            self._untold_bytes += cost_of(message)
        return self._consumed(now)

    def consume_missing(self, count: int, now: float) -> bool:
        """The user was told of messages that do not come; else as `consume`."""
        self.consumed += count
        return self._consumed(now)

    def forget_arrived(self, count: int) -> None:
        """Throw away the last so many that arrived and were not consumed: while it is without a socket."""
        self.arrived -= count

    def cut(self) -> None:
        """The socket is gone, or given up."""
        self.phase = Phase.NEW if self.opened is None else Phase.AWAY
        self._controls.clear()
        self._acknowledge_at = self._pong_by = math.inf
        self.kept.cut()

    def deadline(self) -> float:
        """When `tick` is to be called, at the latest."""
        if self.phase is not Phase.LIVE:
            return math.inf
        dead = self._pong_by if self._pong_by != math.inf else self._heard + self._ping_seconds
        return min(self._acknowledge_at, dead)

    def tick(self, now: float) -> Due:
        """See what is due. There may be something to write afterwards."""
        if self.phase is not Phase.LIVE:
            return Due.NOTHING
        if now >= self._acknowledge_at:
            self._acknowledge()
        if now >= self._pong_by:
            if self._heard < self._pong_by - self._pong_seconds:
                return Due.GIVE_UP
            self._pong_by = now + self._pong_seconds  # it is there, and has much to say before the pong
        elif now - self._heard >= self._ping_seconds:
            self.ask(now)
        return Due.NOTHING

    def _payload(self, message: Message) -> Message:
        if self.phase is not Phase.LIVE:
            raise ProtocolViolated("the node sent a message before its answer")
        self.arrived += 1
        return message

    def _missing(self, count: int) -> Missing:
        if count > MAX_COUNT - self.arrived:
            raise ProtocolViolated("the node lost more messages than any session has")
        self.arrived += count
        return Missing(count)

    def _answered(self, fields: dict[str, Any]) -> Live:
        resumed = self.phase is Phase.RESUMING
        if fields["type"] != ("resumed" if resumed else "opened"):
            raise ProtocolViolated(f"the node answered with {fields['type']!r}")
        opened = Opened.read(fields)
        if resumed:
            self.kept.resume(count_of(fields, "received"))
        self.opened = opened
        self.phase = Phase.LIVE
        if resumed:  # shows the node that the new key is here
            self._told = max(self._told, self.arrived)
            self._acknowledge()
        return Live(resumed)

    def _consumed(self, now: float) -> bool:
        if self.phase is not Phase.LIVE or self.consumed <= self._told:
            return False
        opened, untold = self.opened, self.consumed - self._told
        if opened is None or untold >= opened.ack_messages or self._untold_bytes >= opened.ack_bytes:
            self._acknowledge()
            return True
        if self._acknowledge_at == math.inf:
            self._acknowledge_at = now + opened.ack_seconds
            return True
        return False

    def _acknowledge(self) -> None:
        self._told = max(self._told, self.consumed)
        self._untold_bytes = 0
        self._acknowledge_at = math.inf
        self._controls.append(control("ack", received=self._told))


class PlainSession:
    """The same of a plain channel, which ends with its socket: nothing is counted, acknowledged or sent again.

    Args:
        kept: what waits to be sent already.
        ping_seconds: after so much silence the node is pinged.
        pong_seconds: it may take so long to answer.
    """

    resumable: Final = False

    def __init__(self, kept: Kept, ping_seconds: float, pong_seconds: float) -> None:
        self.phase = Phase.NEW
        self.kept = kept
        self.cipher: Cipher | None = None
        self.opened: Opened | None = None
        self._ping_seconds = ping_seconds
        self._pong_seconds = pong_seconds
        self._heard = 0.0
        self._pong_by = math.inf

    @property
    def progress(self) -> None:
        """Nothing is acknowledged."""

    def begin(self, now: float) -> None:
        """The channel is open."""
        self.phase = Phase.LIVE
        self._heard = now

    def put(self, message: Message) -> None:
        """Send a message."""
        self.kept.add(message)

    def ask(self, now: float) -> None:
        """A node cannot be asked what it has."""

    def next(self) -> Message | None:
        """What to write to the socket next; None: nothing."""
        entry = self.kept.take() if self.phase is Phase.LIVE else None
        while isinstance(entry, int):  # the node need not know of what was given up
            self.kept.acknowledge(self.kept.written)
            entry = self.kept.take()
        if entry is None:
            return None
        self.kept.acknowledge(self.kept.written)
        return entry if self.cipher is None else self.cipher.seal(entry)

    def take(self, message: Message, now: float) -> Message | Event | None:
        """A message from the socket."""
        self.alive(now)
        return message

    def consume(self, message: Message, now: float) -> bool:
        """The user has taken a message."""
        return False

    def consume_missing(self, count: int, now: float) -> bool:
        """The user was told of messages that do not come."""
        return False

    def cut(self) -> None:
        """The socket is gone."""
        self.phase = Phase.AWAY

    def deadline(self) -> float:
        """When `tick` is to be called, at the latest."""
        if self.phase is not Phase.LIVE:
            return math.inf
        return self._pong_by if self._pong_by != math.inf else self._heard + self._ping_seconds

    def tick(self, now: float) -> Due:
        """See what is due."""
        if self.phase is not Phase.LIVE:
            return Due.NOTHING
        if self._pong_by != math.inf:
            return Due.GIVE_UP if now >= self._pong_by else Due.NOTHING
        if now - self._heard < self._ping_seconds:
            return Due.NOTHING
        self._pong_by = now + self._pong_seconds
        return Due.PING

    def alive(self, now: float) -> None:
        """The node has shown that it is there."""
        self._heard = now
        self._pong_by = math.inf


AnySession: TypeAlias = Session | PlainSession
