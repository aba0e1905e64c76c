"""The node's settings: every limit, its default and its unit, in one place.

They come from command-line options, then `GUESTHOUSE_<SECTION>_<NAME>`, then `guesthouse.toml` in the
node's home, then the defaults here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import replace

from guesthouse.core.errors import BadNodeName, BadSetting
from guesthouse.core.files.regular_file import read_regular
from guesthouse.core.home import home_folder
from guesthouse.core.settings.cluster_settings import ClusterSettings
from guesthouse.core.settings.setting_values import checked, parsed
from guesthouse.core.toml import NotToml, parse_toml

KIB = 1024
MIB = 1024 * 1024
GIB = 1024 * MIB


class HttpSettings(Struct, frozen=True):
    """`[http]`: where the node listens, and whom it trusts."""

    host: str = "127.0.0.1"
    port: int = 8080
    tls_cert: str | None = None
    tls_key: str | None = None
    allowed_origins: tuple[str, ...] = ()
    """Origins besides the node's own that may open cookie-authenticated WebSockets."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses whose `X-Forwarded-For` is trusted."""
    local_access: str = "secret"
    """How a local program proves that it is the node's user's: by the `secret` of the home, or by being on this
    `machine`, which programs of other users are, too.
    """
    renewable_seconds: int = 30 * 24 * 3600
    """How long after the first of them a family of tokens can be renewed, unless that one was made for longer."""
    hosts: tuple[str, ...] = ()
    """Names that the node answers for, besides `localhost`, addresses, `host` and the certificate's; `*` for all."""
    origins: str = "auto"
    """Whether packages have their own origins: `package`, `shared`, or `auto` (where possible)."""
    page_sources: tuple[str, ...] = ()
    """Further origins that packages' pages may load from and connect to, such as `https://fonts.example`."""
    register_form: bool = True
    """Whether clients may register a channel on `/`, for which pages get a readable cookie."""
    register_cookie: str = "process"
    """The token in that cookie: one for the page's own `process`, or, `readable`, one for the node."""
    register_packages: tuple[str, ...] = ()
    """Packages, as `package:publisher`, whose pages may register although they share their origin."""
    service_workers: tuple[str, ...] = ()
    """Packages, as `package:publisher`, that may have service workers on their own origin. Pages that these serve may
    load from and connect to anything.
    """
    readable_packages: tuple[str, ...] = ()
    """Packages, as `package:publisher`, whose pages can read a token for the whole node."""


class ConnectionLimits(Struct, frozen=True):
    """`[connections]`: limits on sockets. Sizes are bytes, times are seconds."""

    total: int = 20_000
    per_address: int = 20_000
    handshake_seconds: float = 10.0
    register_seconds: float = 10.0
    register_bytes: int = 8 * KIB
    message_bytes: int = 1 * MIB
    fragments: int = 1024
    """Frames per message."""
    unfinished_bytes: int = 256 * MIB
    """Unfinished messages of all clients together."""
    outbox_bytes: int = 4 * MIB
    """Messages waiting to be read by one client."""
    ping_seconds: float = 20.0
    """Silence after which a client is pinged."""
    pong_seconds: float = 20.0
    close_seconds: float = 5.0
    """For a client to answer a close frame."""
    http_body_bytes: int = 16 * MIB
    http_response_seconds: float = 15.0
    """For a process to answer an HTTP request, before the client gets 408."""
    http_longest_response_seconds: float = 120.0
    """The longest that a binding or a request may set instead."""
    encrypted_messages: int = 65_536
    """Messages that a client may send under one key."""
    bindings_per_process: int = 256
    resume_seconds: float = 60.0
    """How long a resumable channel stays open for its client without a socket."""
    acknowledge_messages: int = 64
    """Messages after which the ends of a resumable channel acknowledge them."""
    acknowledge_seconds: float = 5.0
    """How long they may put it off."""
    away: int = 10_000
    """Resumable channels without a socket."""
    away_per_user: int = 1_000
    """The same of one user: a token's family, or without a token an address."""
    away_bytes: int = 256 * MIB
    """What all of them together may keep for their clients."""


