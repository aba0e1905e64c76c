"""What the client of a resumable channel says to the node, besides its messages."""

from __future__ import annotations

from typing import Final, Protocol

from guesthouse.core.address import ProcessId
from guesthouse.http_server.auth.tokens import AuthError, Claims
from guesthouse.http_server.channel.carrying_socket import Speaker
from guesthouse.http_server.close_codes import TOO_MANY_CHANNELS
from guesthouse.http_server.context import Context
from guesthouse.http_server.sessions.control_messages import (
    Acknowledge,
    BadControl,
    Control,
    Heartbeat,
    HeartbeatAnswer,
    Lost,
    Refresh,
    Refreshed,
    write_control,
)
from guesthouse.http_server.sessions.session_table import HeldSession
from guesthouse.http_server.websocket.frame_reader import SLICE
from guesthouse.http_server.websocket.resumable.retaining_outbox import RetainingOutbox

_TOO_MANY_TOKENS: Final = "too many tokens in this session that were not valid: wait, then try again"
_CONTROL_COST: Final = 16
"""What a control message takes, in plain messages."""


class Controlled(HeldSession, Protocol):
    """The channel."""

    context: Context
    owner: ProcessId
    bound_path: str | None
    outgoing: RetainingOutbox
    token_family: str
    realm: str | None

    def belong_to(self, family: str, login: str | None, realm: str | None) -> None:
        """Its token, which has been counted."""

    def acknowledge(self) -> None:
        """Tell the client what was received."""

    def say(self, control: bytes) -> None:
        """Send a control message."""

    def complain(self, fault: str) -> None:
        """Log a fault of this channel."""


def take_control(channel: Controlled, socket: Speaker, control: Control) -> None:
    """Do what a control message asks for. The client is there: it has its key.

    Raises:
        BadControl: it may not come here.
        BadCount: it counts what cannot be.
    """
    session = channel.session
    session.keys.confirm()
    socket.charge(_CONTROL_COST)
    if isinstance(control, Acknowledge):
        channel.outgoing.acknowledge(control.received)
    elif isinstance(control, Heartbeat):
        channel.say(write_control(HeartbeatAnswer(control.data, session.told())))
    elif isinstance(control, Lost):
        session.skip(control.count)
        channel.complain("a client has lost messages that it was to send")
        channel.acknowledge()
    elif isinstance(control, Refresh):
        socket.charge(SLICE)
        channel.say(write_control(_refreshed(channel, control.auth_token)))
    else:
        raise BadControl("the channel is open already")


def _refreshed(channel: Controlled, token: str) -> Refreshed:
    """Have the session belong to another token, which may be of another family; the old one is as good as before."""
    context = channel.context
    if not channel.token_family:
        return Refreshed(error="the channel was opened without a token")
    if not context.sessions.may_refresh(channel, context.monotonic()):
        return Refreshed(error=_TOO_MANY_TOKENS)
    try:
        claims = _verified(channel, token)
    except AuthError as error:
        context.sessions.refresh_failed(channel, context.monotonic())
        return Refreshed(error=str(error))
    if claims.family != channel.token_family:
        if not context.token_channels.take(claims.family, claims.channels):
            return Refreshed(error=TOO_MANY_CHANNELS.reason)
        context.token_channels.release(channel.token_family)
        channel.belong_to(claims.family, claims.login, channel.realm)
    return Refreshed(expiration=claims.expiration)


def _verified(channel: Controlled, token: str) -> Claims:
    """A token that could have opened the channel.

    Raises:
        AuthError: it could not.
    """
    claims = channel.context.tokens.verify(token, channel.context.now(), channel.realm)
    if not claims.opens(channel.owner):
        raise AuthError(f"the token is for {claims.process}")
    if claims.page and channel.bound_path is not None:
        raise AuthError("the token was made for a page: log in")
    return claims
