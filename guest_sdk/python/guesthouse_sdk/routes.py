"""Methods of a `Process` that answer HTTP requests: `@route("GET", "/rooms/:room")`, and who may call them from
other sites.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from guesthouse_sdk.errors import GuestError

__all__ = ["Cors", "RouteConflict", "route"]

MethodT = TypeVar("MethodT", bound=Callable[..., Any])

ROUTES: Final = "_guesthouse_routes"
"""The attribute of a method that has its routes."""

_METHOD: Final = re.compile(r"[A-Z]+(?:-[A-Z]+)*")
_ORIGIN: Final = re.compile(
    r"[a-z][a-z0-9+.-]*://[a-z0-9.-]+(?::\d{1,5})?|[a-z][a-z0-9+.-]*://\[[0-9a-f:]+\](?::\d{1,5})?"
)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BY_ITSELF: Final = ("HEAD", "OPTIONS")


class RouteConflict(GuestError, TypeError):
    """Two methods of a class want the same requests, or the same path on different conditions."""


@dataclass(frozen=True, slots=True)
class Cors:
    """Which pages of other sites may call routes, and read what they answer (the Fetch standard's CORS).

    The node lets a page of another site through only where no login is needed, so this is for routes with
    `authenticated=False`.

    Attributes:
        origins: such as `["https://app.example"]`, or `["*"]` for all.
        headers: what they may send beside what each page may.
        methods: by default those of the path's routes.
        exposed: headers of answers that they may read beside the usual ones.
        max_age: seconds that a browser need not ask again.
        credentials: whether they may send cookies, for origins that are named.
    """

    origins: Collection[str]
    headers: Collection[str] = ("content-type",)
    methods: Collection[str] | None = None
    exposed: Collection[str] = ()
    max_age: int = 600
    credentials: bool = False

    def __post_init__(self) -> None:
        for name in ("origins", "headers", "methods", "exposed"):
            if isinstance(getattr(self, name), str):
                raise TypeError(f"{name} of Cors is a list, not one str: write [{getattr(self, name)!r}]")
        if "*" in self.origins and (self.credentials or len(self.origins) > 1):
            raise ValueError(
                "Cors with the origin * has no other origins and no credentials: name the origins"
            )
        for origin in self.origins:
            if origin != "*" and _ORIGIN.fullmatch(origin) is None:
                raise ValueError(
                    f"{origin!r} is no origin: write one such as https://app.example, without a path"
                )
        for word in (*self.headers, *(self.methods or ()), *self.exposed):
            if _TOKEN.fullmatch(word) is None or word == "*":
                raise ValueError(f"{word!r} in Cors is no name of a header or method")

    def answer_headers(self, origin: str | None) -> list[tuple[str, str]]:
        """What an answer to a request of `origin` has."""
        if "*" in self.origins:
            pairs = [("Access-Control-Allow-Origin", "*")]
        elif origin in self.origins:
            pairs = [("Vary", "Origin"), ("Access-Control-Allow-Origin", str(origin))]
        else:
            return [("Vary", "Origin")]
        if self.credentials:
            pairs.append(("Access-Control-Allow-Credentials", "true"))
        if self.exposed:
            pairs.append(("Access-Control-Expose-Headers", ", ".join(self.exposed)))
        return pairs

    def preflight_headers(self, origin: str | None, methods: Collection[str]) -> list[tuple[str, str]]:
        """What the answer to a preflight request of `origin` has; `methods` are those of the path's routes."""
        vary = ("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
        pairs = [pair for pair in self.answer_headers(origin) if pair[0] != "Access-Control-Expose-Headers"]
        if "*" not in self.origins and origin not in self.origins:
            return [*pairs, vary]
        allowed = ", ".join(methods if self.methods is None else self.methods)
        pairs += [
            vary,
            ("Access-Control-Allow-Methods", allowed),
            ("Access-Control-Max-Age", str(self.max_age)),
        ]
        if self.headers:
            pairs.append(("Access-Control-Allow-Headers", ", ".join(self.headers)))
        return pairs


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask for a path, and how long the process has to answer: what all routes of a path have in common."""

    authenticated: bool
    local_only: bool
    secure: bool
    response_seconds: int | None
    cors: Cors | None


@dataclass(frozen=True, slots=True)
class Route:
    """What a decorator says."""

    method: str
    path: str
    access: Access


def route(
    method: str,
    path: str,
    *,
    authenticated: bool = True,
    local_only: bool = False,
    secure: bool = False,
    response_seconds: int | None = None,
    cors: Cors | None = None,
) -> Callable[[MethodT], MethodT]:
    """Have a method of a `Process` answer requests, as `on_http` does: it gets the `Http`, and returns what
    `on_http` may. The process binds the path when it starts. HEAD is answered as GET, without the body; OPTIONS by
    itself; any other method with 405. A method may have several routes.

    Args:
        method: such as `GET`.
        path: as for `bind_http_path`; parameters are in `request.url_params`.
        authenticated: only clients with the node's auth cookie may ask.
        local_only: only from the node's own machine.
        secure: only on the package's own host, for clients who logged in for it.
        response_seconds: for the process to answer; None for the node's default.
        cors: which pages of other sites may call it; by default what the class has as `cors`.

    Raises:
        ValueError: the method or the path cannot be one.
    """
    if _METHOD.fullmatch(method) is None or method in _BY_ITSELF:
        raise ValueError(
            f"{method!r} is no method for a route: write one such as GET, in capitals; {_AUTOMATIC}"
        )
    if not path.startswith("/"):
        raise ValueError(f"the path of a route begins with /, not as {path!r}")
    found = Route(method, path, Access(authenticated, local_only, secure, response_seconds, cors))

    def decorate(function: MethodT) -> MethodT:
        setattr(function, ROUTES, (*getattr(function, ROUTES, ()), found))
        return function

    return decorate


_AUTOMATIC: Final = "HEAD and OPTIONS need none"
