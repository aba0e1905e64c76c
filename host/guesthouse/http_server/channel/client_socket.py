"""A WebSocket connection as the server's parts see it."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Protocol

from guesthouse.http_server.auth.access import Peer
from guesthouse.http_server.channel.channel import Channel
from guesthouse.http_server.channel.encryption import ChannelCipher
from guesthouse.http_server.channel.session_channel import SessionChannel
from guesthouse.http_server.close_codes import CloseReason


class ClientSocket(Channel):
    """Base of a client's socket. It is a channel itself unless it carries one with a session."""

    __slots__ = ()

    @property
    @abstractmethod
    def transport(self) -> asyncio.Transport:
        """What it writes to."""

    @property
    @abstractmethod
    def has_session(self) -> bool:
        """Whether its client has a session, or has asked for one."""

    @property
    @abstractmethod
    def resumable(self) -> SessionChannel | None:
        """The channel with a session whose socket it is, or was."""

    @abstractmethod
    def depart(self, close: CloseReason) -> bool:
        """Close the socket, which is no session's; False when it is closing already."""

    @abstractmethod
    def let_go(self) -> None:
        """Close it without a close frame once all is written, and pass nothing on that comes from it."""

    @abstractmethod
    def abort(self) -> None:
        """Close the socket now."""


class KeylessSocket(Protocol):
    """The socket of an encrypted channel whose client has not posted its key yet."""

    peer: Peer

    def open_encrypted(self, cipher: ChannelCipher) -> bool:
        """The client has posted its key: open the channel. False when its process is gone."""
