"""A node's HTTP API as a service sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from tests.certificates import TRUSTS_NOBODY
from tests.patience import PATIENCE
from websockets.exceptions import ConnectionClosed

from .clients import Client
from .daemon import Daemon

SERVED = {"api_port": 0}


async def api_url(daemon: Daemon) -> str:
    """Where the API of a node is, up to its version."""
    line = await daemon.log_line("api", "serves")
    text: str = line["text"]
    return text.removeprefix("serves ")


async def key(daemon: Daemon, role: str, *, name: str = "", process: str | None = None) -> str:
    """A new key."""
    given = {"name": name or role, "role": role, "process": process}
    (made,) = await daemon.ask("api-key-create", **given)
    text: str = made["key"]
    return text


def service(url: str, key: str | None = None, **headers: str) -> httpx.AsyncClient:
    """A client with a key."""
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    return httpx.AsyncClient(
        base_url=url, headers=headers, verify=TRUSTS_NOBODY, trust_env=False, timeout=PATIENCE
    )


@asynccontextmanager
async def asking(
    daemon: Daemon, role: str, name: str, process: str | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A service with a new key, which is revoked in the end."""
    async with service(await api_url(daemon), await key(daemon, role, name=name, process=process)) as api:
        yield api
    await daemon.ask("api-key-revoke", name=name)


async def closed(client: Client) -> tuple[int, str]:
    """Code and reason by which the node closes a channel."""
    with pytest.raises(ConnectionClosed) as caught:
        await client.receive()
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem, which is one in form (RFC 9457)."""
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert told["status"] == answer.status_code
    assert told["type"] == f"urn:guesthouse:problem:{told['code']}"
    return answer.status_code, told["code"]
