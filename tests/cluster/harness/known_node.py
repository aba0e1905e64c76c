"""`guesthouse`, joined over the NATS servers of NODES_NATS to the nodes whose keys NODES_KEYS has: without cards."""

from __future__ import annotations

import json
import os
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from guesthouse.cli.main import main
from guesthouse.cluster.carrier import NatsCarrier
from guesthouse.cluster.nats_client import Access
from guesthouse.cluster.nats_connection import NatsConnection
from guesthouse.node.node import Node

CLUSTER: Final = "c1" * 16

_entered: Final = Node.__aenter__
_left: Final = Node.__aexit__
_connections: Final[list[NatsConnection]] = []


async def joined(self: Node) -> Node:
    """`Node.__aenter__`, and the connection to NATS."""
    node = await _entered(self)
    keys = {
        name: Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        for name, key in json.loads(os.environ["NODES_KEYS"]).items()
    }
    name = node.settings.node
    connection = NatsConnection(os.environ["NODES_NATS"].split(","), Access(None), name, node.log)
    carrier = NatsCarrier(connection, CLUSTER, name)
    peers = node.join(carrier, keys.get, bytes.fromhex(CLUSTER))
    carrier.listen(peers.incoming)
    carrier.on_room = peers.carrier_ready
    _connections.append(connection)
    await connection.__aenter__()
    await connection.wait_up()
    return node


async def leaving(self: Node, *error: Any) -> None:
    """`Node.__aexit__`, and the connection's end."""
    await _left(self, *error)
    await _connections.pop().__aexit__()


if __name__ == "__main__":
    setattr(Node, "__aenter__", joined)  # noqa: B010 - there is no other way in
    setattr(Node, "__aexit__", leaving)  # noqa: B010
    main()
