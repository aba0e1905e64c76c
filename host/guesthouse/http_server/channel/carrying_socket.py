"""What a resumable channel asks of the socket that carries it."""

from __future__ import annotations

import asyncio
from typing import Protocol, TypeVar

from guesthouse.core.ports import ProcessPort
from guesthouse.http_server.auth.access import Peer
from guesthouse.http_server.channel.channel import Notify
from guesthouse.http_server.close_codes import CloseReason

_Carried = TypeVar("_Carried", contravariant=True)


class Speaker(Protocol):
    """The socket that a control message came by."""

    peer: Peer

    def charge(self, frames: int) -> None:
        """What its client just sent took as long as so many plain messages."""


class CarryingSocket(Speaker, Protocol[_Carried]):
    """The socket of a channel."""

    window_bits: int

    @property
    def transport(self) -> asyncio.Transport:
        """What it writes to."""

    def serve(self, channel: _Carried, process: ProcessPort | None) -> None:
        """From now on it is the socket of that channel, which has no process any more if that is None."""

    def supersede(self, close: CloseReason) -> None:
        """It is no channel's any more: close it, and pass nothing on that comes from it."""

    def let_go(self) -> None:
        """Close it without a close frame once all is written, and pass nothing on that comes from it."""

    def refuse(self, close: CloseReason) -> None:
        """What its client just sent is against the rules."""

    def was_pinged(self, payload: bytes) -> bool:
        """Whether a pong with this payload answers a ping of the node's own."""

    def end(self, close: CloseReason | None, tell: Notify = Notify.CLOSED) -> None:
        """Close it in order."""

    def pause_reading(self) -> None:
        """Read no more."""

    def resume_reading(self) -> None:
        """Go on."""
