"""One WebSocket connection: asyncio I/O around the pure protocol parts.

uvicorn hands over the socket with the upgrade request. From then on this class moves bytes between the socket,
`MessageReader`, the process and `Outbox`, with no task, timer, log line or copy for each message.

States: handshake, registering (register form only), open, closing, closed. It is a channel while open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, cast

from msgspec.structs import replace
from websockets.http11 import Request

from guesthouse.core.address import ProcessId
from guesthouse.core.messages import WebSocketOpen, WsMessageType
from guesthouse.core.ports import ProcessPort
from guesthouse.http_server import close_codes
from guesthouse.http_server.auth.access import BoundForm, Peer, RegisterForm
from guesthouse.http_server.auth.tokens import Claims
from guesthouse.http_server.close_codes import CloseReason, Refusal
from guesthouse.http_server.refusals import plain_response
from guesthouse.http_server.routing.bindings import RESUMABLE
from guesthouse.http_server.routing.origin import shown_address
from guesthouse.http_server.routing.subdomains import subdomain_of
from guesthouse.http_server.state.channels import ChannelRecord
from guesthouse.http_server.state.context import Context
from guesthouse.http_server.state.partial_messages import FREE
from guesthouse.http_server.state.timer_wheel import NEVER
from guesthouse.http_server.websocket.closed_transport import ClosedTransport
from guesthouse.http_server.websocket.credit_window import write_limits
from guesthouse.http_server.websocket.deflate import DEFLATE
from guesthouse.http_server.websocket.encryption import OVERHEAD, ChannelCipher
from guesthouse.http_server.websocket.extension_channel import ExtensionChannel
from guesthouse.http_server.websocket.frame_reader import MessageReader
from guesthouse.http_server.websocket.framing import encode, frame, window_bits
from guesthouse.http_server.websocket.lifecycle import Notify
from guesthouse.http_server.websocket.outbox import Outbox
from guesthouse.http_server.websocket.protocol import Protocol
from guesthouse.http_server.websocket.register import is_register, read_register, registered
from guesthouse.http_server.websocket.resumable.resumable_channel import ResumableChannel
from guesthouse.http_server.websocket.resumable.resumable_handshake import ResumableHandshake
from guesthouse.http_server.websocket.resumable.session_socket import SessionSocket, discard

_TEXT: Final = int(WsMessageType.TEXT)
_BINARY: Final = int(WsMessageType.BINARY)
_PING: Final = int(WsMessageType.PING)
_PONG: Final = int(WsMessageType.PONG)
_CONTROL: Final = 0x08

_VERSION: Final = "13"
"""Sent with a refusal (RFC 6455, section 4.4)."""

_LONGEST_REASON: Final = 200

_LOGGER = logging.getLogger("guesthouse.websocket")
_LOGGER.setLevel(logging.ERROR)


class WebSocketConnection(SessionSocket):
    """One client. It is the `Feeder` of its process's mailbox.

    Args:
        context: state shared by the server's connections.
        peer: the client's address and scheme.
        released: called once, when the socket is closed and its input delivered.
    """

    __slots__ = (
        "_event", "_label", "_noted", "_released", "_upgraded", "bound_path", "cipher", "extension", "messages_in",
        "token_family", "token_login", "window_bits",
    )  # fmt: skip

    _event: WebSocketOpen
    _label: str

    def __init__(self, context: Context, peer: Peer, released: Callable[[], None]) -> None:
        limits = context.settings.connections
        super().__init__(context, peer, Protocol(extensions=[DEFLATE], logger=_LOGGER))
        self.bound_path: str | None = None
        self.token_family = ""
        """Family of the token that opened the channel; empty without one."""
        self.token_login: str | None = None
        """Login that issued the token, if any."""
        self.messages_in = 0
        self.cipher: ChannelCipher | None = None
        """Set on encrypted channels."""
        self.extension: ExtensionChannel | None = None
        """Set on channels of extensions."""
        self._released: Callable[[], None] | None = released
        self._inbound = MessageReader(
            self._protocol, self.deliver, max_size=limits.register_bytes, fragments=limits.fragments
        )
        self.window_bits = 0
        self._upgraded = False
        self._noted = -1
        """`messages_in` when its partial message was last counted in `context.unfinished`; -1 if none is."""

    # asyncio callbacks.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the socket."""
        self._transport = cast(asyncio.Transport, transport)
        self.context.connections.add(self)
        high, low = write_limits(self.context.settings.connections.outbox_bytes)
        self._transport.set_write_buffer_limits(high, low)

    def data_received(self, data: bytes) -> None:
        """Receive the upgrade request, then frames."""
        if self._ending:
            return
        self._keepalive.heard = self.context.monotonic()
        if self._process is not None and self._inbound.receive_plain(data):
            if self._inbound.close is not None:
                self._after_receive()
        elif self._keepalive.ping is not None and self._inbound.is_pong(data, self._keepalive.ping):
            return
        elif not self._upgraded:
            self._handshake(data)
        elif (self._process is None or data[0] & _CONTROL) and not self.context.turns.take():
            self._inbound.paused = self._inbound.sliced = True
            self._inbound.receive(data)
            self._after_receive()
        else:
            self._inbound.receive(data)
            self._after_receive()

    def eof_received(self) -> bool:
        """The client closed its side without a close frame."""
        self._detach(Notify.LOST)
        self._ending = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed; the channel ends once the process has received what came before."""
        self._transport = ClosedTransport(self._release)
        if self._process is not None:
            if self._resumable is None:
                self.outgoing.set_transport(self._transport)
            else:
                self._resumable.lost(self)
            if self._inbound.paused and not self._closing:
                return  # `ClosedTransport` releases it once delivery has resumed and finished
        self.context.turns.run(self._release)

    def _release(self) -> None:
        """Free everything the connection holds."""
        released, self._released = self._released, None
        if released is None:
            return
        self._detach(Notify.LOST)
        self._ending = True
        self.context.deadlines.set(self, NEVER)
        if self.token_family:
            self.context.token_channels.release(self.token_family)
        self.context.connections.discard(self)
        self._break_cycles()
        released()
        self.context.disconnected()

    def _break_cycles(self) -> None:
        """Drop references in cycles, so that memory is freed at once and not by a garbage collection."""
        self._transport.close()
        self._inbound.deliver_to(discard)
        self._protocol.parser.close()
        self._drop_input()
        self.extension = self._beginning = None
        if self._resumable is not None:
            self._resumable = None
            del self.outgoing
        elif self.opened_at:
            self.outgoing.break_cycle()
            del self.outgoing

    def resume_writing(self) -> None:
        """The socket's write buffer fell below its low-water mark."""
        if self._process is not None:
            self.outgoing.resume()

    # Opening.

    def _handshake(self, request_bytes: bytes) -> None:
        protocol = self._protocol
        protocol.receive_data(request_bytes)
        events = protocol.events_received()
        if not events or not isinstance(events[0], Request):
            refusal = plain_response(close_codes.BAD_REQUEST, tls=self.peer.scheme == "https")
            self._transport.write(b"".join(protocol.data_to_send()) or refusal)
            self._linger()
            return
        request = events[0]
        context = self.context
        if context.stopping:
            self._reject(close_codes.STOPPING, request)
            return
        form = context.access.decide(request.path, request.headers, self.peer, context.now())
        if isinstance(form, Refusal):
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
        self.window_bits = window_bits(protocol.extensions)
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
        register = read_register(payload, self.context.tokens, self.context.now())
        if isinstance(register, CloseReason):
            self._log_fault(register)
            self.end(register)
            return
        process = self.context.router.find(register.target)
        if process is None or process.gone or self.is_elsewhere(register.target, register.claims):
            self.end(close_codes.NO_SUCH_PROCESS)
        elif not self._take_token(register.claims):
            self.end(close_codes.TOO_MANY_CHANNELS)
        elif register.encrypted:
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
        elif encrypted:
            self._await_key(process, handshake.answer)
        else:
            self.channel_id = self.context.channels.reserve()
            self._transport.write(frame(_TEXT, handshake.answer(self.channel_id)))
            self._open_resumable(process, handshake)

    def _open_resumable(self, process: ProcessPort, handshake: ResumableHandshake) -> None:
        context = self.context
        channel = ResumableChannel(context, handshake.session, process, self._event, self, self.channel_id)
        context.awaiting_key.pop(self.channel_id, None)
        channel.belong_to(self.token_family, self.token_login, handshake.realm)
        self.token_family, self.token_login = "", None  # the channel's, which gives it back
        channel.begin(self.cipher)

    def _take_token(self, claims: Claims | None) -> bool:
        """Count the channel against its token's limit; False when that is reached."""
        if claims is None:
            return True
        if not self.context.token_channels.take(claims.family, claims.channels):
            return False
        self.token_family, self.token_login = claims.family, claims.login
        return True

    def _open(self, process: ProcessPort, event: WebSocketOpen) -> None:
        context, limits = self.context, self.context.settings.connections
        self.owner = process.id
        self.channel_id = context.channels.add(self, self.channel_id)
        context.awaiting_key.pop(self.channel_id, None)
        self.opened_at = context.monotonic()
        self._process = process
        self.outgoing = Outbox(self, self._transport, limits.outbox_bytes)
        self._inbound.limit(limits.message_bytes)
        self._protocol.too_big = close_codes.TOO_BIG
        source = shown_address(self.peer.address, self.peer.port)
        self._event = replace(event, channel_id=self.channel_id, source_socket_addr=source)
        context.deadlines.set(self, self._keepalive.heard + limits.ping_seconds)
        process.post_open(self._event, limits.outbox_bytes)

    def reopen(self, process: ProcessPort) -> None:
        """Post the open channel to the restarted process. Bytes still buffered reduce its credit."""
        self._process = process
        process.post_open(replace(self._event, resumed=True), self.outgoing.reset())

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

    def complain(self, fault: str) -> None:
        """Log a fault on this channel, rate-limited."""
        self.context.client_faults.log(str(self.owner), fault, self.context.monotonic())

    def _after_receive(self) -> None:
        close = self._inbound.close
        if close is not None:
            close = self._close_for_state(close)
            self._log_fault(close)
            self._fail(close)
            self._drop_input()
            return
        if self._protocol.writes:
            self._flush()
        if self._protocol.eof_sent:
            self._close_received()
            sent = self._protocol.close_sent
            if sent is not None and self._protocol.close_rcvd is None:
                self._log_fault(sent)
            self._finish()
            self._drop_input()
        elif self._inbound.sliced:
            self._inbound.sliced = False
            self._transport.pause_reading()
            self.context.turns.add(self._resume)
        held = self._inbound.unfinished
        if held > FREE or self._noted >= 0:
            restarted, self._noted = self.messages_in != self._noted, self.messages_in if held > FREE else -1
            self.context.unfinished.note(self, held, restarted=restarted)

    def make_room(self) -> None:
        """See `partial_messages.Holder`."""
        self._log_fault(close_codes.CROWDED)
        self._fail(close_codes.CROWDED)
        self._drop_input()

    def _drop_input(self) -> None:
        """Free buffered input. Stored parser exceptions hold references to decompressed data."""
        self._inbound.drop()
        if self._noted >= 0:
            self._noted = -1
            self.context.unfinished.note(self, 0)
        self._protocol.parser_exc = self._protocol.handshake_exc = None

    def _close_for_state(self, close: CloseReason) -> CloseReason:
        return close_codes.REGISTER_TOO_BIG if close is close_codes.TOO_BIG and not self.opened_at else close

    def pause_reading(self) -> None:
        """Stop delivering, including what was already read: the mailbox is full."""
        if not self._inbound.paused and not self._closing and not self._transport.is_closing():
            self._inbound.paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Resume delivery in a later iteration of the event loop."""
        if self._inbound.paused:
            self.context.turns.add(self._resume)

    def _resume(self) -> None:
        if self._ending or not self._inbound.paused:
            return
        self._inbound.paused = False
        self._keepalive.reset(self.context.monotonic())
        self._inbound.receive(b"")
        if not self._inbound.paused:
            self._transport.resume_reading()
        self._after_receive()

    # To the client.

    @property
    def is_open(self) -> bool:
        """Whether the channel is open."""
        return self._process is not None

    @property
    def path(self) -> str:
        """Path of the request, as in `WebSocketOpen`."""
        return self._event.path

    def framed(self, message_type: int, payload: bytes) -> bytes:
        """Encode a message for this client: encrypted or compressed as negotiated."""
        if self.cipher is None:
            return encode(message_type, payload, self.window_bits)
        if message_type > _BINARY:
            return frame(message_type, payload)
        return frame(_BINARY, self.cipher.encrypt(payload))

    def grant_credit(self, size: int) -> None:
        """See `outbox.Owner`."""
        if self._process is not None:
            self._process.grant_credit(self.channel_id, size)

    def too_slow(self) -> None:
        """See `outbox.Owner`."""
        self.end(close_codes.TOO_SLOW)

    def dropped(self) -> None:
        """See `outbox.Owner`."""
        self.complain("a message was dropped for newer ones: its client reads too slowly")

    def record(self) -> ChannelRecord:
        """Status of the channel, for `guesthouse channels`."""
        return ChannelRecord(
            self.channel_id,
            self.owner,
            self._event.path,
            self._event.source_socket_addr or "",
            self.opened_at,
            self.messages_in,
            self.outgoing.messages,
            self.outgoing.waiting,
        )


def _shortened(reason: bytes | bytearray) -> bytes:
    """Shorten and escape a refusal's reason, which may quote the client."""
    text = reason.decode(errors="replace").strip()
    shown = text.encode("ascii", "backslashreplace")
    return shown[:_LONGEST_REASON] + (b"...\n" if len(shown) > _LONGEST_REASON else b"\n")
