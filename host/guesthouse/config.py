"""The node's settings: every limit, its default and its unit, in one place.

They come, later ones first, from flags, `GUESTHOUSE_<SECTION>_<NAME>`, `guesthouse.toml` in the
node's home, and the defaults here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

KIB = 1024
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """`[http]`: where the node listens and whom it believes."""

    host: str = "127.0.0.1"
    port: int = 8080
    tls_cert: str | None = None
    tls_key: str | None = None
    allowed_origins: tuple[str, ...] = ()
    """Origins besides the node's own hosts that may open cookie-authenticated WebSockets."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses whose `X-Forwarded-For` is believed."""
    register_form: bool = True
    """Pages may read their token from the cookie and register a channel on `/`. Turned off, the cookie is HttpOnly."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """`[connections]`: limits on sockets. Sizes are bytes, times are seconds."""

    total: int = 20_000
    per_address: int = 20_000
    handshake_seconds: float = 10.0
    register_seconds: float = 10.0
    register_bytes: int = 8 * KIB
    message_bytes: int = 1 * MIB
    fragments: int = 1024
    """Frames in one message."""
    outbox_bytes: int = 4 * MIB
    """What may wait to be read by one client."""
    ping_seconds: float = 20.0
    """Idle time after which a client is pinged."""
    pong_seconds: float = 20.0
    close_seconds: float = 5.0
    """How long a client may take to answer a close frame."""
    http_body_bytes: int = 16 * MIB
    http_response_seconds: float = 15.0
    """How long a process may take to answer an HTTP request before the client gets 408."""
    bindings_per_process: int = 256


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """`[process]`: limits on each process. Sizes are bytes, times are seconds."""

    memory_bytes: int = 256 * MIB
    table_elements: int = 100_000
    cpu_seconds_per_message: float = 10.0
    start_seconds: float = 30.0
    """CPU time from instantiation to the first `receive`."""
    mailbox_bytes: int = 4 * MIB
    message_bytes: int = 16 * MIB
    """A body or a blob between processes."""
    state_bytes: int = 16 * MIB
    log_lines_per_second: int = 200
    log_line_bytes: int = 8 * KIB
    wasi_handles: int = 1024
    """WASI resources that a process may hold at once."""


@dataclass(frozen=True, slots=True)
class PackageLimits:
    """`[package]`: limits on what is loaded. Sizes are bytes, times are seconds."""

    zip_bytes: int = 128 * MIB
    unpacked_bytes: int = 256 * MIB
    unpack_ratio: int = 200
    files: int = 2_000
    component_bytes: int = 64 * MIB
    compile_seconds: float = 120.0
    compile_memory_bytes: int = 4096 * MIB


@dataclass(frozen=True, slots=True)
class RestartSettings:
    """`[restart]`: how a process whose on-exit is `restart` returns. Seconds."""

    first_delay: float = 1.0
    longest_delay: float = 600.0
    healthy_after: float = 60.0
    """A run this long resets the delay."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a node."""

    home: str = ""
    """The node's folder; empty means `~/.guesthouse`."""
    node: str = "guesthouse.os"
    workers: int = 0
    """Worker subprocesses; 0 means one for each CPU but one, and at least one."""
    dev: bool = False
    http: HttpSettings = field(default_factory=HttpSettings)
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    process: ProcessLimits = field(default_factory=ProcessLimits)
    package: PackageLimits = field(default_factory=PackageLimits)
    restart: RestartSettings = field(default_factory=RestartSettings)
