"""The options of `connect`."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from .errors import Lost

MIB: Final = 1024 * 1024

Token: TypeAlias = str | Callable[[], str | Awaitable[str]]


class QueuePolicy(Enum):
    """What `Channel.send` does when the queue is full."""

    WAIT = "wait"
    """Wait until the node has acknowledged enough."""
    DROP_OLDEST = "drop-oldest"
    """Give up the messages that have waited longest for a connection; the node is told how many."""
    ERROR = "error"
    """Raise `QueueFull`."""


class State(Enum):
    """Where a channel is in its life."""

    CONNECTING = "connecting"
    """There is no channel yet, or the one before is over and another is being opened."""
    OPEN = "open"
    AWAY = "away"
    """The connection broke; the channel is still there, and the client comes back."""
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Options:
    """What `connect` was told; see there."""

    url: str
    """Of the WebSocket."""
    process: str | None
    """None: the path is one that a process bound."""
    token: Token | None
    encrypted: bool
    subprotocols: tuple[str, ...]
    headers: Mapping[str, str]
    ssl: ssl.SSLContext | None
    proxy: str | bool | None
    compression: str | None
    fallback: bool
    reopen: bool
    queue_bytes: int
    queue_policy: QueuePolicy
    receive_bytes: int
    message_bytes: int
    first_delay: float
    longest_delay: float
    open_seconds: float | None
    connect_seconds: float
    ping_seconds: float
    pong_seconds: float
    close_seconds: float
    on_state: Callable[[State], object] | None
    on_lost: Callable[[Lost], object] | None


def socket_url(url: str, process: str | None, path: str | None) -> str:
    """Where the WebSocket is opened: at the root to register, or on a bound path.

    Raises:
        ValueError: the arguments do not go together.
    """
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.netloc:
        raise ValueError(f"not the URL of a node: {url!r}")
    if path is None:
        root = parts.path.rstrip("/")
        if process is not None and root:
            raise ValueError("a process is opened at the node's own URL: pass the path as `path`")
        if process is None and not root:
            raise ValueError("name the process, or give the URL of a path that a process bound")
        return urlunsplit((scheme, parts.netloc, parts.path or "/", parts.query, ""))
    if process is None or parts.path.strip("/"):
        raise ValueError("`path` goes with the node's own URL and `process`")
    path, _, query = path.partition("?")
    return urlunsplit((scheme, parts.netloc, f"/{process}/{path.lstrip('/')}", query, ""))
