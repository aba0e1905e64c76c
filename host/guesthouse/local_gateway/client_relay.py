"""One client's connection through a gateway: asyncio I/O around the pure parts.

Bytes pass as they are, but for the messages of a WebSocket with compression. Whichever side does not read holds up the
other, and either's end is the other's once all is passed on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Final, Protocol

from guesthouse.http_server.channel.deflate import Deflate
from guesthouse.http_server.websocket.protocol import MAX_HEAD
from guesthouse.local_gateway.deflating import Deflating, SharedDeflate
from guesthouse.local_gateway.inflating import Inflating
from guesthouse.local_gateway.relay_sides import ClientSide, NodeSide
from guesthouse.local_gateway.upgrades import HEAD_END, agreed, may_begin_upgrade, offers_compression

COMPRESSES: Final = b"\x01"
PASSES: Final = b"\x00"
"""The first byte that the node gets of a connection: whether the gateway compresses what it sends."""

_HEAD_SECONDS: Final = 0.25
"""How long a request's head may take to be looked at as a whole."""
_AT_ONCE: Final = 512 * 1024
"""Bytes that are passed on of one read; the rest yields to other clients."""
_EACH_FRAME: Final = 256
"""Bytes as which each frame counts besides: one read may have 40,000 that are empty."""
_HEARD_SECONDS: Final = 1.0


class RelayOwner(Protocol):
    """The gateway."""

    shared: SharedDeflate
    message_bytes: int
    close_seconds: float
    pong_seconds: float
    unread_seconds: float
    """How long an end may take nothing of what the other, which has left, had for it."""

    def heard(self, number: int) -> None:
        """A client sends a message that is not whole."""

    def holds(self, relay: ClientRelay, size: int, *, restarted: bool) -> None:
        """So much of a message that is not whole is held for a client."""

    def crowded(self, number: int) -> None:
        """A client's message that is not whole is given up."""

    def ended(self, relay: ClientRelay) -> None:
        """Both sockets are closed."""


