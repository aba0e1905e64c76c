"""A WebSocket from its upgrade request to its channel, and what its client sends then."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from msgspec.structs import replace
from websockets.http11 import Request

from guesthouse.core.address import ForeignProcess, ProcessId
from guesthouse.core.messages import WebSocketOpen, WsMessageType
from guesthouse.core.ports import ProcessPort
from guesthouse.http_server import close_codes
from guesthouse.http_server.auth.access import BoundForm, Peer, RegisterForm
from guesthouse.http_server.auth.tokens import Claims
from guesthouse.http_server.channel.credit_window import relay_limits
from guesthouse.http_server.channel.deflate import Deflate
from guesthouse.http_server.channel.encryption import OVERHEAD, ChannelCipher
from guesthouse.http_server.channel.framing import frame, window_bits
from guesthouse.http_server.channel.outbox import Outbox
from guesthouse.http_server.close_codes import CloseReason, Refusal
from guesthouse.http_server.context import Context
from guesthouse.http_server.refusals import plain_response
from guesthouse.http_server.routing.bindings import RESUMABLE
from guesthouse.http_server.routing.origin import counted_as, shown_address
from guesthouse.http_server.routing.subdomains import subdomain_of
from guesthouse.http_server.state.admission import Admission
from guesthouse.http_server.state.refusal_counts import HANDSHAKE, RefusedBy
from guesthouse.http_server.websocket.extension_channel import ExtensionChannel
from guesthouse.http_server.websocket.frame_reader import MessageReader
from guesthouse.http_server.websocket.protocol import Protocol
from guesthouse.http_server.websocket.register import (
    ForeignRegister,
    Register,
    is_register,
    read_register,
    registered,
)
from guesthouse.http_server.websocket.resumable.resumable_channel import ResumableChannel
from guesthouse.http_server.websocket.resumable.resumable_handshake import ResumableHandshake
from guesthouse.http_server.websocket.resumable.session_socket import SessionSocket

_TEXT: Final = int(WsMessageType.TEXT)
_BINARY: Final = int(WsMessageType.BINARY)
_PONG: Final = int(WsMessageType.PONG)

_VERSION: Final = "13"
"""Sent with a refusal (RFC 6455, section 4.4)."""

_LONGEST_REASON: Final = 200


class OpeningSocket(SessionSocket):
    """A socket that opens a channel by one of the forms.

    Args:
        context: the server's state.
        peer: who is at the other end.
        protocol: of this connection.
    """

    __slots__ = ("_label", "_upgraded")

    _label: str

    def __init__(self, context: Context, peer: Peer, protocol: Protocol) -> None:
        super().__init__(context, peer, protocol)
        limits = context.settings.connections
        self._inbound = MessageReader(
            protocol, self.deliver, max_size=limits.register_bytes, fragments=limits.fragments
        )
        self._upgraded = False

    def _handshake(self, request_bytes: bytes) -> None:
        protocol, context = self._protocol, self.context
        protocol.receive_data(request_bytes)
        events = protocol.events_received()
        if not events or not isinstance(events[0], Request):
            refusal = plain_response(close_codes.BAD_REQUEST, tls=self.peer.scheme == "https")
            self._transport.write(b"".join(protocol.data_to_send()) or refusal)
            context.refusals.refused(close_codes.BAD_REQUEST)
            self._linger()
            return
        request = events[0]
        if context.stopping:
            self._reject(close_codes.STOPPING, request)
            return
        if context.admission is not Admission.ALL:
            self._reject(close_codes.DRAINING, request)
            return
        form = context.access.decide(request.path, request.headers, self.peer, context.now())
        if isinstance(form, Refusal):
            if form.status != HTTPStatus.SERVICE_UNAVAILABLE:  # which is no fault of the client
                context.log_client_fault(self.peer.address, f"an upgrade was refused: {form.reason}")
            self._reject(form, request)
            return
        response = protocol.accept(request)
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            if form.resumable:
                response.headers["Sec-WebSocket-Protocol"] = RESUMABLE
            elif isinstance(form, BoundForm):
                if not self._take_token(form.claims):
                    self._reject(close_codes.TOKEN_FULL, request)
                    return
                if form.subprotocol is not None:
                    response.headers["Sec-WebSocket-Protocol"] = form.subprotocol
        refused = response.status_code != HTTPStatus.SWITCHING_PROTOCOLS
        if refused:
            context.refusals.answered(RefusedBy.HTTP, response.status_code, HANDSHAKE)
            response.body = _shortened(response.body or b"")
            del response.headers["Content-Length"]
            response.headers["Content-Length"] = str(len(response.body))
            response.headers["Sec-WebSocket-Version"] = _VERSION
            self._refuse(response, request)
            return
        protocol.send_response(response)
        self._flush()
        protocol.forget_request()
        self._upgraded = True
        behind = self.peer.behind
        if behind is None or not behind.compresses:
            self.window_bits = window_bits(protocol.extensions)
        self._inbound.decompress_by(next((e for e in protocol.extensions if isinstance(e, Deflate)), None))
        self._begin(form)

    def _begin(self, form: RegisterForm | BoundForm) -> None:
        limits = self.context.settings.connections
        if isinstance(form, BoundForm):
            self.bound_path = form.bound_path
            self._event = WebSocketOpen(
                channel_id=0,
                path=form.path,
                forwarded_for=form.forwarded_for,
                url_params=form.url_params,
                query_params=form.query_params,
                bound_path=form.bound_path,
                subprotocol=form.subprotocol,
                claims=None if form.claims is None else form.claims.custom,
            )
            if not form.resumable:
                if form.extension:
                    self.extension = ExtensionChannel(self, self.context)
                self._inbound.deliver_to(self._deliver_first)
                self._open(form.process, self._event)
                return
        else:
            self._event = WebSocketOpen(channel_id=0, path="/", forwarded_for=form.forwarded_for)
            self._label = form.label
        if form.resumable:
            self._beginning = ResumableHandshake(self, self.context, form)
            self._inbound.deliver_to(self._beginning.deliver)
        self.context.deadlines.set(self, self._keepalive.heard + limits.register_seconds)
        if isinstance(form, RegisterForm) and not self.context.settings.http.register_form:
            self.end(close_codes.REGISTER_OFF)

    def _register(self, message_type: int, payload: bytes) -> None:
        if message_type not in (_TEXT, _BINARY):
            return
        if self.context.admission is not Admission.ALL:
            self.end(close_codes.NO_NEW_CHANNEL)
            return
        register = read_register(payload, self.context.tokens, self.context.now())
        if isinstance(register, ForeignRegister):
            self.have_verified(register, self._registered)
        else:
            self._registered(register)

    def have_verified(
        self, register: ForeignRegister, then: Callable[[Register | CloseReason], None]
    ) -> None:
        """Have the node of the process verify its own token, and read no more until then."""
        relays = self.context.relays
        if relays is None:
            then(register.otherwise)
            return

        def verified(claims: Claims | CloseReason) -> None:
            if self._closing:
                return
            self.resume_reading()
            if isinstance(claims, CloseReason):
                then(claims)
            else:
                self.home_token = register.token
                then(Register(register.target, claims, register.encrypted))

        self.pause_reading()
        relays.verify(register.target, register.token, register.otherwise, verified)

    def _registered(self, register: Register | CloseReason) -> None:
        if isinstance(register, CloseReason):
            self._log_fault(register)
            self.end(register)
            return
        client = counted_as(self._event.forwarded_for or self.peer.address)
        process = self.context.router.find(register.target, client)
        if process is None or process.gone or self.is_elsewhere(register.target, register.claims):
            missing = self.context.no_process(register.target)
            if missing.code == close_codes.NO_SUCH_PROCESS.code:  # the others are no fault of the client
                self._log_fault(missing)
            self.end(missing)
            return
        if not self._take_token(register.claims):
            self.end(close_codes.TOO_MANY_CHANNELS)
            return
        self._carry_claims(register.claims)
        if register.encrypted:
            self._await_key(process)
        else:
            self._open(process, self._event)
            self._transport.write(frame(_TEXT, registered(self.channel_id)))

    def is_elsewhere(self, target: ProcessId, claims: Claims) -> bool:
        """Whether a page's own token is presented on the origin of another package than the process's."""
        return bool(self._label) and self._label != subdomain_of(target) and claims.process is not None

    def _await_key(self, process: ProcessPort, answer: Callable[[int], bytes] = registered) -> None:
        """Reserve a channel id, under which the client posts its key. The process is not told yet."""
        context = self.context
        self.owner = process.id
        self.channel_id = context.channels.reserve()
        context.awaiting_key[self.channel_id] = self
        self._inbound.deliver_to(self._deliver_before_key)
        self._transport.write(frame(_TEXT, answer(self.channel_id)))
        seconds = context.settings.connections.register_seconds
        context.deadlines.set(self, context.monotonic() + seconds)

    def open_encrypted(self, cipher: ChannelCipher) -> bool:
        """Open the channel: the client has posted its key. False when its process is gone."""
        process = self.context.router.find(self.owner)
        if process is None or process.gone or self._closing:
            return False
        self.cipher = cipher
        if self._beginning is not None:
            self._open_resumable(process, self._beginning)
            return True
        self._inbound.deliver_to(self._deliver_encrypted)
        self._open(process, self._event)
        self._inbound.limit(self.context.settings.connections.message_bytes + OVERHEAD)
        return True

    # Opening what is resumable.

    def open_session(self, process: ProcessPort, claims: Claims | None, *, encrypted: bool) -> None:
        """The client of a `ResumableHandshake` may open a channel: tell it of its session."""
        handshake = self._beginning
        if handshake is None:
            return
        if not self._take_token(claims):
            self.end(close_codes.TOO_MANY_CHANNELS)
            return
        self._carry_claims(claims)
        if encrypted:
            self._await_key(process, handshake.answer)
        else:
            self.channel_id = self.context.channels.reserve()
            self._transport.write(frame(_TEXT, handshake.answer(self.channel_id)))
            self._open_resumable(process, handshake)

    def _open_resumable(self, process: ProcessPort, handshake: ResumableHandshake) -> None:
        context = self.context
        channel = ResumableChannel(context, handshake.session, process.id, self._event, self, self.channel_id)
        context.awaiting_key.pop(self.channel_id, None)
        channel.belong_to(self.token_family, self.token_login, handshake.realm)
        channel.home_token = self.home_token
        self.token_family, self.token_login = "", None  # the channel's, which gives it back
        channel.begin(process, self.cipher)

    def _take_token(self, claims: Claims | None) -> bool:
        """Count the channel against its token's limit; False when that is reached."""
        if claims is None:
            return True
        if not self.context.token_channels.take(claims.family, claims.channels):
            return False
        self.token_family, self.token_login = claims.family, claims.login
        return True

    def _carry_claims(self, claims: Claims | None) -> None:
        """Tell the process what the token of its client says."""
        if claims is not None and claims.custom is not None:
            self._event = replace(self._event, claims=claims.custom)

    def _open(self, process: ProcessPort, event: WebSocketOpen) -> None:
        context, limits = self.context, self.context.settings.connections
        self.owner = process.id
        self.channel_id = context.channels.add(self, self.channel_id)
        context.awaiting_key.pop(self.channel_id, None)
        self.opened_at = context.monotonic()
        self._process = process
        batch, more = relay_limits(limits.outbox_bytes) if isinstance(process.id, ForeignProcess) else (0, 0)
        self.outgoing = Outbox(self, self._transport, limits.outbox_bytes + more, batch)
        self._inbound.limit(limits.message_bytes)
        self._protocol.too_big = close_codes.TOO_BIG
        source = shown_address(self.peer.address, self.peer.port)
        self._event = replace(event, channel_id=self.channel_id, source_socket_addr=source)
        context.deadlines.set(self, self._keepalive.heard + limits.ping_seconds)
        process.post_open(self._event, limits.outbox_bytes)

    # From the client.

    def deliver(self, message_type: int, payload: bytes) -> None:
        """Post a message of the client to the process."""
        process = self._process
        if process is None:
            if not self._closing:
                self._register(message_type, payload)
            return
        if message_type == _PONG and payload == self._keepalive.ping:
            return
        self.messages_in += 1
        process.post_push(self.channel_id, message_type, payload, self)

    def _deliver_first(self, message_type: int, payload: bytes) -> None:
        """Receive the first message on a bound path. Older clients send a register message there, too. It is
        discarded: its token may be valid for the whole node and must not reach the process.
        """
        limit = self.context.settings.connections.register_bytes
        if message_type <= _BINARY and len(payload) <= limit and is_register(payload):
            return
        deliver = self.deliver if self.extension is None else self.extension.deliver
        if message_type <= _BINARY:
            self._inbound.deliver_to(deliver)
        deliver(message_type, payload)

    def _deliver_before_key(self, message_type: int, payload: bytes) -> None:
        """Refuse plaintext data before the key exchange."""
        if message_type <= _BINARY:
            self._inbound.close = close_codes.BAD_CIPHERTEXT.because("there is no secret yet")

    def _deliver_encrypted(self, message_type: int, payload: bytes) -> None:
        if message_type > _BINARY or self.cipher is None:
            self.deliver(message_type, payload)
        elif message_type == _TEXT:
            self._inbound.close = close_codes.BAD_CIPHERTEXT.because("it is text")
        else:
            opened = self.cipher.decrypt(payload)
            if isinstance(opened, CloseReason):
                self._inbound.close = opened
            else:
                self.deliver(_BINARY, opened)


def _shortened(reason: bytes | bytearray) -> bytes:
    """Shorten and escape a refusal's reason, which may quote the client."""
    text = reason.decode(errors="replace").strip()
    shown = text.encode("ascii", "backslashreplace")
    return shown[:_LONGEST_REASON] + (b"...\n" if len(shown) > _LONGEST_REASON else b"\n")
