"""What the node tells the client of a session that begins, or goes on by another socket."""

from __future__ import annotations

from typing import Final, Protocol

from guesthouse.http_server.context import Context
from guesthouse.http_server.sessions.control_messages import Cadence, Opened, Resumed, write_control
from guesthouse.http_server.sessions.session import Session

_ACKNOWLEDGE_BYTES: Final = 8
"""A client is to acknowledge each eighth of the outbox."""


class Answering(Protocol):
    """The channel."""

    context: Context
    session: Session
    channel_id: int

    @property
    def subprotocol(self) -> str | None:
        """What its process speaks."""


def opened(context: Context, session: Session, channel_id: int, subprotocol: str | None) -> bytes:
    """The control message that tells a client of its session."""
    limits = context.settings.connections
    return write_control(
        Opened(
            channel_id,
            session.keys.newest(),
            limits.resume_seconds,
            limits.message_bytes,
            _cadence(context),
            subprotocol,
        )
    )


def resumed(channel: Answering, key: str) -> bytes:
    """The control message that tells a client that it is back, and its next key."""
    limits = channel.context.settings.connections
    return write_control(
        Resumed(
            channel.channel_id,
            key,
            channel.session.told(),
            limits.resume_seconds,
            limits.message_bytes,
            _cadence(channel.context),
            channel.subprotocol,
        )
    )


def _cadence(context: Context) -> Cadence:
    """When clients are to acknowledge."""
    limits = context.settings.connections
    share = max(1, limits.outbox_bytes // _ACKNOWLEDGE_BYTES)
    return Cadence(limits.acknowledge_messages, share, limits.acknowledge_seconds)
