"""Bound paths: which process serves which path, and to whom. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Final, Generic, Literal, TypeAlias, TypeVar

from msgspec import Struct, field

from guesthouse.core.address import ForeignProcess, ProcessId
from guesthouse.core.messages import LazyLoadBlob, Pairs
from guesthouse.http_server.routing.paths import BadPath, PathPattern, Segments
from guesthouse.http_server.routing.subdomains import subdomain_of
from guesthouse.link.calls import BindHttpPath, BindWsPath, ServeUi

BindError: TypeAlias = Literal["bad-path", "too-many", "no-subdomain", "bad-subprotocol", "no-ui"]

MAX_SUBPROTOCOLS: Final = 16
"""Maximum subprotocols of a WebSocket binding."""

MOST_FOREIGN_LABELS: Final = 4096
"""Labels that packages of one other node may take."""

_HASHED_INLINE: Final = 1024 * 1024
"""Bytes that are hashed in under a millisecond."""

RESUMABLE: Final = "guesthouse.v1"
"""The subprotocol by which a client asks for a session. It is the node's own: no process speaks it."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")


class WsBinding(Struct, frozen=True):
    """A path bound to WebSockets."""

    pattern: PathPattern
    authenticated: bool
    secure: bool = False
    """Only on its package's subdomain, with a login there."""
    extension: bool = False
    """For extensions: native programs on this machine."""
    subprotocols: tuple[str, ...] = ()
    """Supported subprotocols, in order of preference."""


class Static:
    """Static content of a binding."""

    __slots__ = ("_etag", "blob")

    def __init__(self, blob: LazyLoadBlob) -> None:
        self.blob = blob
        self._etag = ""

    @property
    def is_large(self) -> bool:
        """Whether computing its `etag` would block the event loop noticeably."""
        return not self._etag and len(self.blob.bytes) > _HASHED_INLINE

    @property
    def etag(self) -> str:
        """A hash of the content, computed on first use so that binding does not wait for it."""
        if not self._etag:
            self._etag = f'"{hashlib.sha256(self.blob.bytes).hexdigest()[:32]}"'
        return self._etag


class HttpBinding(Struct, frozen=True):
    """A path bound to HTTP requests; with `static`, the content is served without asking the process."""

    pattern: PathPattern
    authenticated: bool
    local_only: bool
    static: Static | None = None
    secure: bool = False
    response_seconds: float | None = None
    """Time-out of the process's response; None for the node's default."""
    elsewhere: bool = False
    """Whether it is for content that another node has."""


class UiBinding(Struct, frozen=True):
    """A path under which the package's `ui` folder is served."""

    segments: Segments
    authenticated: bool
    local_only: bool
    secure: bool = False


_Binding = TypeVar("_Binding", WsBinding, HttpBinding)


class Match(Struct, Generic[_Binding], frozen=True):
    """A binding that matches a path, and the path's parameters."""

    binding: _Binding
    params: Pairs


class PathTable(Generic[_Binding]):
    """Bindings of one process and kind."""

    __slots__ = ("_exact", "_patterns", "_ranked")

    def __init__(self) -> None:
        self._exact: dict[Segments, _Binding] = {}
        self._patterns: dict[str, _Binding] = {}
        """Those with parameters or wildcards, by their texts."""
        self._ranked: list[_Binding] | None = None
        """The same, the most specific first; None until they are looked at, as many may be bound together."""

    def __len__(self) -> int:
        return len(self._exact) + len(self._patterns)

    def get(self, pattern: PathPattern) -> _Binding | None:
        """The binding of exactly this path."""
        return self._exact.get(pattern.segments) if pattern.literal else self._patterns.get(pattern.text)

    def add(self, binding: _Binding) -> None:
        """Add a binding, replacing one of the same path."""
        pattern = binding.pattern
        if pattern.literal:
            self._exact[pattern.segments] = binding
        else:
            self.remove(pattern)
            self._patterns[pattern.text] = binding

    def remove(self, pattern: PathPattern) -> _Binding | None:
        """Remove a binding; returns it, if there is one."""
        if pattern.literal:
            return self._exact.pop(pattern.segments, None)
        self._ranked = None
        return self._patterns.pop(pattern.text, None)

    def all(self) -> Iterator[_Binding]:
        """All bindings."""
        yield from self._exact.values()
        yield from self._by_rank()

    def find(self, segments: Segments) -> Match[_Binding] | None:
        """The most specific binding that matches the path: literal segments further left win."""
        exact = self._exact.get(segments)
        if exact is not None:
            return Match(exact, ())
        for binding in self._by_rank():
            params = binding.pattern.match(segments)
            if params is not None:
                return Match(binding, params)
        return None

    def _by_rank(self) -> list[_Binding]:
        ranked = self._ranked
        if ranked is None:
            ranked = self._ranked = sorted(self._patterns.values(), key=lambda each: each.pattern.rank)
        return ranked