class ProcessLimits(Struct, frozen=True):
    """`[process]`: limits on each process. Sizes are bytes, times are seconds."""

    memory_bytes: int = 256 * MIB
    table_elements: int = 100_000
    cpu_seconds_per_message: float = 10.0
    start_seconds: float = 30.0
    """CPU time from instantiation to the first `receive`."""
    cpu_share: float = 0.95
    """Average share of its worker's time, above which a process is throttled."""
    host_calls_per_second: int = 500_000
    """Average rate above which a process is throttled."""
    first_message_seconds: float = 10.0
    """For the first `receive` of a process; a new version that takes longer is rolled back."""
    handover_seconds: float = 5.0
    """For an old version to finish what it was sent, and its handover."""
    mailbox_bytes: int = 4 * MIB
    message_bytes: int = 16 * MIB
    """A body or a blob between processes; 16 MiB is also the most that fits a link frame."""
    outstanding_bytes: int = 64 * MIB
    """Requests of one process that are waiting for their response."""
    state_bytes: int = 16 * MIB
    kv_bytes: int = 64 * MIB
    """Keys and values in `kv:distro:sys`, per package."""
    drive_bytes: int = 64 * MIB
    """Files in `vfs:distro:sys`, per package."""
    log_lines_per_second: int = 200
    log_line_bytes: int = 8 * KIB
    wasi_handles: int = 1024
    """WASI resources that a process may hold at once."""


class PackageLimits(Struct, frozen=True):
    """`[package]`: limits on what is loaded. Sizes are bytes, times are seconds."""

    zip_bytes: int = 128 * MIB
    unpacked_bytes: int = 256 * MIB
    unpack_ratio: int = 200
    files: int = 2_000
    component_bytes: int = 64 * MIB
    processes: int = 256
    """Processes of one package, children included."""
    compile_seconds: float = 120.0
    compile_memory_bytes: int = 4096 * MIB


class MonitoringSettings(Struct, frozen=True):
    """`[monitoring]`: where the node reports health and metrics."""

    host: str = "127.0.0.1"
    port: int | None = None
    """None: nowhere."""


class ApiSettings(Struct, frozen=True):
    """`[api]`: where the node's API for services listens."""

    host: str = "127.0.0.1"
    port: int | None = None
    """None: nowhere."""
    tls: bool = False
    """Whether it is served over TLS, with the certificate of `[http]`."""
    dashboard: bool = False
    """Whether the dashboard is served there, too."""


class TracingSettings(Struct, frozen=True):
    """`[tracing]`: which messages are traced, and where their spans go. Times are seconds."""

    endpoint: str | None = None
    """URL of a collector that takes OTLP over HTTP; None: nothing is traced."""
    sample_ratio: float = 0.01
    """The share of messages from outside that is traced."""
    incoming: str = "link"
    """What is done with a `traceparent` header of an HTTP request: `ignore` it, `link` a trace of the node's own to it,
    or `follow` it: go on with that trace if its sender samples it.
    """
    service_name: str = "guesthouse"
    headers_file: str | None = None
    """A file of HTTP headers for the collector, a line each."""
    queue_spans: int = 8192
    """Spans that may wait to be exported; more are dropped."""
    timeout_seconds: float = 10.0
    """For the collector to take spans."""


class RestartSettings(Struct, frozen=True):
    """`[restart]`: delays before processes whose on-exit is `restart` run again. Seconds."""

    first_delay: float = 1.0
    longest_delay: float = 600.0
    healthy_after: float = 60.0
    """A run this long resets the delay."""


