"""Makes nodes know each other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guesthouse.http_server.auth.credentials import load_node_key

from .known_node import CLUSTER

if TYPE_CHECKING:
    from .world import Place


async def form_cluster(places: Sequence[Place], others: Mapping[str, Ed25519PrivateKey]) -> str:
    """Tell each node the keys of all, before they start.

    Args:
        places: the nodes.
        others: members that are no nodes: their names and keys.

    Returns:
        The cluster's id, in hexadecimal.
    """
    private = {place.name: load_node_key(place.home) for place in places} | dict(others)
    keys = {name: key.public_key().public_bytes_raw().hex() for name, key in private.items()}
    for place in places:
        place.module = Path(__file__).with_name("known_node.py")
        urls = ",".join(f"nats://127.0.0.1:{link.port}" for link in place.links)
        place.variables |= {"NODES_KEYS": json.dumps(keys), "NODES_NATS": urls}
    return CLUSTER
