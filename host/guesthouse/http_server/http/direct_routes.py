"""What was found for a request, kept for later ones that it holds for, too. Pure.

Only of bound paths that anybody may ask for, without a login: the same host, path and scheme then lead to the same
process and the same policy. A request with a header that may change that has no key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct, field
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from guesthouse.core.config import ConnectionLimits
from guesthouse.core.messages import HttpResponse, Pairs
from guesthouse.core.ports import ProcessPort
from guesthouse.http_server import close_codes
from guesthouse.http_server.context import Context
from guesthouse.http_server.http.guest_response import response_from_guest
from guesthouse.http_server.http.page_policy import PagePolicy
from guesthouse.http_server.refusals import HSTS, refusal_in, refused
from guesthouse.http_server.routing.bindings import HttpBinding, Match
from guesthouse.http_server.state.admission import Admission

MOST_ROUTES: Final = 1024
MOST_HEADS: Final = 4
"""Heads that are kept of one route."""
_MAX_HEAD: Final = 1024
"""Bytes of one of them, at most, and of what a process gave for it."""
_MOST_PAIRS: Final = 16
"""Headers of a process in one of them."""
LEAST_SECONDS: Final = 5.0
"""Shorter time-outs need a timer that is more exact than that of all connections."""

_NEVER: Final = frozenset(
    (
        *(b"expect", b"service-worker", b"transfer-encoding", b"upgrade"),
        *(b"guesthouse-timeout", b"x-hyperware-http-server-timeout", b"x-kinode-http-server-timeout"),
    )
)
"""Headers of requests that need a closer look."""
_CONDITIONS: Final = frozenset((b"if-match", b"if-modified-since", b"if-none-match", b"if-range", b"range"))
"""The same of requests for static content."""
_LOOKED_AT: Final = frozenset(
    (
        *(*_NEVER, *_CONDITIONS, b"accept", b"content-length", b"content-type", b"cookie", b"host"),
        *(b"sec-fetch-mode", b"x-forwarded-proto"),
    )
)

_HSTS: Final = f"{HSTS[0]}: {HSTS[1]}\r\n".encode()

Headers = Sequence[tuple[bytes, bytes]]
Key = tuple[bytes, bytes, str, str]
"""Host and path as sent, the socket's scheme and the client's."""


class RequestFacts(Struct):
    """What matters of a request's headers."""

    host: bytes = b""
    length: bytes = b"0"
    mime: bytes | None = None
    forwarded: bytes | None = None
    """The scheme that a proxy claims."""
    conditional: bool = False
    has_cookies: bool = False
    may_navigate: bool = False
    """Whether a browser may be navigating to a page."""


def facts_of(headers: Headers) -> RequestFacts | None:
    """Look at a request's headers, whose names are in lower case; None if it needs a closer look."""
    found = RequestFacts()
    for name, value in headers:
        if name not in _LOOKED_AT:
            continue
        if name in _NEVER:
            return None
        if name == b"host":
            found.host = value
        elif name == b"content-length":
            found.length = value
        elif name == b"content-type":
            if found.mime is not None:
                return None
            found.mime = value
        elif name == b"x-forwarded-proto":
            if found.forwarded is not None:
                return None
            found.forwarded = value
        elif name == b"cookie":
            found.has_cookies = True
        elif name in _CONDITIONS:
            found.conditional = True
        elif name == b"sec-fetch-mode" or b"text/html" in value:
            found.may_navigate = True
    return found