class Settings(Struct, frozen=True):
    """All settings of a node."""

    home: str = ""
    """The node's folder; empty means `~/.guesthouse`."""
    node: str = "guesthouse.os"
    workers: int = 0
    """Worker subprocesses; 0 means one for each CPU but one, and at least one."""
    gateways: int = 0
    """Subprocesses that hold clients' sockets and do TLS and compression; 0 means that the node does it itself."""
    worker_silence_seconds: float = 15.0
    """For a worker to answer a ping, before it is killed and its processes are started on another."""
    worker_ready_seconds: float = 60.0
    """For a worker to check its machine and accept processes, before it is replaced."""
    worker_longest_pause: float = 10.0
    """The longest delay, in seconds, before a worker that keeps failing is replaced."""
    isolation: str = "shared"
    """Who shares a worker: with `shared`, all; with `package`, processes of one package only."""
    most_workers: int = 64
    """The most workers when each package has its own."""
    worker_confinement: str = "best-effort"
    """When the kernel cannot confine a worker fully: `best-effort` logs it, `required` refuses to start."""
    worker_memory_bytes: int = 256 * GIB
    """Memory that one worker may write to, counting unused memory of its guests."""
    inspectable: bool = False
    """Whether other programs of this user, such as debuggers, may inspect the node and its workers."""
    log_format: str = "text"
    """What the node writes to standard error: `text` for people, or `json`, a line each, as in `logs/node.jsonl`."""
    log_config: str | None = None
    """A file that configures Python's `logging`, which then gets each line, too; None: it gets none."""
    handover: bool = False
    """Whether a node that is told to stop leaves its resumable channels and undelivered messages to the next run."""
    drain_seconds: float = 0.0
    """For processes to finish what was begun when the node is told to stop; 0 cuts it off. Without a handover."""
    dev: bool = False
    http: HttpSettings = field(default_factory=HttpSettings)
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    process: ProcessLimits = field(default_factory=ProcessLimits)
    package: PackageLimits = field(default_factory=PackageLimits)
    restart: RestartSettings = field(default_factory=RestartSettings)
    monitoring: MonitoringSettings = field(default_factory=MonitoringSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)


_SECTIONS: Final = (
    "http",
    "connections",
    "process",
    "package",
    "restart",
    "monitoring",
    "api",
    "tracing",
    "cluster",
)
_ENVIRONMENT: Final = "GUESTHOUSE_"


class Given(Struct, frozen=True):
    """A setting that is given somewhere."""

    value: Any
    source: str
    """`file`, `environment` or `flag`."""
    place: str
    """Which of these."""


