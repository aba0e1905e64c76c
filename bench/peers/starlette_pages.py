"""HTTP on Starlette and uvicorn, with uvloop and httptools: what `bench/guests/pages` answers."""

from __future__ import annotations

import socket
import sys
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

_CONTENT: Final = b"x" * 100_000


async def hello(_: Request) -> Response:
    """A greeting."""
    return PlainTextResponse("Hello!")


async def size(request: Request) -> Response:
    """The number of bytes of the body."""
    return PlainTextResponse(str(len(await request.body())))


async def content(_: Request) -> Response:
    """Content that is in memory."""
    return Response(_CONTENT, media_type="text/plain")


def main(port: int) -> None:
    """Serve until killed."""
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    print(f"ready {listener.getsockname()[1]}", flush=True)
    routes = [Route("/hello", hello), Route("/size", size, methods=["POST"]), Route("/static", content)]
    config = uvicorn.Config(
        Starlette(routes=routes),
        loop="uvloop", http="httptools", log_level="error", lifespan="off", access_log=False,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(int(sys.argv[1]))
