"""A process of another node as the HTTP server of this one sees it: what is posted to it goes to its home."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from guesthouse.cluster.gateway.gateway_messages import (
    RelayCredit,
    RelayDeliver,
    RelayedRequest,
    RelayLeft,
    RelayOpen,
)
from guesthouse.cluster.gateway.peer_link import PeerLink
from guesthouse.core.address import ForeignProcess
from guesthouse.core.messages import IncomingHttpRequest, WebSocketOpen
from guesthouse.core.ports import Feeder
from guesthouse.http_server.channel.credit_window import relay_limits
from guesthouse.http_server.channel.session_channel import SessionChannel
from guesthouse.http_server.context import Context
from guesthouse.http_server.routing.paths import below_process, split_process_path
from guesthouse.http_server.state.pending_responses import PendingResponses


class StandInHome(Protocol):
    """Its node, as a stand-in uses it; see `HomeNode`."""

    context: Context
    exchanges: PendingResponses
    link: PeerLink

    def opened(self, channel_id: int) -> None:
        """A channel opens."""

    def sent(self, channel_id: int, size: int, feeder: Feeder) -> None:
        """A message with a payload of `size` bytes was sent."""

    def closed(self, channel_id: int) -> bool:
        """A channel is closed here. Returns whether the node is to be told."""

    def asked(self, http_id: int, process: ForeignProcess) -> None:
        """The node was sent an HTTP request."""

    def settled(self, http_id: int) -> None:
        """An HTTP request has an answer or needs none any more."""


class ProcessStandIn:
    """Implements `guesthouse.core.ports.ProcessPort`.

    Args:
        process_id: its name, with its node's.
        home: its node.
    """

    def __init__(self, process_id: ForeignProcess, home: StandInHome) -> None:
        self._id = process_id
        self._name = str(process_id.plain)
        self._home = home
        self._link = home.link
        self.gone = False
        """Whether its node has withdrawn it or is gone."""

    @property
    def id(self) -> ForeignProcess:
        """Its name, with its node's."""
        return self._id

    def post_open(self, event: WebSocketOpen, credit: int) -> None:
        """See `ProcessPort`."""
        home = self._home
        channel = home.context.channels.get(event.channel_id)
        if channel is None:
            return
        home.opened(event.channel_id)
        _, slack = relay_limits(credit)
        self._link.send(
            RelayOpen(
                event.channel_id,
                self._name,
                event.path,
                event.bound_path is not None,
                bool(channel.token_family) and channel.home_token is None,
                credit,
                slack,
                event.source_socket_addr,
                event.forwarded_for,
                event.query_params,
                event.subprotocol,
                event.claims if channel.home_token is None else None,
                channel.home_token,
                isinstance(channel, SessionChannel),
            )
        )

    def post_push(self, channel_id: int, message_type: int, payload: bytes, feeder: Feeder) -> None:
        """See `ProcessPort`."""
        self._link.send(RelayDeliver(channel_id, bytes((message_type,)) + payload))
        self._home.sent(channel_id, len(payload), feeder)

    def post_close(self, channel_id: int, reason: bytes | None = None) -> None:
        """See `ProcessPort`."""
        if self._home.closed(channel_id):
            self._link.send(RelayLeft(channel_id, reason))

    def post_channel_gone(self, channel_id: int) -> None:
        """See `ProcessPort`."""
        self.post_close(channel_id)

    def post_http(self, http_id: int, request: IncomingHttpRequest, mime: str | None, body: bytes) -> bool:
        """See `ProcessPort`."""
        home = self._home
        pending = home.exchanges.get(self._id, http_id)
        target = "/" + request.url.split("/", 3)[3]
        path = target.partition("?")[0]
        bindings = home.context.bindings
        match = bindings.find_http(self._id, split_process_path(path).segments) or bindings.root_of(self._id)
        if self.gone or pending is None or match is None or self._link.is_held_up:
            return False
        self._link.send(
            RelayedRequest(
                http_id,
                self._name,
                request.method,
                request.url,
                below_process(path),
                match.binding.authenticated,
                request.headers,
                request.query_params,
                request.source_socket_addr,
                request.claims,
                mime,
                body,
            )
        )
        home.asked(http_id, self._id)
        pending.removed = partial(home.settled, http_id)
        return True

    def grant_credit(self, channel_id: int, size: int) -> None:
        """See `ProcessPort`."""
        self._link.send(RelayCredit(channel_id, size))