def load_settings(
    home: str | None = None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Return the settings of the node in `home`.

    Args:
        home: the node's folder; None takes `GUESTHOUSE_HOME`, or else `~/.guesthouse`.
        flags: command-line options, `{"node": …, "http.port": …}`; None is not given.
        environment: `os.environ` when None.

    Raises:
        BadSetting: a name or value is wrong; the message says where.
    """
    environment = os.environ if environment is None else environment
    given = given_settings(home, flags, environment)
    values = {name: item.value for name, item in given.items()}
    values["home"] = str(home_folder(home, environment))
    return _settings(values)


def settings_of(path: Path) -> Settings:
    """The settings of a node with this file and nothing else.

    Raises:
        BadSetting: as `load_settings`.
    """
    return _settings(
        {
            name: checked(name, _types()[name], value, f"{path}: {name}")
            for name, value in _from_file(path).items()
        }
    )


def given_settings(
    home: str | None = None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Given]:
    """The settings that are given somewhere, by name. Arguments and errors are those of `load_settings`."""
    environment = os.environ if environment is None else environment
    path = home_folder(home, environment) / "guesthouse.toml"
    given: dict[str, Given] = {}
    for name, value in _from_file(path).items():
        given[name] = Given(checked(name, _types()[name], value, f"{path}: {name}"), "file", str(path))
    for variable, name in _variables().items():
        if variable in environment:
            kind = _types()[name]
            value = checked(name, kind, parsed(kind, environment[variable], variable), variable)
            given[name] = Given(value, "environment", variable)
    _refuse_unknown_variables(environment)
    for name, value in (flags or {}).items():
        if value is not None:
            flag = f"--{name.rpartition('.')[2].replace('_', '-')}"
            given[name] = Given(checked(name, _types()[name], value, flag), "flag", flag)
    return given


def faults_in(path: Path) -> list[str]:
    """What is wrong with a file of settings: all of it, a line each.

    Raises:
        BadSetting: it is not there, or cannot be read at all.
    """
    if not path.is_file():
        raise BadSetting(f"{path} is not there: name a file of settings")
    faults = []
    for name, value in _flattened(path).items():
        try:
            _refuse_unknown(name, path)
            checked(name, _types()[name], value, f"{path}: {name}")
        except (BadSetting, BadNodeName) as error:
            faults.append(str(error))
    return faults


def _from_file(path: Path) -> dict[str, Any]:
    values = _flattened(path)
    for name in values:
        _refuse_unknown(name, path)
    return values


def _refuse_unknown(name: str, path: Path) -> None:
    if name not in _types() or name == "home":
        raise BadSetting(f"{path}: there is no setting {name!a}{_did_you_mean(name, _types())}")


def _flattened(path: Path) -> dict[str, Any]:
    """What a file has, by names such as `http.port`."""
    try:
        content = parse_toml(read_regular(path))
    except (FileNotFoundError, NotADirectoryError):  # `Home.prepare` reports the latter
        return {}
    except NotToml as error:
        raise BadSetting(f"{path} {error}") from None
    except OSError as error:
        raise BadSetting(f"{path}: {error.strerror}: make it readable, or remove it") from None
    values: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict) and key in _SECTIONS:
            values.update({f"{key}.{name}": inner for name, inner in value.items()})
        else:
            values[key] = value
    return values


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    """Reject only names within a section: a container platform may set others with our prefix."""
    known = _variables()
    sections = tuple(f"{_ENVIRONMENT}{section.upper()}_" for section in _SECTIONS)
    for variable in sorted(environment):
        if variable.startswith(sections) and variable not in known:
            raise BadSetting(f"{variable} names no setting{_did_you_mean(variable, known)}")


def _settings(values: Mapping[str, Any]) -> Settings:
    top = {name: value for name, value in values.items() if "." not in name}
    settings = Settings(**top)
    for section in _SECTIONS:
        given = {
            name.partition(".")[2]: value for name, value in values.items() if name.startswith(f"{section}.")
        }
        settings = replace(settings, **{section: replace(getattr(settings, section), **given)})
    return settings


def _variables() -> dict[str, str]:
    return {_ENVIRONMENT + name.replace(".", "_").upper(): name for name in _types() if name != "home"}


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, list(known), 1)
    return f": did you mean {close[0]}?" if close else ": remove it, or look it up in docs/cli.md"


_KINDS: Final = {
    "str": str,
    "str | None": str,
    "int": int,
    "int | None": int,
    "float": float,
    "bool": bool,
    "tuple[str, ...]": tuple[str, ...],
}
"""Types by how fields are annotated: to evaluate the annotations takes 5 ms."""


def setting_kinds() -> Mapping[str, Any]:
    """The type of each setting by its name, such as `http.port`; an optional one's without None."""
    return _types()


@cache
def _types() -> dict[str, Any]:
    """The type of each setting by its name, such as `http.port`; an optional one's without None."""
    defaults = Settings()
    types: dict[str, Any] = {}
    for name, annotation in Settings.__annotations__.items():
        if name in _SECTIONS:
            section = type(getattr(defaults, name))
            types |= {f"{name}.{last}": _KINDS[inner] for last, inner in section.__annotations__.items()}
        else:
            types[name] = _KINDS[annotation]
    return types