class _Bound(Struct):
    ws: PathTable[WsBinding] = field(default_factory=PathTable)
    http: PathTable[HttpBinding] = field(default_factory=PathTable)
    ui: dict[Segments, UiBinding] = field(default_factory=dict)
    static_bytes: int = 0
    """Of the content in `http`."""

    def __len__(self) -> int:
        return len(self.ws) + len(self.http) + len(self.ui)


class Bindings:
    """All bound paths of a node.

    Args:
        per_process: maximum bindings of one process, of all kinds.
        static_bytes: maximum bytes of static content of one process.
    """

    def __init__(self, per_process: int, static_bytes: int) -> None:
        self._per_process = per_process
        self._static_bytes = static_bytes
        self.version = 0
        """Counts the changes of what is bound to HTTP."""
        self._bound: dict[ProcessId, _Bound] = {}
        self._labels: dict[str, str] = {}
        self._foreign_labels: dict[str, str] = {}
        self._labels_of: dict[str, int] = {}
        """How many of these are there because of each node."""
        self._with_files: set[ProcessId] = set()

    def bind_ws(self, owner: ProcessId, call: BindWsPath) -> BindError | None:
        """Bind a path to WebSockets; returns None or an error."""
        pattern = _parse(call.path)
        if pattern is None:
            return "bad-path"
        supported = call.subprotocols
        invalid = RESUMABLE in supported or not all(map(_TOKEN.fullmatch, supported))
        if len(supported) > MAX_SUBPROTOCOLS or invalid:
            return "bad-subprotocol"
        if call.secure and not self.has_label(owner):
            return "no-subdomain"
        bound = self._bound.setdefault(owner, _Bound())
        binding = WsBinding(pattern, call.authenticated, call.secure, call.extension, supported)
        return self._add(bound, bound.ws, binding)

    def bind_http(self, owner: ProcessId, call: BindHttpPath, *, elsewhere: bool = False) -> BindError | None:
        """Bind a path to HTTP requests; returns None or an error. `elsewhere` is for content of another node."""
        pattern = _parse(call.path)
        if pattern is None:
            return "bad-path"
        if call.secure and not self.has_label(owner):
            return "no-subdomain"
        self.version += 1
        static = None if call.content is None else Static(LazyLoadBlob(call.mime, call.content))
        binding = HttpBinding(
            pattern,
            call.authenticated,
            call.local_only,
            static,
            call.secure,
            call.response_seconds,
            elsewhere,
        )
        bound = self._bound.setdefault(owner, _Bound())
        static_bytes = bound.static_bytes - _static_size(bound.http.get(pattern)) + _static_size(binding)
        if static_bytes > self._static_bytes:
            return "too-many"
        error = self._add(bound, bound.http, binding)
        if error is None:
            bound.static_bytes = static_bytes
        return error

    def bind_ui(self, owner: ProcessId, call: ServeUi) -> BindError | None:
        """Serve the package's `ui` folder under a path without parameters; returns None or an error."""
        pattern = _parse(call.path)
        if pattern is None or not pattern.literal:
            return "bad-path"
        if call.secure and not self.has_label(owner):
            return "no-subdomain"
        bound = self._bound.setdefault(owner, _Bound())
        if pattern.segments not in bound.ui and len(bound) >= self._per_process:
            return "too-many"
        bound.ui[pattern.segments] = UiBinding(
            pattern.segments, call.authenticated, call.local_only, call.secure
        )
        return None

    def of(
        self, owner: ProcessId
    ) -> tuple[tuple[WsBinding, ...], tuple[HttpBinding, ...], tuple[UiBinding, ...]]:
        """All that a process binds."""
        bound = self._bound.get(owner) or _Bound()
        return tuple(bound.ws.all()), tuple(bound.http.all()), tuple(bound.ui.values())

    def set_files(self, owner: ForeignProcess, *, has_files: bool) -> None:
        """Whether the package of another node's process has a folder `ui`, there."""
        if has_files:
            self._with_files.add(owner)
        else:
            self._with_files.discard(owner)

    def has_files(self, owner: ProcessId) -> bool:
        """Whether the package of another node's process has one."""
        return owner in self._with_files

    def find_ui(self, owner: ProcessId, segments: Segments) -> UiBinding | None:
        """The longest `ui` binding that is a prefix of the path."""
        bound = self._bound.get(owner)
        if bound is not None and bound.ui:
            for length in range(len(segments), -1, -1):
                found = bound.ui.get(segments[:length])
                if found is not None:
                    return found
        return None

    def has_label(self, owner: ProcessId) -> bool:
        """Whether its package owns its label. If names of several packages map to one label, the first to use it keeps
        it until the node exits, so that no other package gets at what browsers store for that host. Another node may
        announce new packages without end, so what its packages take is limited.
        """
        label = subdomain_of(owner)
        if not isinstance(owner, ForeignProcess):
            return self._labels.setdefault(label, owner.package_id) == owner.package_id
        if self._labels.get(label, owner.package_id) != owner.package_id:
            return False  # one of this node's packages has it
        holder = self._foreign_labels.get(label)
        if holder is not None:
            return holder == owner.package_id
        taken = self._labels_of.get(owner.node, 0)
        if taken >= MOST_FOREIGN_LABELS:
            return False
        self._foreign_labels[label], self._labels_of[owner.node] = owner.package_id, taken + 1
        return True

    def unbind_ws(self, owner: ProcessId, path: str) -> None:
        """Unbind, if it is bound."""
        bound, pattern = self._bound.get(owner), _parse(path)
        if bound is not None and pattern is not None:
            bound.ws.remove(pattern)

    def unbind_http(self, owner: ProcessId, path: str) -> None:
        """Unbind, if it is bound."""
        self.version += 1
        bound, pattern = self._bound.get(owner), _parse(path)
        if bound is not None and pattern is not None:
            bound.static_bytes -= _static_size(bound.http.remove(pattern))
            bound.ui.pop(pattern.segments, None)

    def drop(self, owner: ProcessId) -> None:
        """Remove all bindings of a process."""
        self.version += 1
        self._bound.pop(owner, None)
        self._with_files.discard(owner)

    def find_ws(self, owner: ProcessId, segments: Segments) -> Match[WsBinding] | None:
        """The process's WebSocket binding for a path."""
        bound = self._bound.get(owner)
        return None if bound is None else bound.ws.find(segments)

    def find_http(self, owner: ProcessId, segments: Segments) -> Match[HttpBinding] | None:
        """The process's HTTP binding for a path."""
        bound = self._bound.get(owner)
        return None if bound is None else bound.http.find(segments)

    def root_of(self, owner: ProcessId) -> Match[HttpBinding] | None:
        """The process's binding of `/`, which also serves paths that match neither another binding nor a file."""
        return self.find_http(owner, ())

    def _add(self, bound: _Bound, table: PathTable[_Binding], binding: _Binding) -> BindError | None:
        if len(bound) >= self._per_process and table.get(binding.pattern) is None:
            return "too-many"
        table.add(binding)
        return None


def _static_size(binding: HttpBinding | None) -> int:
    return 0 if binding is None or binding.static is None else len(binding.static.blob.bytes)


def _parse(path: str) -> PathPattern | None:
    try:
        return PathPattern.parse(path)
    except BadPath:
        return None
