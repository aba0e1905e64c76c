"""The gateway's side: another node, whose processes the clients here open channels to.

What that node sends is checked against what it was given: it reaches the channels of its own processes here, within
their credit, and no others.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from msgspec import Struct

from guesthouse.cluster.gateway.announcements import bind
from guesthouse.cluster.gateway.gateway_messages import (
    INBOUND_BYTES,
    Announce,
    ForgetRequest,
    RelayClose,
    RelayedAnswer,
    RelayedRequest,
    RelayLeft,
    RelayPresence,
    RelayPush,
    RelayTaken,
    ToGateway,
    TokenRefused,
    TokenVerified,
    VerifyToken,
    Withdraw,
    size_of,
)
from guesthouse.cluster.gateway.peer_link import PeerLink
from guesthouse.cluster.gateway.process_stand_in import ProcessStandIn
from guesthouse.core.address import ForeignProcess, ProcessId, is_runtime_module
from guesthouse.core.errors import BadProcessId
from guesthouse.core.messages import HttpResponse
from guesthouse.core.ports import Feeder
from guesthouse.http_server import close_codes
from guesthouse.http_server.api.port import payload_problem
from guesthouse.http_server.auth.custom_claims import BadClaims, read_custom_claims
from guesthouse.http_server.auth.tokens import Claims
from guesthouse.http_server.channel.channel import Channel, Notify
from guesthouse.http_server.channel.framing import SharedFrames
from guesthouse.http_server.close_codes import CloseReason, Refusal, is_sendable_code
from guesthouse.http_server.context import Context
from guesthouse.http_server.state.pending_responses import PendingResponses
from guesthouse.http_server.state.relays import ContentRequest
from guesthouse.http_server.state.relays import Verified as WhenVerified
from guesthouse.link.credit import push_cost

MOST_PROCESSES: Final = 4096
"""Processes that a node may announce."""
MOST_ANNOUNCED: Final = 32 * 1024 * 1024
"""Size of what a node may announce (`size_of`), of which each path takes 256 bytes and more."""
MOST_VERIFYING: Final = 1024
"""Tokens that a node is asked about at a time."""
_CLOSE: Final = 4


class _Sending(Struct):
    """What was sent of one channel."""

    outstanding: int = 0
    """Bytes that the home has not said it took."""
    paused: Feeder | None = None
    """The channel, while it is not to send."""


class HomeNode:
    """One other node.

    Args:
        context: state of this node's server.
        exchanges: its pending HTTP requests.
        link: to the other node.
        complain: logs what the node must not do; its argument does not quote the node.
        serves: whether this node serves a package of that one, `PACKAGE:PUBLISHER`.
    """

    def __init__(
        self,
        context: Context,
        exchanges: PendingResponses,
        link: PeerLink,
        complain: Callable[[str], None],
        serves: Callable[[str], bool],
    ) -> None:
        self.context = context
        self.exchanges = exchanges
        self.link = link
        self._complain = complain
        self._serves = serves
        self.processes: dict[ProcessId, ProcessStandIn] = {}
        """What it announced, by the ids without a node."""
        self._sizes: dict[ProcessId, int] = {}
        """Of their announcements."""
        self._announced = 0
        """All of these."""
        self._channels: dict[int, _Sending] = {}
        self._held: set[int] = set()
        """Channels that are paused because the link takes no more."""
        self._verifying: dict[int, WhenVerified] = {}
        self._numbers = 0
        self._asked: dict[int, ForeignProcess] = {}
        """HTTP requests that it has not answered, and whose they are."""

    @property
    def channel_count(self) -> int:
        """Channels of clients here to its processes."""
        return len(self._channels)

    # From the stand-ins of its processes.

    def opened(self, channel_id: int) -> None:
        """A channel opens."""
        self._channels[channel_id] = _Sending()

    def sent(self, channel_id: int, size: int, feeder: Feeder) -> None:
        """A message with a payload of `size` bytes was sent: pause the channel at the end of its window."""
        sending = self._channels.get(channel_id)
        if sending is None:
            return
        sending.outstanding += push_cost(size)
        if sending.outstanding >= INBOUND_BYTES:
            sending.paused = feeder
            feeder.pause_reading()
        elif self.link.is_held_up:
            self._held.add(channel_id)
            sending.paused = feeder
            feeder.pause_reading()

    def closed(self, channel_id: int) -> bool:
        """A channel is closed here. Returns whether the home is to be told."""
        self._held.discard(channel_id)
        return self._channels.pop(channel_id, None) is not None

    def present(self, channel_id: int, *, away: bool) -> None:
        """The client of a resumable channel is away, or back."""
        sending = self._channels.get(channel_id)
        if sending is not None:
            sending.outstanding += push_cost(0)
            self.link.send(RelayPresence(channel_id, away))

    def fetch(self, process: ForeignProcess, http_id: int, request: ContentRequest) -> bool:
        """Ask for content; see `Relays`."""
        pending = self.exchanges.get(process, http_id)
        if pending is None or self.link.is_held_up:
            return False
        self.link.send(
            RelayedRequest(
                number=http_id,
                process=str(process.plain),
                method=request.method,
                url="",
                path=request.path,
                authenticated=request.authenticated,
                headers=request.headers,
                query_params=(),
                source=None,
                claims=None,
                mime=None,
                body=b"",
                file=request.file,
                page=request.page,
            )
        )
        self.asked(http_id, process)
        pending.removed = partial(self.settled, http_id)
        return True

    def asked(self, http_id: int, process: ForeignProcess) -> None:
        """It was sent an HTTP request."""
        self._asked[http_id] = process

    def settled(self, http_id: int) -> None:
        """An HTTP request has an answer or needs none any more: tell the node, unless it has answered."""
        if self._asked.pop(http_id, None) is not None:
            self.link.send(ForgetRequest(http_id))

    def verify(self, target: ForeignProcess, token: str, answered: WhenVerified) -> int:
        """Have it verify a token; returns the number of the question, 0 if there are too many."""
        if len(self._verifying) >= MOST_VERIFYING:
            return 0
        self._numbers += 1
        self._verifying[self._numbers] = answered
        self.link.send(VerifyToken(self._numbers, str(target.plain), token))
        return self._numbers

    def give_up(self, number: int) -> None:
        """A question was not answered in time."""
        self._verified(number, close_codes.NODE_LOST)

    # From the node.

    def handle(self, message: ToGateway) -> None:
        """Take a message of the node."""
        if type(message) is RelayPush:
            self._push(message)
        elif type(message) is RelayTaken:
            self._taken(message)
        elif isinstance(message, RelayClose):
            self._close(message)
        elif isinstance(message, Announce):
            self._announce(message)
        elif isinstance(message, Withdraw):
            self._withdraw(message)
        elif isinstance(message, RelayedAnswer):
            self._answer(message)
        elif isinstance(message, TokenVerified):
            self._verified(message.number, self._claims(message))
        elif isinstance(message, TokenRefused):
            self._verified(message.number, CloseReason(message.code, message.reason))

    def room(self) -> None:
        """The node takes more again."""
        if self.link.room():
            held, self._held = self._held, set()
            for channel_id in held:
                sending = self._channels.get(channel_id)  # one may close as another is read
                if sending is not None:
                    self._resume(sending)

    def lost(self, close: CloseReason = close_codes.NODE_LOST) -> None:
        """The node is gone, or this one leaves: its channels close here, once."""
        self.link.end()
        for process in tuple(self.processes.values()):
            self._drop(process)
        for owner in set(self._asked.values()):
            self.exchanges.fail(owner)
        for number in tuple(self._verifying):
            self.give_up(number)
        channels, self._channels, self._held = self._channels, {}, set()
        for channel_id in channels:
            self.context.turns.add(partial(self._end, channel_id, close))

    # Channels.

    def _own(self, channel_id: int) -> Channel | None:
        """A channel of one of its processes; None, with a complaint, if it is another's."""
        channels = self.context.channels
        channel = channels.get(channel_id)
        if channel is None:
            if not channels.was_closed(channel_id):
                self._complain("sent something for a channel that is not there")
            return None
        owner = channel.owner
        if not isinstance(owner, ForeignProcess) or owner.node != self.link.node:
            self._complain("sent something for a channel that is not of its processes")
            return None
        return channel

    def _push(self, message: RelayPush) -> None:
        message_type, payload = message.frame[0], message.frame[1:]
        problem = payload_problem(message_type, payload, self.context.settings.connections.message_bytes)
        if problem is not None or message_type >= _CLOSE:
            self._complain(f"sent a push that is not valid ({problem or 'a close'})")
            for channel_id in message.channel_ids:  # it takes credit that is never given back
                if self._own(channel_id) is not None:
                    self._refuse_channel(channel_id)
            return
        shared = SharedFrames(message_type, payload)
        for channel_id in message.channel_ids:
            channel = self._own(channel_id)
            if channel is not None and not channel.outgoing.push(len(payload), shared.of(channel)):
                self._complain("pushed more than it may to a channel, which was closed")
                self._refuse_channel(channel_id)

    def _refuse_channel(self, channel_id: int) -> None:
        """Close a channel because of what the node sent on it."""
        self._end(channel_id, close_codes.BAD_NODE)
        self.link.send(RelayLeft(channel_id, None))

    def _taken(self, message: RelayTaken) -> None:
        sending = self._channels.get(message.channel_id)
        if sending is None:
            return
        if message.size > sending.outstanding:
            self._complain("took more of a channel than it was sent")
            return
        sending.outstanding -= message.size
        if sending.paused is not None and message.channel_id not in self._held:
            self._resume(sending)

    def _resume(self, sending: _Sending) -> None:
        feeder = sending.paused
        if feeder is not None and sending.outstanding < INBOUND_BYTES:
            sending.paused = None
            feeder.resume_reading()

    def _close(self, message: RelayClose) -> None:
        channel = self._own(message.channel_id)
        if channel is None:
            return
        if message.code and not is_sendable_code(message.code):
            self._complain("closed a channel with a code that cannot be sent")
            close: CloseReason | None = close_codes.BAD_NODE
        elif len(message.reason.encode()) > close_codes.MAX_REASON:
            self._complain("closed a channel for a reason that is too long")
            close = close_codes.BAD_NODE
        else:
            close = CloseReason(message.code, message.reason) if message.code else None
        self._end(message.channel_id, close)

    def _end(self, channel_id: int, close: CloseReason | None) -> None:
        """Close a channel, of which the node need not be told."""
        self.closed(channel_id)
        channel = self.context.channels.get(channel_id)
        if channel is not None:
            channel.end(close, Notify.NOTHING)

    # Processes.

    def _announce(self, message: Announce) -> None:
        name = self._named(message.process)
        if name is None:
            return
        if not self._serves(name.package_id):
            return
        process = self.processes.get(name)
        size = size_of(message)
        if self._announced - self._sizes.get(name, 0) + size > MOST_ANNOUNCED:
            self._complain("announced more paths than it may")
            return
        if process is None:
            if len(self.processes) >= MOST_PROCESSES:
                self._complain("announced more processes than it may")
                return
            process = self.processes[name] = ProcessStandIn(
                ForeignProcess(name.process_name, name.package_name, name.publisher_node, self.link.node),
                self,
            )
        self._announced += size - self._sizes.get(name, 0)
        self._sizes[name] = size
        for error in bind(self.context.bindings, process.id, message)[:1]:
            self._complain(f"announced a path that cannot be bound here ({error})")

    def _named(self, text: str) -> ProcessId | None:
        try:
            name = ProcessId.parse(text)
        except BadProcessId:
            self._complain("announced a process in a way that is not valid")
            return None
        if is_runtime_module(name):
            self._complain("announced a process with the name of a part of a node")
            return None
        return name

    def _withdraw(self, message: Withdraw) -> None:
        name = self._named(message.process)
        process = None if name is None else self.processes.get(name)
        if process is not None:
            self._drop(process)

    def _drop(self, process: ProcessStandIn) -> None:
        process.gone = True
        del self.processes[process.id.plain]
        self._announced -= self._sizes.pop(process.id.plain, 0)
        self.context.bindings.drop(process.id)
        self.context.closed_channels.forget(process.id)

    # Answers.

    def _answer(self, message: RelayedAnswer) -> None:
        owner = self._asked.pop(message.number, None)
        pending = None if owner is None else self.exchanges.get(owner, message.number)
        if pending is None:
            return  # nobody waits any more
        pending.settle(
            HttpResponse(message.status, message.headers, message.body, message.mime)
            if message.reason is None
            else _refusal(message)
        )

    def _claims(self, message: TokenVerified) -> Claims | CloseReason:
        custom = None
        if message.claims is not None:
            try:
                custom = read_custom_claims(message.claims.encode(errors="replace"))
            except BadClaims:
                self._complain("verified a token with claims that no token has")
                return close_codes.BAD_NODE
        family = f"{self.link.node} {message.family}"
        return Claims(self.link.node, None, 0, family=family, custom=custom)

    def _verified(self, number: int, claims: Claims | CloseReason) -> None:
        answered = self._verifying.pop(number, None)
        if answered is None:
            return
        if isinstance(claims, CloseReason) and not is_sendable_code(claims.code):
            claims = close_codes.BAD_NODE
        answered(claims)


def _refusal(message: RelayedAnswer) -> Refusal:
    """The home's own refusal; its text is that of a status of this node's, so it is shown as text."""
    status = message.status if 400 <= message.status <= 599 else 502
    return Refusal(status, message.reason or "the process's node refused the request")
