"""The two sockets of a client's connection through a gateway."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, cast

from guesthouse.linux.tcp_info import has_hung_up, is_peer_gone

_BUFFERED: Final = 64 * 1024
"""Bytes that wait for a socket before the other is not read."""


class Relay(Protocol):
    """What the sockets are of."""

    @property
    def secure(self) -> bool:
        """Whether the client speaks TLS."""

    @property
    def client(self) -> ClientSide:
        """The client's socket."""

    @property
    def node(self) -> NodeSide:
        """The way to the node."""

    def from_client(self, data: bytes) -> None:
        """Bytes of the client."""

    def client_ended(self, *, gone: bool) -> None:
        """The client sends no more; or its socket is closed."""

    def from_node(self, data: bytes) -> None:
        """Bytes of the node."""

    def node_ended(self, *, gone: bool) -> None:
        """The node sends no more; or its socket is closed."""

    def read_on(self) -> None:
        """The node takes more."""


class _Side(asyncio.Protocol):
    """One socket of a relay."""

    __slots__ = ("_early", "_finished", "_relay", "_transport", "full", "over", "paused")

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._transport: asyncio.Transport | None = None
        self._finished = False
        self._early: list[bytes] = []
        """What is for it before it is there."""
        self.over = False
        """Whether it is closed."""
        self.full = False
        """Whether it takes no more for now."""
        self.paused = False
        """Whether it is not read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        self._transport = made = cast(asyncio.Transport, transport)
        made.set_write_buffer_limits(_BUFFERED, _BUFFERED // 4)
        early, self._early = self._early, []
        made.writelines(early)
        if self.over:
            made.abort()
        elif self._finished:
            self._finished = False
            self.finish()

    def pause(self) -> None:
        """Read no more."""
        if not self.paused and self._transport is not None and not self.over:
            self.paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self.paused and self._transport is not None and not self.over:
            self.paused = False
            self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Send."""
        if self._finished or self.over:
            return
        if self._transport is None:
            self._early.append(data)
        else:
            self._transport.write(data)

    def finish(self) -> None:
        """Nothing more is sent."""
        transport = self._transport
        if self._finished or self.over:
            return
        self._finished = True
        if transport is None:
            return  # as soon as it is there
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()

    def close(self) -> None:
        """Close once all is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now."""
        if self._transport is None:
            self.over = True
        else:
            self._transport.abort()

    @property
    def made(self) -> bool:
        """Whether the connection was there."""
        return self._transport is not None

    @property
    def unsent(self) -> int:
        """Bytes that it has not taken."""
        return 0 if self._transport is None or self.over else self._transport.get_write_buffer_size()


class ClientSide(_Side):
    """The client's socket."""

    __slots__ = ("_discards",)

    def __init__(self, relay: Relay) -> None:
        super().__init__(relay)
        self._discards = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there, with TLS if it has any."""
        super().connection_made(transport)
        self._relay.node.resume()

    def data_received(self, data: bytes) -> None:
        """The client sends."""
        if not self._discards:
            self._relay.from_client(data)

    def eof_received(self) -> bool:
        """The client sends no more."""
        self._relay.client_ended(gone=False)
        return not self._relay.secure

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self.over = True
        self._relay.client_ended(gone=True)

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self.full = True
        self._relay.node.pause()

    def resume_writing(self) -> None:
        """The client reads."""
        self.full = False
        self._relay.node.resume()

    def discard(self) -> None:
        """Pass on nothing more."""
        self._discards = True
        self.resume()

    def is_gone(self, silence: float) -> bool:
        """Whether the client has left, though its socket is not read."""
        return self._transport is not None and is_peer_gone(self._transport, silence)


class NodeSide(_Side):
    """The way to the node."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing is read before the client is there."""
        super().connection_made(transport)
        self.pause()

    def data_received(self, data: bytes) -> None:
        """The node sends."""
        self._relay.from_node(data)

    def eof_received(self) -> bool:
        """The node sends no more."""
        self._relay.node_ended(gone=False)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self.over = True
        self._relay.node_ended(gone=True)

    def is_gone(self) -> bool:
        """Whether the node has closed it, though it is not read."""
        return self._transport is not None and has_hung_up(self._transport)

    def pause_writing(self) -> None:
        """The node takes no more."""
        self.full = True
        self._relay.client.pause()

    def resume_writing(self) -> None:
        """The node takes more."""
        self.full = False
        self._relay.read_on()
