"""`guesthouse`, joined to other nodes by the unix socket that NODES_SOCKET names. NODES_KEYS has their public keys.

A node that connects says its name, and then frames, each behind its length in four bytes; nobody checks the name, as a
transport is not believed. Frames larger than it promises are carried too, so that the node itself refuses them.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any, Final, Literal, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from guesthouse.cli.main import main
from guesthouse.core.ports import Incoming
from guesthouse.kernel.cluster.services import MAX_MESSAGE
from guesthouse.node.node import Node

LENGTH_BYTES: Final = 4
MOST_UNSENT: Final = 16 * 1024 * 1024
"""Of what a node does not read, more is dropped."""


class Transport:
    """The nodes that are connected."""

    frame_bytes: Final = 1024 * 1024

    def __init__(self) -> None:
        self.peers: dict[str, asyncio.WriteTransport] = {}
        self.incoming: Incoming
        self.server: asyncio.Server

    def send(self, node: str, frame: bytes) -> Literal["offline"] | None:
        """See `ports.Transport`."""
        peer = self.peers.get(node)
        if peer is None or peer.is_closing():
            return "offline"
        if peer.get_write_buffer_size() < MOST_UNSENT:
            peer.write(len(frame).to_bytes(LENGTH_BYTES, "little") + frame)
        return None


class Peer(asyncio.Protocol):
    """One that is connected. When the node is full it is not read."""

    def __init__(self, nodes: Transport) -> None:
        self._nodes = nodes
        self._buffer = bytearray()
        self._named = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self._buffer += data
        self._hand_over()

    def _hand_over(self) -> None:
        buffer = self._buffer
        while len(buffer) >= LENGTH_BYTES:
            end = LENGTH_BYTES + int.from_bytes(buffer[:LENGTH_BYTES], "little")
            if end > 2 * MAX_MESSAGE:
                self._transport.abort()
                return
            if end > len(buffer):
                break
            frame = bytes(memoryview(buffer)[LENGTH_BYTES:end])
            if not self._named:
                self._named = True
                self._nodes.peers[frame.decode()] = self._transport
            elif self._nodes.incoming(frame) == "full":
                self._transport.pause_reading()
                asyncio.get_running_loop().call_later(0.005, self._hand_over)
                return
            del buffer[:end]
        if not self._transport.is_reading() and not self._transport.is_closing():
            self._transport.resume_reading()


_entered: Final = Node.__aenter__
_left: Final = Node.__aexit__
_transport: Final = Transport()


async def joined(self: Node) -> Node:
    """`Node.__aenter__`, and a socket for other nodes."""
    node = await _entered(self)
    keys = {
        name: Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        for name, key in json.loads(os.environ["NODES_KEYS"]).items()
    }
    transport = _transport
    transport.incoming = node.join(transport, keys.get).incoming
    loop = asyncio.get_running_loop()
    transport.server = await loop.create_unix_server(lambda: Peer(transport), os.environ["NODES_SOCKET"])
    return node


async def leaving(self: Node, *error: Any) -> None:
    """`Node.__aexit__`, and the socket's end."""
    _transport.server.close()
    for peer in _transport.peers.values():
        peer.abort()
    await _left(self, *error)


if __name__ == "__main__":
    setattr(Node, "__aenter__", joined)  # noqa: B010 - there is no other way in
    setattr(Node, "__aexit__", leaving)  # noqa: B010
    main()
