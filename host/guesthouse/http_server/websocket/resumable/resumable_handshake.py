"""How a client that asked for a session gets one, or comes back to its own: its first message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from guesthouse.core.address import ProcessId
from guesthouse.core.messages import WsMessageType
from guesthouse.core.ports import ProcessPort
from guesthouse.http_server import close_codes
from guesthouse.http_server.auth.access import BoundForm, RegisterForm
from guesthouse.http_server.auth.tokens import AuthError, Claims
from guesthouse.http_server.channel.carrying_socket import CarryingSocket
from guesthouse.http_server.channel.session_channel import SessionChannel
from guesthouse.http_server.close_codes import CloseReason
from guesthouse.http_server.context import Context
from guesthouse.http_server.routing.origin import counted_as
from guesthouse.http_server.sessions.control_messages import (
    ESCAPE,
    BadControl,
    OpenChannel,
    Resume,
    is_control,
    read_control,
)
from guesthouse.http_server.sessions.session import Session
from guesthouse.http_server.sessions.session_keys import SessionKeys
from guesthouse.http_server.state.admission import Admission
from guesthouse.http_server.websocket.register import ForeignRegister, Register, check_register
from guesthouse.http_server.websocket.resumable.answers import opened
from guesthouse.http_server.websocket.resumable.resumable_channel import ResumableChannel

_TEXT = int(WsMessageType.TEXT)
_BINARY = int(WsMessageType.BINARY)


class Newcomer(CarryingSocket[ResumableChannel], Protocol):
    """A socket that is no channel's yet."""

    def is_elsewhere(self, target: ProcessId, claims: Claims) -> bool:
        """Whether a page's own token is shown on an origin of another package than that of the process."""

    def have_verified(
        self, register: ForeignRegister, then: Callable[[Register | CloseReason], None]
    ) -> None:
        """Have another node verify its own token, and read no more until then."""

    def open_session(self, process: ProcessPort, claims: Claims | None, *, encrypted: bool) -> None:
        """Open a channel."""


class ResumableHandshake:
    """The beginning of one socket.

    Args:
        socket: the socket.
        context: the server's state.
        form: what was decided about its upgrade request.
    """

    __slots__ = ("_context", "_form", "_socket", "session")

    def __init__(self, socket: Newcomer, context: Context, form: RegisterForm | BoundForm) -> None:
        self._socket = socket
        self._context = context
        self._form = form
        self.session = Session(
            SessionKeys(context.sessions.sign), context.settings.connections.acknowledge_messages
        )
        """Of the channel that it may open."""

    @property
    def realm(self) -> str | None:
        """The sub-domain that tokens of this channel are for."""
        claims = self._form.claims if isinstance(self._form, BoundForm) else None
        return None if claims is None else claims.subdomain

    def answer(self, channel_id: int) -> bytes:
        """Tells the client of the session that it has now."""
        subprotocol = self._form.subprotocol if isinstance(self._form, BoundForm) else None
        return opened(self._context, self.session, channel_id, subprotocol)

    def deliver(self, message_type: int, payload: bytes) -> None:
        """Take the first message."""
        if message_type > _BINARY:
            return
        try:
            close = self._take(message_type, payload)
        except BadControl as error:
            close = close_codes.BAD_CONTROL.because(str(error))
        if close is not None:
            self._socket.refuse(close)

    def _take(self, message_type: int, payload: bytes) -> CloseReason | None:
        if message_type != _TEXT or payload[:1] != ESCAPE or not is_control(payload):
            raise BadControl("open or resume comes first")
        control = read_control(payload)
        if isinstance(control, OpenChannel):
            if self._context.admission is not Admission.ALL:
                return close_codes.NO_NEW_CHANNEL
            return self._open_bound() if isinstance(self._form, BoundForm) else self._register(control)
        if isinstance(control, Resume):
            return self._resume(control)
        raise BadControl("open or resume comes first")

    def _open_bound(self) -> CloseReason | None:
        form = self._form
        if not isinstance(form, BoundForm) or form.process.gone:
            return close_codes.NO_SUCH_PROCESS
        self._socket.open_session(form.process, form.claims, encrypted=False)
        return None

    def _register(self, control: OpenChannel) -> CloseReason | None:
        context = self._context
        register = check_register(
            control.auth_token, control.target_process, control.encrypted, context.tokens, context.now()
        )
        if isinstance(register, ForeignRegister):
            self._socket.have_verified(register, self._verified)
            return None
        return self._registered(register)

    def _verified(self, register: Register | CloseReason) -> None:
        close = self._registered(register)
        if close is not None:
            self._socket.end(close)

    def _registered(self, register: Register | CloseReason) -> CloseReason | None:
        context = self._context
        if isinstance(register, CloseReason):
            return register
        client = counted_as(self._form.forwarded_for or self._socket.peer.address)
        process = context.router.find(register.target, client)
        if process is None or process.gone or self._socket.is_elsewhere(register.target, register.claims):
            return context.no_process(register.target)
        self._socket.open_session(process, register.claims, encrypted=register.encrypted)
        return None

    def _resume(self, control: Resume) -> CloseReason | None:
        claims = self._claims(control)
        if isinstance(claims, CloseReason):
            return claims
        context = self._context
        address = counted_as(self._form.forwarded_for or self._socket.peer.address)
        now = context.monotonic()
        user = "" if claims is None else claims.family
        channel = context.sessions.find(control.session, address, user, now)
        if isinstance(channel, CloseReason):
            return channel
        if not self._is_its_own(channel, claims):
            return context.sessions.refuse(channel, address, user, now)
        return channel.resume(self._socket, self._form.forwarded_for, control.received)

    def _claims(self, control: Resume) -> Claims | CloseReason | None:
        """The token of whoever resumes, which has to be as good as one that opens."""
        if isinstance(self._form, BoundForm):
            return self._form.claims
        context = self._context
        if control.auth_token is None:
            return close_codes.NOT_A_REGISTER.because("auth_token is a string")
        try:
            return context.tokens.verify(control.auth_token, context.now())
        except AuthError as error:
            return close_codes.BAD_TOKEN.because(str(error))

    def _is_its_own(self, channel: SessionChannel, claims: Claims | None) -> bool:
        """Whether a session is of the same user, and was opened in the same place."""
        if channel.token_family != ("" if claims is None else claims.family):
            return False
        if isinstance(self._form, BoundForm):
            place = (self._form.process.id, self._form.bound_path, self._form.path)
            return place == (channel.owner, channel.bound_path, channel.path)
        if claims is None or channel.bound_path is not None:
            return False
        return self._context.access.opens(claims, channel.owner) and not self._socket.is_elsewhere(
            channel.owner, claims
        )
