"""Cards and successions in NATS: the bucket of JetStream that a cluster keeps them in.

What is read there is verified like anything else (`membership/roster.py`). The bucket only helps nodes to learn of each
other while the authority is away; the authority restores what is missing.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import suppress
from typing import Final

from nats.js.api import KeyValueConfig
from nats.js.errors import APIError, BucketNotFoundError
from nats.js.kv import KeyValue

from guesthouse.cluster.membership.records import MOST_RECORD_BYTES
from guesthouse.cluster.membership.roster import MOST_NODES, MOST_SUCCESSIONS, Roster
from guesthouse.cluster.nats_client import BoundedClient

MOST_ENTRIES: Final = 2 * (MOST_NODES + MOST_SUCCESSIONS)
"""What else is in the bucket is not read."""
_MOST_KEY: Final = 64
"""Characters of a key that a node writes, and more."""
READ_SECONDS: Final = 15.0
_REPLICAS: Final = (3, 1)
"""A copy on each of three servers, or where there are fewer, one."""
_CONSUMER_SECONDS: Final = 10.0
_API_SECONDS: Final = 5.0


def bucket_name(cluster_id: str) -> str:
    """The name of a cluster's bucket."""
    return f"guesthouse-{cluster_id}"


def live_subject(cluster_id: str) -> str:
    """The subject on which changes of the bucket are published."""
    return f"$KV.{bucket_name(cluster_id)}.>"


async def open_bucket(client: BoundedClient, cluster_id: str, *, create: bool) -> KeyValue | None:
    """The bucket of a cluster; None if there is none.

    Args:
        client: a connected client.
        cluster_id: of the cluster.
        create: make it if there is none.

    Raises:
        nats.errors.Error, TimeoutError: NATS fails.
    """
    stream = client.jetstream(timeout=5)
    with suppress(BucketNotFoundError):
        return await stream.key_value(bucket_name(cluster_id))
    if not create:
        return None
    for replicas in _REPLICAS:
        try:
            return await stream.create_key_value(
                KeyValueConfig(
                    bucket=bucket_name(cluster_id),
                    description="The nodes of a Guesthouse cluster",
                    max_value_size=MOST_RECORD_BYTES,
                    replicas=replicas,
                )
            )
        except APIError:
            if replicas == _REPLICAS[-1]:
                raise
    return None


async def raise_replicas(client: BoundedClient, cluster_id: str) -> int | None:
    """Have as many copies of the bucket as it should have, if it was made when there were fewer servers.

    Returns:
        How many there are from now on; None if nothing was changed, since it has them or there are too few servers.

    Raises:
        nats.errors.Error, TimeoutError, ValueError: NATS fails, or answers nonsense.
    """
    stream, wanted = f"KV_{bucket_name(cluster_id)}", _REPLICAS[0]
    told = json.loads((await client.request(f"$JS.API.STREAM.INFO.{stream}", timeout=_API_SECONDS)).data)
    config = told.get("config") if isinstance(told, dict) else None
    if not isinstance(config, dict) or config.get("num_replicas", 1) >= wanted:
        return None
    # As JSON, so that nothing of the configuration is lost that nats-py does not know.
    changed = json.dumps({**config, "num_replicas": wanted}).encode()
    answer = await client.request(f"$JS.API.STREAM.UPDATE.{stream}", changed, timeout=_API_SECONDS)
    told = json.loads(answer.data)
    return wanted if isinstance(told, dict) and "error" not in told else None


async def read_bucket(bucket: KeyValue) -> dict[str, bytes]:
    """All records of the bucket by their keys, none of them verified.

    Raises:
        nats.errors.Error, TimeoutError: NATS fails.
    """
    found: dict[str, bytes] = {}
    async with asyncio.timeout(READ_SECONDS):
        watcher = await bucket.watchall(inactive_threshold=_CONSUMER_SECONDS)
        try:
            async for entry in watcher:
                if entry is None or len(found) >= MOST_ENTRIES:
                    break
                if len(entry.key) > _MOST_KEY:
                    continue
                if entry.value is not None and len(entry.value) <= MOST_RECORD_BYTES:
                    found[entry.key] = entry.value
        finally:
            await watcher.stop()  # type: ignore[no-untyped-call]  # of nats-py
    return found


def records_of(roster: Roster) -> dict[str, bytes]:
    """What the bucket should have, by its keys."""
    successions = {f"succession.{number:05}": data for number, data in enumerate(roster.successions, start=1)}
    cards = {
        f"card.{hashlib.sha256(card.node.encode()).hexdigest()[:32]}": roster.data_of(card.node) or b""
        for card in roster.cards
    }
    return {**successions, **cards}
