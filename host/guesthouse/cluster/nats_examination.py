"""Asks a NATS server what `guesthouse doctor` shows of it. Nothing is changed there."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any, Final

from msgspec import MsgspecError, Struct
from msgspec.json import Decoder
from nats.errors import Error as NatsError

from guesthouse.cluster.card_bucket import bucket_name
from guesthouse.cluster.nats_client import Access, BoundedClient, close_client, open_client
from guesthouse.cluster.nats_connection import said, without_secret

_ANSWER_SECONDS: Final = 3.0
_MOST_SERVERS: Final = 1000
_NO_STREAM: Final = 10059
"""JetStream's code for a stream that is not there."""


class _Failed(Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Config(Struct):
    num_replicas: int = 1


class _Answer(Struct):
    """What is of interest of JetStream's answers."""

    error: _Failed | None = None
    config: _Config | None = None
    ts: datetime | None = None


_decode: Final = Decoder(_Answer).decode


class ServerReport(Struct, frozen=True):
    """What a server is."""

    server: str
    """Its URL without a password."""
    error: str | None = None
    """Why it cannot be used; nothing else is known then."""
    server_id: str = ""
    version: str = ""
    max_payload: int = 0
    servers: int = 1
    """Of its cluster, as far as it tells."""
    jetstream_error: str | None = None
    replicas: int | None = None
    """Of the bucket of the cluster; None if there is none."""
    clock_ahead: float | None = None
    """Seconds by which its clock is ahead of this one's, as far as it tells."""


async def examine_server(url: str, access: Access, cluster_id: str | None) -> ServerReport:
    """Connect to a server and ask.

    Args:
        url: as in `cluster.nats`.
        access: what is shown to it.
        cluster_id: of the cluster whose bucket it should have; None: there is none yet.
    """
    name = without_secret(url)
    try:
        client = await open_client(url, access, "guesthouse doctor", on_error=_ignore, on_closed=_closed)
    except Exception as error:  # whatever nonsense a server makes the client stumble over
        return ServerReport(name, error=said(error))
    try:
        return await _asked(client, name, cluster_id)
    except Exception as error:  # likewise
        return ServerReport(name, error=said(error))
    finally:
        await close_client(client)


async def _asked(client: BoundedClient, name: str, cluster_id: str | None) -> ServerReport:
    info: dict[str, Any] = client._server_info
    urls = info.get("connect_urls")
    failed, replicas, ahead = await _jetstream(client, cluster_id)
    return ServerReport(
        server=name,
        server_id=str(info.get("server_id"))[:64],
        version=str(info.get("version"))[:32],
        max_payload=info["max_payload"] if type(info.get("max_payload")) is int else 0,
        servers=max(1, min(len(urls), _MOST_SERVERS)) if isinstance(urls, list) else 1,
        jetstream_error=failed,
        replicas=replicas,
        clock_ahead=ahead,
    )


async def _jetstream(
    client: BoundedClient, cluster_id: str | None
) -> tuple[str | None, int | None, float | None]:
    """Why JetStream fails, the replicas of the bucket, and by how much the server's clock is ahead."""
    try:
        answer = await _request(client, "$JS.API.INFO")
        if answer.error is not None or cluster_id is None:
            return _text(answer), None, None
        answer = await _request(client, f"$JS.API.STREAM.INFO.KV_{bucket_name(cluster_id)}")
    except (NatsError, TimeoutError, MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return said(error), None, None
    if answer.error is not None and answer.error.err_code == _NO_STREAM:
        return None, None, None
    ahead = None if answer.ts is None else answer.ts.timestamp() - time.time()
    return _text(answer), None if answer.config is None else answer.config.num_replicas, ahead


async def _request(client: BoundedClient, subject: str) -> _Answer:
    return _decode((await client.request(subject, b"", timeout=_ANSWER_SECONDS)).data)


def _text(answer: _Answer) -> str | None:
    return None if answer.error is None else said(NatsError(answer.error.description))


async def _ignore(error: Exception) -> None:
    """What matters is raised."""


async def _closed() -> None:
    """It is noticed."""