class ClientRelay:
    """One connection.

    Args:
        owner: the gateway.
        number: the node's, for it.
        secure: whether the client speaks TLS.
    """

    __slots__ = (
        "_answer", "_client_gone", "_deflating", "_gone_at", "_head", "_heard_at", "_inflating", "_left_unsent",
        "_loop", "_node_ended", "_owner", "_pending", "_scheduled", "_timer", "_waits_for_answer", "client", "node",
        "number", "secure",
    )  # fmt: skip

    def __init__(self, owner: RelayOwner, number: int, *, secure: bool) -> None:
        self._owner = owner
        self.number = number
        self.secure = secure
        self._loop = asyncio.get_running_loop()
        self.client = ClientSide(self)
        self.node = NodeSide(self)
        self._head: bytes | None = b""
        """What came before it was known what the connection is."""
        self._answer: bytes | None = None
        """Of the response to an upgrade."""
        self._waits_for_answer = False
        self._inflating: Inflating | None = None
        self._deflating: Deflating | None = None
        self._pending: Iterator[bytes] | None = None
        """What is still to be passed to the node of what was read."""
        self._scheduled = False
        self._heard_at = 0.0
        self._client_gone = self._node_ended = False
        self._gone_at = 0.0
        self._left_unsent = 0
        """What the end that is there had not taken when the other was seen to be gone, or since."""
        self._timer: asyncio.TimerHandle | None = None

    # From the client.

    def from_client(self, data: bytes) -> None:
        """Bytes of the client."""
        if self._waits_for_answer:
            self._head = (self._head or b"") + data
            self.client.pause()
        elif self._head is not None:
            self._begin(self._head + data)
        elif self._inflating is None:
            self.node.write(data)
        else:
            self._pass_on(data)

    def _begin(self, head: bytes) -> None:
        self._head = head
        if may_begin_upgrade(head):
            if self._timer is None:
                self._timer = self._loop.call_later(_HEAD_SECONDS, self._decide)
        else:
            self._decide()

    def _decide(self) -> None:
        """Tell the node what the connection is."""
        head, self._head = self._head, None
        if head is None or self._node_ended:
            return
        self._cancel()
        if not offers_compression(head):
            self.node.write(PASSES + head)
            return
        end = head.find(HEAD_END) + len(HEAD_END)
        self._waits_for_answer, self._answer = True, b""
        self.node.write(COMPRESSES + head[:end])
        if len(head) > end:
            self._head = head[end:]
            self.client.pause()

    def _pass_on(self, data: bytes) -> None:
        inflating = self._inflating
        assert inflating is not None  # noqa: S101 - for the type checker: the callers look
        new = inflating.receive(data)
        self._pending = new if self._pending is None else chain(self._pending, new)
        if not self._scheduled:
            self._work()

    def _work(self) -> None:
        """Pass on what was read, until the node takes no more or others have their turn."""
        self._scheduled = False
        pending, inflating, node = self._pending, self._inflating, self.node
        if pending is None or inflating is None:
            return
        passed, output = 0, []
        for part in pending:
            output.append(part)
            passed += len(part) + _EACH_FRAME
            if passed >= _AT_ONCE:
                break
        else:
            self._pending = None
        if output:
            node.write(output[0] if len(output) == 1 else b"".join(output))
        self._note(inflating, restarted=bool(output))
        if self._pending is None:
            self.read_on()
        else:
            self.client.pause()
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and self._pending is not None and not self.node.full:
            self._scheduled = True
            self._loop.call_soon(self._work)

    def _note(self, inflating: Inflating, *, restarted: bool) -> None:
        held = inflating.held
        self._owner.holds(self, held, restarted=restarted)
        now = self._loop.time()
        if held and not restarted and now - self._heard_at >= _HEARD_SECONDS:
            self._heard_at = now
            self._owner.heard(self.number)

    def read_on(self) -> None:
        """The node takes more: go on with what was read, then read."""
        if self._pending is not None:
            self._schedule()
        elif self._client_gone:
            self.node.finish()
        elif not self.node.full and not (self._waits_for_answer and self._head is not None):
            self.client.resume()

    def client_ended(self, *, gone: bool) -> None:
        """The client sends no more; or its socket is closed."""
        if self._head is not None and not self._waits_for_answer:
            self._decide()
        self._client_gone = True
        if self._pending is None and not (self._waits_for_answer and self._head):
            self.node.finish()
        if gone:
            self.node.resume()  # nobody is held up any more by what was for the client
        if self._node_ended:
            self._close()
        elif gone:
            self._after(self._owner.unread_seconds, self.node.abort)
        self._end()

    # From the node.

    def from_node(self, data: bytes) -> None:
        """Bytes of the node."""
        if self._answer is not None:
            self._answered(self._answer + data)
        elif self._deflating is None:
            self.client.write(data)
        else:
            for part in self._deflating.receive(data):
                self.client.write(part)

    def _answered(self, answer: bytes) -> None:
        """The response to the upgrade comes, and perhaps what follows it."""
        end = answer.find(HEAD_END) + len(HEAD_END)
        if end < len(HEAD_END) and len(answer) < MAX_HEAD:
            self._answer = answer
            return
        self._answer = None
        self._waits_for_answer = False
        found = agreed(answer[:end])
        self.client.write(answer[:end])
        if found is not None:
            self._compress(*found)
        if len(answer) > end:
            self.from_node(answer[end:])
        early, self._head = self._head, None
        if early:
            self.from_client(early)
        self.read_on()

    def _compress(self, deflate: Deflate, bits: int) -> None:
        self._inflating = Inflating(deflate, self._owner.message_bytes)
        self._deflating = Deflating(self._owner.shared, bits)

    def node_ended(self, *, gone: bool) -> None:
        """The node sends no more; or its socket is closed."""
        self._node_ended = True
        if gone:
            self._pending = None
        self.client.finish()
        if self._client_gone:
            self._close()
        if not self.client.over:
            self._linger(-1, 0.0)
        self._end()

    def _close(self) -> None:
        """Neither end sends any more: close both sockets once all is sent."""
        self._pending = None
        self.client.close()
        self.node.close()

    def _linger(self, left: int, since: float) -> None:
        """Close the client's socket once it has had time to close it itself, and to read what is left for it.

        Args:
            left: bytes that were left for it when this was called last.
            since: when those were fewer than before.
        """
        now, unsent = self._loop.time(), self.client.unsent
        if unsent != left:
            since = now
        elif not unsent or now - since >= self._owner.unread_seconds:
            self.client.abort()
            return
        self._after(self._owner.close_seconds, partial(self._linger, unsent, since))

    # Both.

    @property
    def has_ended(self) -> bool:
        """Whether the node has sent all that it will."""
        return self._node_ended

    def check_left(self, now: float) -> None:
        """Notice that one end has left while the other takes nothing, so that its own end is not read."""
        client, node = self.client, self.node
        unsent = client.unsent if client.full else node.unsent
        if client.full:
            left = node.paused and not node.over and node.is_gone()
        else:
            left = (
                node.full and client.paused and not client.over and client.is_gone(self._owner.pong_seconds)
            )
        if not left:
            self._gone_at = 0.0
        elif not self._gone_at or unsent != self._left_unsent:
            self._gone_at, self._left_unsent = now, unsent
        elif now - self._gone_at >= self._owner.unread_seconds:
            self.abort()

    def make_room(self) -> None:
        """See `partial_messages.Holder`: the node closes it."""
        self._owner.crowded(self.number)
        self._pending = self._inflating = None
        self.client.discard()

    def abort(self) -> None:
        """Close both sockets now."""
        self.client.abort()
        self.node.abort()

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        self._cancel()
        self._timer = self._loop.call_later(seconds, call)

    def _cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _end(self) -> None:
        """One socket is closed."""
        if self.client.over and self.node.over:
            self._cancel()
            self._owner.ended(self)
