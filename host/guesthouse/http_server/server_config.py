"""What uvicorn is told of a listener: its certificate, and what answers."""

from __future__ import annotations

import ssl
from typing import Any, Final, Literal, cast

import uvicorn
from msgspec.structs import replace
from starlette.types import ASGIApp
from uvicorn.config import Config

from guesthouse.core.config import ConnectionLimits, Settings
from guesthouse.core.files.regular_file import refuse_irregular
from guesthouse.http_server.http_connection import HttpConnection, TakesOver
from guesthouse.http_server.listening import BACKLOG, CannotListen
from guesthouse.http_server.refusals import HSTS

vars(uvicorn)["Config"] = Config
"""Where uvicorn's own modules look for it: they find it there while the package itself is put off (`cli/run.py`)."""

_KEEP_ALIVE_SECONDS: Final = 5


def server_config(
    settings: Settings, app: ASGIApp, websockets: TakesOver | Literal["none"], *, tls: bool = True
) -> Config:
    """Configure a listener.

    Args:
        settings: the node's.
        app: what answers.
        websockets: what takes upgrades to WebSocket.
        tls: whether it has the node's certificate, if that has one.

    Raises:
        CannotListen: the certificate or its key cannot be loaded.
    """
    http = settings.http if tls else replace(settings.http, tls_cert=None, tls_key=None)
    config = Config(
        cast(Any, app),
        http=HttpConnection,
        ws=cast(Any, websockets),
        loop="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=_keep_alive(settings.connections),
        ssl_certfile=http.tls_cert,
        ssl_keyfile=http.tls_key,
        headers=[HSTS] if http.tls_cert else [],
    )
    if http.tls_key and not http.tls_cert:
        raise CannotListen(
            f"tls_key is {http.tls_key}, but tls_cert is not set: set it to a PEM certificate chain"
        )
    try:
        for path in (http.tls_cert, http.tls_key):
            if path is not None:
                refuse_irregular(path)
        config.load()
    except (OSError, ssl.SSLError, AssertionError, ValueError) as error:
        raise CannotListen(
            f"cannot load TLS certificate {http.tls_cert} with {_describe_key(http.tls_key)} ({error}): "
            "give a PEM certificate chain and its key"
        ) from None
    return config


def _describe_key(tls_key: str | None) -> str:
    return "the key in the same file (tls_key is not set)" if tls_key is None else f"key {tls_key}"


def _keep_alive(limits: ConnectionLimits) -> int:
    """Keep-alive time-out in seconds, at most that of a request's headers."""
    return max(1, min(_KEEP_ALIVE_SECONDS, int(limits.handshake_seconds)))
