"""The home's side: channels of this node's processes whose clients are at one gateway, and HTTP requests from there.

The gateway is a member of the cluster, and its word is taken for what only it can know: who the client is, and that it
has shown a token of the gateway's own. What this node knows is checked here: that the process and the path are there
and what they require, tokens of this node, sizes, formats, limits. So a gateway that lies gets what its own clients
could get, and no channel but its own.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable
from functools import partial
from typing import Final

from guesthouse.cluster.gateway.announcements import all_of
from guesthouse.cluster.gateway.content import bound_content, file_of
from guesthouse.cluster.gateway.gateway_messages import (
    ForgetRequest,
    RelayClose,
    RelayCredit,
    RelayDeliver,
    RelayedAnswer,
    RelayedRequest,
    RelayLeft,
    RelayOpen,
    RelayPresence,
    ToHome,
    TokenRefused,
    TokenVerified,
    VerifyToken,
)
from guesthouse.cluster.gateway.peer_link import PeerLink
from guesthouse.cluster.gateway.relayed_channel import HeldMessages, RelayedChannel
from guesthouse.core.address import ProcessId, canonical
from guesthouse.core.errors import BadProcessId
from guesthouse.core.messages import MOST_RESPONSE_HEADERS, HttpResponse, IncomingHttpRequest, WebSocketOpen
from guesthouse.core.ports import ProcessPort, RouterPort
from guesthouse.http_server import close_codes
from guesthouse.http_server.auth.custom_claims import BadClaims, read_custom_claims
from guesthouse.http_server.auth.tokens import AuthError, Claims
from guesthouse.http_server.close_codes import CloseReason, Refusal
from guesthouse.http_server.context import Context
from guesthouse.http_server.routing.paths import BadPath, ProcessPath, split_process_path
from guesthouse.http_server.state.admission import Admission
from guesthouse.http_server.state.pending_responses import PendingResponse, PendingResponses
from guesthouse.http_server.websocket.resumable.presence import tell_presence

MOST_REQUESTS: Final = 1024
"""HTTP requests of one gateway that are not answered."""
MOST_REQUEST_BYTES: Final = 64 * 1024 * 1024
"""Of their bodies together, and of answers that wait for the gateway to take them: beyond either, requests are refused.
"""
MOST_LOOKED_UP: Final = 8
"""Content of up to 16 MiB that is looked up for one gateway at a time."""
MOST_ANSWER: Final = 19 * 1024 * 1024
"""Bytes of an answer that a message can carry."""
MOST_HELD: Final = 256 * 1024 * 1024
"""Bytes of clients' messages of one gateway that wait for room in mailboxes, in all its channels."""
_REMEMBERED: Final = 4096