class DirectRoute(Struct):
    """What a path is bound to, and how that is answered."""

    process: ProcessPort
    match: Match[HttpBinding]
    policy: PagePolicy
    hsts: bool
    """Whether a proxy gives these responses to its clients over TLS, which the socket is without."""
    static: tuple[bytes, bytes] | None = None
    """The head, but for what the server adds to each, and the body of bound content."""
    heads: dict[tuple[int, str | None, Pairs], bytes] = field(default_factory=dict)

    def holds_for(self, request: RequestFacts) -> bool:
        """Whether it holds for a request with that host, path and scheme."""
        if self.static is not None and request.conditional:
            return False
        if request.has_cookies and self.policy.site.may_share:
            return False
        return self.policy.is_page or not request.may_navigate

    def seconds(self, limits: ConnectionLimits) -> float:
        """Time-out of the process's answer, by the binding or the settings."""
        bound = self.match.binding.response_seconds
        return (
            limits.http_response_seconds
            if bound is None
            else min(bound, limits.http_longest_response_seconds)
        )

    def response(self, answer: HttpResponse, path: str, *, navigates: bool) -> Response | bytes:
        """What to send for a process's answer: a head that is known, without length and end, or a response."""
        key = (answer.status, answer.mime, answer.headers)
        head = self.heads.get(key)
        if head is not None:
            return head
        response = response_from_guest(answer)
        if refusal_in(response) is not None:
            return self.with_policy(response)
        if self.policy.forbids(response.headers, path, navigates=navigates):
            return refused(close_codes.BAD_ANSWER)
        self.with_policy(response)
        if "location" in response.headers or "content-length" not in response.headers or answer.status == 205:
            return response
        head = self.end_head(response)
        if len(head) <= _MAX_HEAD and _is_short(answer):
            if len(self.heads) >= MOST_HEADS:
                self.heads.clear()
            self.heads[key] = head
        return head

    def with_policy(self, response: Response) -> Response:
        """Add the policy's headers to a response."""
        self.policy.apply(MutableHeaders(raw=response.raw_headers), authenticated=False)
        return response

    def end_head(self, response: Response) -> bytes:
        """Encode the head of a response, with the header that clients of a proxy get."""
        head = head_of(response)
        return head + _HSTS if self.hsts else head


def _is_short(answer: HttpResponse) -> bool:
    """Whether what a process gave besides the body is worth keeping: not all of it need be in the response."""
    if len(answer.headers) > _MOST_PAIRS:
        return False
    given = sum(len(name) + len(value) for name, value in answer.headers)
    return given + len(answer.mime or "") <= _MAX_HEAD


def head_of(response: Response) -> bytes:
    """Encode the head of a response without its length, and without its end."""
    lines = [STATUS_LINE[response.status_code]]
    for name, value in response.raw_headers:
        if name != b"content-length":
            lines += (name, b": ", value, b"\r\n")
    return b"".join(lines)


class DirectRoutes:
    """The routes of a server that are known. They are forgotten when bindings or settings change.

    Args:
        context: the server's state.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._routes: dict[Key, DirectRoute] = {}
        self._of: tuple[object, object, int] = (None, None, 0)
        self._headers: object = None
        self._encoded = b""

    def find(self, key: Key) -> DirectRoute | None:
        """The route of a request, if it is known, its process runs, and the node takes requests as always."""
        if not self._is_current():
            self._routes.clear()  # and the content in them
        route, context = self._routes.get(key), self._context
        if route is None or context.stopping or context.admission is not Admission.ALL:
            return None
        process = route.process
        return route if not process.gone and context.router.find(process.id) is process else None

    def add(self, key: Key, route: DirectRoute) -> None:
        """Keep a route."""
        if not self._is_current() or len(self._routes) >= MOST_ROUTES:
            self._routes.clear()
        self._of = self._now()
        self._routes[key] = route

    def added(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Encode the headers that the server adds to each response; it makes a new list when they change."""
        if headers is not self._headers:
            self._headers = headers
            self._encoded = b"".join(b"%b: %b\r\n" % header for header in headers)
        return self._encoded

    def _now(self) -> tuple[object, object, int]:
        context = self._context
        return context.settings, context.access, context.bindings.version

    def _is_current(self) -> bool:
        settings, access, version = self._of
        context = self._context
        return (
            context.bindings.version == version and context.settings is settings and context.access is access
        )
