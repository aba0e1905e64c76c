"""A channel of a process of this node whose client's socket is at another: its home's side.

To the process and the kernel it is a channel as any other, with an outbox and a policy of its own. What is written to
its "socket" goes to the gateway, and counts as read when the gateway has said so.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from msgspec.structs import replace

from guesthouse.cluster.gateway.gateway_messages import INBOUND_BYTES, RelayClose, RelayOpen, RelayTaken
from guesthouse.cluster.gateway.peer_link import PeerLink
from guesthouse.core.messages import WebSocketOpen
from guesthouse.core.ports import ProcessPort
from guesthouse.http_server.api.port import payload_problem
from guesthouse.http_server.channel.channel import Channel, Notify
from guesthouse.http_server.channel.framing import RELAYED
from guesthouse.http_server.channel.outbox import Outbox
from guesthouse.http_server.close_codes import CloseReason
from guesthouse.http_server.context import Context
from guesthouse.http_server.state.channels import ChannelRecord
from guesthouse.link.credit import PUSH_OVERHEAD, push_cost

_BATCH: Final = INBOUND_BYTES // 4
"""What was taken is told in batches, in bytes."""
_TOLERATED: Final = 1024 * 1024
"""Bytes beyond the window that a correct gateway may send: what it had read of a socket that is closed meanwhile."""
_NOTHING: Final[deque[bytes]] = deque()
"""Few channels need a queue. Never appended to."""
MOST_SLACK: Final = 1024 * 1024


class _ToGateway:
    """What the outbox of a relayed channel writes to, in place of a socket. It has what outboxes use of one."""

    __slots__ = ("_channel_id", "_link", "_slack", "outstanding")

    def __init__(self, link: PeerLink, channel_id: int, slack: int) -> None:
        self._link = link
        self._channel_id = channel_id
        self._slack = slack
        self.outstanding = 0
        """Bytes that the gateway has not credited, counted as `push_cost`."""

    def write(self, frame: bytes) -> None:
        """Push to the gateway."""
        self.outstanding += len(frame) - 1 + PUSH_OVERHEAD
        self._link.push(self._channel_id, frame)

    def get_write_buffer_size(self) -> int:
        """Bytes that the client has surely not read."""
        return max(0, self.outstanding - self._slack)


class HeldMessages:
    """Counts the messages of all channels of a gateway that wait for room in mailboxes.

    Args:
        most: bytes that may.
    """

    __slots__ = ("most", "size")

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = 0

    @property
    def is_over(self) -> bool:
        """Whether more waits than may."""
        return self.size > self.most


class RelayedChannel(Channel):
    """One channel. It is the `Feeder` of its process's mailbox.

    Args:
        context: state of this node's server.
        link: to the gateway.
        opened: what the gateway said of it.
        process: whose channel it is.
        event: what the process is told, with what the gateway said checked.
        ended: called with its id when it is one no more.
        all_held: counts what waits of this channel and the gateway's others.
    """

    __slots__ = (
        "_all_held",
        "_away",
        "_ended",
        "_has_left",
        "_held",
        "_link",
        "_paused",
        "_reason",
        "_received",
        "_resumable",
        "_socket",
    )

    context: Context

    def __init__(
        self,
        context: Context,
        link: PeerLink,
        opened: RelayOpen,
        process: ProcessPort,
        event: WebSocketOpen,
        ended: Callable[[int], None],
        all_held: HeldMessages,
    ) -> None:
        super().__init__(context)
        self._all_held = all_held
        self._ended = ended
        self._link = link
        self._event = event
        self._resumable = opened.resumable
        self._away = self._paused = False
        self._held = _NOTHING
        """What came while it was paused."""
        self._reason: bytes | None = None
        self._has_left = False
        self._received = 0
        """Bytes of messages that the gateway was not told were taken."""
        self.owner = process.id
        self.bound_path = event.bound_path
        self.window_bits = RELAYED
        self.channel_id = opened.channel_id
        self.opened_at = context.monotonic()
        self._socket = _ToGateway(link, self.channel_id, min(opened.slack, MOST_SLACK))
        window = min(opened.window, context.settings.connections.outbox_bytes)
        self.outgoing = Outbox(self, cast(asyncio.WriteTransport, self._socket), window)
        self._process = process
        context.channels.add(self, self.channel_id)
        context.relayed.add(self)
        process.post_open(event, window)

    @property
    def gateway(self) -> str:
        """The node at which the client's socket is."""
        return self._link.node

    def record(self) -> ChannelRecord:
        """See `Channel`."""
        return replace(super().record(), resumable=self._resumable, away=self._away)

    # From the gateway.

    def deliver(self, frame: bytes) -> str | None:
        """Post a message of the client. Returns what is wrong with it, if the gateway must not have sent it."""
        process = self._process
        if process is None:
            return None
        if self._received >= INBOUND_BYTES + _TOLERATED:
            return "more than its window"
        message_type, payload = frame[0], frame[1:]
        problem = payload_problem(message_type, payload, self.context.settings.connections.message_bytes)
        if problem is not None or message_type >= _CLOSE:
            return f"a message that is not valid ({problem or 'a close'})"
        if self._paused or self._held:
            if self._held is _NOTHING:
                self._held = deque()
            self._held.append(frame)
            self._all_held.size += push_cost(len(payload))
        else:
            self.messages_in += 1
            process.post_push(self.channel_id, message_type, payload, self)
        self.took(len(payload))
        return None

    def took(self, size: int) -> None:
        """A message with a payload of `size` bytes was posted."""
        self._received += push_cost(size)
        if self._received >= _BATCH and not self._paused:
            self._take()

    def _take(self) -> None:
        taken, self._received = self._received, 0
        self._link.send(RelayTaken(self.channel_id, taken))

    def pause_reading(self) -> None:
        """The mailbox is full: what comes waits here, and the gateway, which is not told that it was taken, stops at
        its window.
        """
        self._paused = True

    def resume_reading(self) -> None:
        """Go on in a later iteration of the event loop: the mailbox has room again."""
        if self._paused:
            self.context.turns.add(self._resume)

    def _resume(self) -> None:
        process = self._process
        if process is None or not self._paused:
            return
        self._paused, held = False, self._held
        while held and not self._paused:
            frame = held.popleft()
            self._all_held.size -= push_cost(len(frame) - 1)
            self.messages_in += 1
            process.post_push(self.channel_id, frame[0], frame[1:], self)
        if self._has_left and not held:
            self._finish(Notify.CLOSED, self._reason)
        elif self._received and not self._paused:
            self._take()

    def credited(self, size: int) -> str | None:
        """The client has read so much. Returns what is wrong, if that cannot be."""
        socket = self._socket
        if size > socket.outstanding:
            return "credit for what was never sent"
        socket.outstanding -= size
        if self._process is not None:
            self.outgoing.resume()
        return None

    def present(self, *, away: bool) -> bool:
        """The client of a resumable channel is away, or back. Returns whether that is news."""
        if self._away is away or not self._resumable or self._process is None:
            return False
        self._away = away
        return True

    def left(self, reason: bytes | None) -> None:
        """The client has left, of which the process hears after what came before."""
        if self._held:
            self._has_left, self._reason = True, reason
        else:
            self._finish(Notify.CLOSED, reason)

    # Its end.

    def end(self, close: CloseReason | None, tell: Notify = Notify.CLOSED) -> None:
        """Have the gateway close it; see `Channel`."""
        if self._process is None:
            return
        gone = self._has_left
        self._finish(tell, None)
        if gone:
            return
        code, reason = (0, "") if close is None else (close.code, close.reason)
        self._link.send(RelayClose(self.channel_id, code, reason))

    def _finish(self, tell: Notify, reason: bytes | None) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        context = self.context
        self.outgoing.end()
        context.channels.remove(self.channel_id)
        context.relayed.discard(self)
        self.outgoing.break_cycle()
        del self.outgoing
        held, self._held = self._held, _NOTHING
        self._all_held.size -= sum(push_cost(len(frame) - 1) for frame in held)
        self._ended(self.channel_id)
        if self.token_family:
            context.token_channels.release(self.token_family)
        if tell is Notify.CLOSED or tell is Notify.LOST:
            process.post_close(self.channel_id, reason)
        elif tell is Notify.GONE:
            process.post_channel_gone(self.channel_id)


_CLOSE: Final = 4
"""`WsMessageType.CLOSE`, which has a message of its own here."""
