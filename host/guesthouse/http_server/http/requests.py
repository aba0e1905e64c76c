"""Reading HTTP requests: peer, path and size-limited body."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from msgspec import Struct
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from guesthouse.http_server import close_codes
from guesthouse.http_server.auth.access import Peer
from guesthouse.http_server.close_codes import Refusal
from guesthouse.http_server.state.pending_responses import BodyBudget


class RequestRefused(Exception):
    """The request is answered with `refusal`."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class RequestHeaders(Struct, frozen=True):
    """Adapts a request's headers to `access.HeaderValues`."""

    request: Request

    def get_all(self, key: str) -> Sequence[str]:
        """Values of all headers of that name."""
        return self.request.headers.getlist(key)


def peer_of(request: Request) -> Peer:
    """The client of a request."""
    client = request.client
    address, port = (client.host, client.port) if client is not None else ("", 0)
    return Peer(address, port, request.scope["scheme"])


def raw_path(request: Request) -> str:
    """The path as sent."""
    raw: bytes = request.scope["raw_path"]
    return raw.decode("ascii")


def is_navigation(headers: Headers) -> bool:
    """Whether a browser navigates to a page. Without TLS browsers omit `Sec-Fetch-*`, so `Accept` decides then."""
    mode = headers.get("sec-fetch-mode")
    if mode is None:
        return "text/html" in headers.get("accept", "")
    return mode == "navigate" and headers.get("sec-fetch-dest") == "document"


@asynccontextmanager
async def body_of(request: Request, limit: int, budget: BodyBudget, seconds: float) -> AsyncIterator[bytes]:
    """Read a request's body, which counts against `budget` until the block exits.

    Args:
        request: whose body was not read yet.
        limit: maximum bytes.
        budget: shared by all requests of the node.
        seconds: time-out for each chunk.

    Raises:
        RequestRefused: the body is too big or too slow, or the budget is used up.
    """
    held = 0
    chunks: list[bytes] = []
    try:
        if int(request.headers.get("content-length", "0")) > limit:
            raise RequestRefused(close_codes.BODY_TOO_BIG)
        stream = request.stream()
        async for chunk in _paced(stream, seconds):
            if held + len(chunk) > limit:
                raise RequestRefused(close_codes.BODY_TOO_BIG)
            if not budget.take(len(chunk)):
                raise RequestRefused(close_codes.BODIES_FULL)
            held += len(chunk)
            chunks.append(chunk)
        yield b"".join(chunks)
    finally:
        budget.release(held)


async def _paced(stream: AsyncIterator[bytes], seconds: float) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(seconds):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise RequestRefused(close_codes.REQUEST_LATE) from None
        except ClientDisconnect:
            raise RequestRefused(close_codes.BAD_REQUEST) from None
        if chunk:
            yield chunk