class GatewayNode:
    """The node, as one gateway sees it.

    Args:
        context: state of this node's server.
        exchanges: its pending HTTP requests.
        router: finds this node's processes, and no others.
        link: to the gateway.
        complain: logs what the gateway must not do; its argument does not quote the gateway.
    """

    def __init__(
        self,
        context: Context,
        exchanges: PendingResponses,
        router: RouterPort,
        link: PeerLink,
        complain: Callable[[str], None],
    ) -> None:
        self._context = context
        self._exchanges = exchanges
        self._router = router
        self._link = link
        self._complain = complain
        self._channels: dict[int, RelayedChannel] = {}
        self._refused: dict[int, None] = {}
        """Channels that were not opened, the last few: something of them may still be on its way."""
        self._requests: dict[int, PendingResponse] = {}
        self._request_bytes = 0
        self._looking_up = 0
        self._held = HeldMessages(MOST_HELD)
        self._loop = asyncio.get_running_loop()

    def announce_all(self) -> None:
        """Tell the gateway of all processes."""
        for message in all_of(self._context, self._router):
            self._link.send(message)

    def handle(self, message: ToHome) -> None:
        """Take a message of the gateway."""
        if type(message) is RelayDeliver:
            self._deliver(message)
        elif type(message) is RelayCredit:
            self._credit(message)
        elif isinstance(message, RelayOpen):
            self._open(message)
        elif isinstance(message, RelayLeft):
            self._left(message)
        elif isinstance(message, RelayPresence):
            self._present(message)
        elif isinstance(message, VerifyToken):
            self._verify(message)
        elif isinstance(message, RelayedRequest):
            self._request(message)
        elif isinstance(message, ForgetRequest):
            self._forget(message.number)

    @property
    def channel_count(self) -> int:
        """Channels of its clients."""
        return len(self._channels)

    def lost(self) -> None:
        """The gateway is gone, and with it its clients."""
        self._link.end()
        for number in tuple(self._requests):
            self._forget(number)
        for channel in tuple(self._channels.values()):
            self._context.turns.add(partial(channel.left, None))

    # Channels.

    def _open(self, message: RelayOpen) -> None:
        channel_id = message.channel_id
        if channel_id in self._channels:
            self._complain("opened a channel again")
            return
        opened = self._opened(message)
        if isinstance(opened, CloseReason):
            self._refused[channel_id] = None
            if len(self._refused) > _REMEMBERED:
                del self._refused[next(iter(self._refused))]
            self._link.send(RelayClose(channel_id, opened.code, opened.reason))
        else:
            self._channels[channel_id] = opened

    def _opened(self, message: RelayOpen) -> RelayedChannel | CloseReason:
        context = self._context
        if context.stopping:
            return close_codes.GOING_AWAY
        if context.admission is not Admission.ALL:
            return close_codes.NO_NEW_CHANNEL
        process = self._process(message.process)
        if process is None:
            return context.no_own_process
        if not self._has_room() or not context.channels.is_free(message.channel_id):
            return close_codes.CROWDED_HOME
        claims = self._claims(message, process.id)
        if isinstance(claims, CloseReason):
            return claims
        event = self._event(message, process, claims)
        if isinstance(event, CloseReason):
            return event
        if claims is not None and not context.token_channels.take(claims.family, claims.channels):
            return close_codes.TOO_MANY_CHANNELS
        channel = RelayedChannel(context, self._link, message, process, event, self._ended, self._held)
        if claims is not None:
            channel.token_family, channel.token_login = claims.family, claims.login
        return channel

    def _ended(self, channel_id: int) -> None:
        self._channels.pop(channel_id, None)

    def _has_room(self) -> bool:
        """Whether this gateway may have one more: it has three quarters of the node's at most, so that no gateway keeps
        others out.
        """
        total = self._context.settings.connections.total
        return len(self._channels) < total * 3 // 4 and len(self._context.relayed) < total

    def _claims(self, message: RelayOpen, process: ProcessId) -> Claims | CloseReason | None:
        if message.token is None:
            return None
        return self._verified(message.token, process)

    def _verified(self, token: str, process: ProcessId) -> Claims | CloseReason:
        context = self._context
        try:
            claims = context.tokens.verify(token, context.now())
        except AuthError as error:
            return close_codes.BAD_TOKEN.because(str(error))
        if not claims.opens(process):
            return close_codes.BAD_TOKEN.because(f"it is for {claims.process}")
        return claims

    def _event(
        self, message: RelayOpen, process: ProcessPort, claims: Claims | None
    ) -> WebSocketOpen | CloseReason:
        custom = None if claims is None else claims.custom
        if claims is None and message.claims is not None:
            try:
                custom = read_custom_claims(message.claims.encode(errors="replace"))
            except BadClaims:
                return self._bad("custom claims that no token has")
        event = WebSocketOpen(
            message.channel_id,
            message.path,
            message.source,
            message.forwarded_for,
            query_params=message.query_params,
            claims=custom,
        )
        if message.bound:
            return self._bound_event(message, process.id, event)
        if not self._context.settings.http.register_form:
            return close_codes.REGISTER_OFF
        if message.path != "/" or not (message.authenticated or claims is not None):
            return self._bad("a registered channel without a token")
        return event

    def _bound_event(
        self, message: RelayOpen, process: ProcessId, event: WebSocketOpen
    ) -> WebSocketOpen | CloseReason:
        path = message.path
        segments = () if path == "/" else tuple(path[1:].split("/"))
        match = self._context.bindings.find_ws(process, segments) if path[:1] == "/" else None
        if match is None or match.binding.secure or match.binding.extension:
            return close_codes.UNBOUND
        binding = match.binding
        if binding.authenticated and not message.authenticated:
            return self._bad("a channel without a login, on a path that requires one")
        if message.subprotocol not in (None, *binding.subprotocols):
            return self._bad("a subprotocol that the path has not")
        return WebSocketOpen(
            event.channel_id,
            event.path,
            event.source_socket_addr,
            event.forwarded_for,
            match.params,
            event.query_params,
            bound_path=binding.pattern.text,
            subprotocol=message.subprotocol,
            claims=event.claims,
        )

    def _bad(self, what: str) -> CloseReason:
        self._complain(f"opened {what}")
        return close_codes.BAD_NODE

    def _process(self, name: str) -> ProcessPort | None:
        try:
            process = self._router.find(canonical(ProcessId.parse(name)))
        except BadProcessId:
            self._complain("named a process in a way that is not valid")
            return None
        return None if process is None or process.gone else process

    def _deliver(self, message: RelayDeliver) -> None:
        channel = self._channels.get(message.channel_id)
        if channel is None:
            self._unknown(message.channel_id)
            return
        fault = channel.deliver(message.frame)
        if fault is not None:
            self._broken(channel, fault)
        elif self._held.is_over:
            channel.end(close_codes.CROWDED_MAILBOX)

    def _credit(self, message: RelayCredit) -> None:
        channel = self._channels.get(message.channel_id)
        if channel is None:
            self._unknown(message.channel_id)
            return
        fault = channel.credited(message.size)
        if fault is not None:
            self._broken(channel, fault)

    def _broken(self, channel: RelayedChannel, fault: str) -> None:
        self._complain(f"sent {fault} on a channel, which was closed")
        channel.end(close_codes.BAD_NODE)

    def _unknown(self, channel_id: int) -> None:
        """A message of a channel that is not the gateway's: no fault if it was closed while that was on its way."""
        if channel_id not in self._refused and not self._context.channels.was_closed(channel_id):
            self._complain("sent something of a channel that it has not")

    def _left(self, message: RelayLeft) -> None:
        channel = self._channels.pop(message.channel_id, None)
        if channel is None:
            self._unknown(message.channel_id)
            return
        channel.left(message.reason)

    def _present(self, message: RelayPresence) -> None:
        channel = self._channels.get(message.channel_id)
        if channel is None:
            self._unknown(message.channel_id)
        elif channel.present(away=message.away):
            tell_presence(self._context, channel, away=message.away)
            channel.took(0)

    def _verify(self, message: VerifyToken) -> None:
        process = self._process(message.process)
        missing = self._context.no_own_process
        claims = missing if process is None else self._verified(message.token, process.id)
        if isinstance(claims, CloseReason):
            self._link.send(TokenRefused(message.number, claims.code, claims.reason))
        else:
            self._link.send(TokenVerified(message.number, claims.family, claims.custom))

    # HTTP.

    def _request(self, message: RelayedRequest) -> None:
        refusal = self._refusal_of(message)
        if refusal is None:
            process = self._process(message.process)
            refusal = self._context.access.not_found if process is None else self._ask(message, process)
        if refusal is not None:
            self._refuse(message.number, refusal)

    def _refuse(self, number: int, refusal: Refusal) -> None:
        self._link.send(RelayedAnswer(number, refusal.status, (), None, b"", refusal.reason))

    def _refusal_of(self, message: RelayedRequest) -> Refusal | None:
        limit = self._context.settings.connections.http_body_bytes
        if message.number in self._requests:
            self._complain("sent a request again")
            return close_codes.BAD_REQUEST
        if len(message.body) > limit:
            return close_codes.BODY_TOO_BIG
        full = self._request_bytes + len(message.body) > MOST_REQUEST_BYTES
        answers_wait = self._link.waiting_bytes > MOST_REQUEST_BYTES
        if full or answers_wait or len(self._requests) >= MOST_REQUESTS:
            return close_codes.BODIES_FULL
        if self._context.admission is Admission.NOTHING:
            return close_codes.DRAINING
        return close_codes.STOPPING if self._context.stopping else None

    def _ask(self, message: RelayedRequest, process: ProcessPort) -> Refusal | None:
        try:
            requested = split_process_path(f"/{process.id}{message.path}")
        except BadPath:
            return close_codes.NOT_FOUND
        if message.file:
            return self._file(message, requested)
        bindings = self._context.bindings
        match = bindings.find_http(process.id, requested.segments) or bindings.root_of(process.id)
        if match is None:
            return close_codes.NOT_FOUND
        binding = match.binding
        if binding.secure or binding.local_only:
            return close_codes.NOT_FOUND
        if binding.authenticated and not message.authenticated:
            self._complain("sent a request without a login, to a path that requires one")
            return close_codes.NOT_AUTHORISED
        if binding.static is not None:
            return self._look_up(message, process.id, partial(bound_content, binding, message))
        claims = None
        if message.claims is not None:
            try:
                claims = read_custom_claims(message.claims.encode(errors="replace"))
            except BadClaims:
                return close_codes.BAD_REQUEST
        request = IncomingHttpRequest(
            message.method,
            message.url,
            binding.pattern.text,
            message.headers,
            match.params,
            message.query_params,
            message.source,
            claims,
        )
        pending = self._await(message, process.id)
        if not process.post_http(pending.http_id, request, message.mime, message.body):
            self._forget(message.number)
            return close_codes.MAILBOX_FULL
        return None

    def _await(self, message: RelayedRequest, process: ProcessId) -> PendingResponse:
        number, size = message.number, len(message.body)
        pending = self._requests[number] = self._exchanges.add(process, partial(self._answered, number))
        self._request_bytes += size
        pending.removed = partial(self._release, size)
        return pending

    def _release(self, size: int) -> None:
        self._request_bytes -= size

    def _file(self, message: RelayedRequest, requested: ProcessPath) -> Refusal | None:
        folder = self._context.ui_folders.get(requested.process)
        if folder is None:
            return close_codes.NOT_FOUND
        binding = self._context.bindings.find_ui(requested.process, requested.segments)
        if binding is not None and (binding.secure or binding.local_only):
            return close_codes.NOT_FOUND
        if (binding is None or binding.authenticated) and not message.authenticated:
            self._complain("asked for a file without a login, which it requires")
            return close_codes.NOT_AUTHORISED
        bound_at = 0 if binding is None else len(binding.segments)
        return self._look_up(
            message, requested.process, partial(file_of, folder, requested, bound_at, message)
        )

    def _look_up(
        self, message: RelayedRequest, process: ProcessId, find: Callable[[], HttpResponse | Refusal]
    ) -> Refusal | None:
        """Answer with content that is found in a thread."""
        if self._looking_up >= MOST_LOOKED_UP:
            return close_codes.BODIES_FULL
        self._looking_up += 1
        pending = self._await(message, process)

        def found(work: Future[HttpResponse | Refusal]) -> None:
            self._looking_up -= 1
            failed = work.cancelled() or work.exception() is not None
            pending.settle(close_codes.NODE_ERROR if failed else work.result())

        self._loop.run_in_executor(None, find).add_done_callback(found)
        return None

    def _answered(self, number: int, found: HttpResponse | Refusal) -> None:
        self._loop.call_soon(self._forget, number)  # not while others are failed with it
        if isinstance(found, Refusal):
            self._refuse(number, found)
        elif (
            len(found.body) > MOST_ANSWER
            or len(found.headers) > MOST_RESPONSE_HEADERS
            or not 200 <= found.status <= 599
        ):
            self._refuse(number, close_codes.BAD_ANSWER)
        elif self._link.waiting_bytes > MOST_REQUEST_BYTES:
            self._refuse(number, close_codes.BODIES_FULL)
        else:
            self._link.send(RelayedAnswer(number, found.status, found.headers, found.mime, found.body))

    def _forget(self, number: int) -> None:
        """Nobody waits any more, or it was answered."""
        pending = self._requests.pop(number, None)
        if pending is not None:
            pending.done = True
            self._exchanges.remove(pending)
