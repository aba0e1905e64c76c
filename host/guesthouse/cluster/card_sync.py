"""Keeps a node's cards and NATS's bucket of them alike: reads all of it now and then, and at the authority writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from nats.js.kv import KeyValue

from guesthouse.cluster.card_bucket import open_bucket, raise_replicas, read_bucket, records_of
from guesthouse.cluster.membership.roster import Roster
from guesthouse.cluster.nats_client import BoundedClient
from guesthouse.cluster.nats_connection import SOURCE, NatsConnection
from guesthouse.core.ports import LogPort
from guesthouse.core.throttled_log import ThrottledLog

EVERY_SECONDS: Final = 60.0
LEAST_SECONDS: Final = 1.0
"""Between two reads, however often one is asked for."""
RETRY_SECONDS: Final = 3.0
WHOLE_SECONDS: Final = 60.0


class CardSync:
    """Reads the bucket when asked to, and every minute.

    Args:
        connection: to NATS.
        roster: the node's; changed only by `take`.
        take: takes a record; returns whether it is genuine.
        log: the node's.
        owns: tells whether this node writes the bucket.
    """

    def __init__(
        self,
        connection: NatsConnection,
        roster: Roster,
        take: Callable[[bytes], bool],
        log: LogPort,
        owns: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self._roster = roster
        self._take = take
        self._log = log
        self._throttled_log = ThrottledLog(log)
        self._owns = owns
        self._asked = asyncio.Event()

    def soon(self) -> None:
        """Read, and at the authority write, as soon as may be."""
        self._asked.set()

    async def run(self) -> None:
        """Do so until cancelled."""
        while True:
            client = await self._connection.wait_up()
            self._asked.clear()
            pause = EVERY_SECONDS
            try:
                async with asyncio.timeout(WHOLE_SECONDS):
                    await self._once(client)
            except Exception as error:  # what nats-py makes of whatever a server answers
                pause = RETRY_SECONDS
                if self._connection.client is client:
                    said = " ".join(str(error).split())[:200] or type(error).__name__
                    text = f"the cards of the cluster cannot be read from NATS: {said}"
                    self._throttled_log.say(SOURCE, "bucket", text)
            await asyncio.sleep(LEAST_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._asked.wait()

    async def _once(self, client: BoundedClient) -> None:
        bucket = await open_bucket(client, self._roster.cluster_id, create=self._owns())
        if bucket is None:
            return
        found = await read_bucket(bucket)
        known = set(records_of(self._roster).values())
        for key in sorted(found, key=lambda key: (not key.startswith("succession."), key)):
            if found[key] not in known:
                self._take(found[key])
                await asyncio.sleep(0)  # each may cost a signature
        if self._owns():
            await self._write(bucket, found)
            replicas = await raise_replicas(client, self._roster.cluster_id)
            if replicas is not None:
                self._log.write(SOURCE, "info", f"NATS keeps the cards of the cluster on {replicas} servers")

    async def _write(self, bucket: KeyValue, found: dict[str, bytes]) -> None:
        for key, data in records_of(self._roster).items():
            if found.get(key) != data:
                await bucket.put(key, data)
