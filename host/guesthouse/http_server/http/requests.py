"""Reading requests: who sent them, and their bodies up to a limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from guesthouse.http_server import close_codes
from guesthouse.http_server.auth.access import Peer
from guesthouse.http_server.close_codes import Refusal
from guesthouse.http_server.state.pending_responses import BodyBudget


class RequestRefused(Exception):
    """A request is answered with a refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    """The headers of a request, as `upgrade.HeaderValues` asks for them."""

    request: Request

    def get_all(self, key: str) -> Sequence[str]:
        """Values of all headers of that name."""
        return self.request.headers.getlist(key)


def peer_of(request: Request) -> Peer:
    """The other end of a request's socket."""
    client = request.client
    address, port = (client.host, client.port) if client is not None else ("", 0)
    return Peer(address, port, request.scope["scheme"])


def raw_path(request: Request) -> str:
    """The path as the client wrote it."""
    raw: bytes = request.scope["raw_path"]
    return raw.decode("ascii")


@asynccontextmanager
async def body_of(request: Request, limit: int, budget: BodyBudget, seconds: float) -> AsyncIterator[bytes]:
    """The body of a request, held within `budget` for as long as the block runs.

    Args:
        request: of which nothing was read yet.
        limit: bytes that the body may have.
        budget: what all bodies of the node may take together.
        seconds: how long the client may take from one piece to the next.

    Raises:
        Refused: the body is too big, too slow, or the node holds too many.
    """
    held = 0
    pieces: list[bytes] = []
    try:
        if int(request.headers.get("content-length", "0")) > limit:
            raise RequestRefused(close_codes.BODY_TOO_BIG)
        stream = request.stream()
        async for piece in _paced(stream, seconds):
            if held + len(piece) > limit:
                raise RequestRefused(close_codes.BODY_TOO_BIG)
            if not budget.take(len(piece)):
                raise RequestRefused(close_codes.BODIES_FULL)
            held += len(piece)
            pieces.append(piece)
        yield b"".join(pieces)
    finally:
        budget.release(held)


async def _paced(stream: AsyncIterator[bytes], seconds: float) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(seconds):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise RequestRefused(close_codes.REQUEST_LATE) from None
        except ClientDisconnect:
            raise RequestRefused(close_codes.BAD_REQUEST) from None
        if piece:
            yield piece
