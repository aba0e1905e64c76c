"""The routes of a `Process`."""

from __future__ import annotations

from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from guesthouse_sdk.errors import BadBody
from guesthouse_sdk.http_response import HttpResponse
from guesthouse_sdk.http_server import bind_http_path
from guesthouse_sdk.log import log_exception
from guesthouse_sdk.message import Http
from guesthouse_sdk.routes import ROUTES, Access, Cors, Route, RouteConflict
from guesthouse_sdk.system import our

NO_ROUTE: Final = object()


class ProcessRoutes:
    """What a `Process` has of routes."""

    cors: ClassVar[Cors | None] = None
    """Which pages of other sites may call its routes."""
    _paths: ClassVar[dict[str, dict[str, str]]] = {}  # names of methods by path and HTTP method
    _access: ClassVar[dict[str, Access]] = {}

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls._paths, cls._access = {}, {}
        shapes: dict[tuple[str, ...], tuple[str, str]] = {}
        for name in dir(cls):
            for found in getattr(getattr(cls, name, None), ROUTES, ()):
                cls._add_route(found, name, shapes)

    @classmethod
    def _add_route(cls, found: Route, name: str, shapes: dict[tuple[str, ...], tuple[str, str]]) -> None:
        path, method = found.path, found.method
        shape = tuple(part[:1] if part[:1] in (":", "*") else part for part in path.split("/"))
        first_path, first = shapes.setdefault(shape, (path, name))
        both = f"{cls.__name__}.{first} and {cls.__name__}.{name}"
        if first_path != path:
            raise RouteConflict(
                f"{both} have routes for the same path, {first_path} and {path}: use one name"
            )
        if cls._access.setdefault(path, found.access) != found.access:
            raise RouteConflict(f"{both} have routes for {path} on different conditions: give both the same")
        taken = cls._paths.setdefault(path, {})
        if method in taken:
            raise RouteConflict(
                f"{cls.__name__}.{taken[method]} and {cls.__name__}.{name} are both routes for {method} {path}"
            )
        taken[method] = name

    def _bind_routes(self) -> None:
        """Bind the paths of all routes.

        Raises:
            BindError: one was not bound.
        """
        for path, access in self._access.items():
            bind_http_path(
                path,
                authenticated=access.authenticated,
                local_only=access.local_only,
                secure=access.secure,
                response_seconds=access.response_seconds,
            )

    def _route(self, request: Http) -> Any:
        """What a route answers; `NO_ROUTE` if there is none for the path."""
        methods = self._paths.get(request.bound_path)
        if methods is None or (request.bound_path == "/" and not _is_root(request)):
            return NO_ROUTE
        cors = self._access[request.bound_path].cors or self.cors
        origin = request.header("origin")
        allowed = _allowed(methods)
        if request.method == "OPTIONS":
            headers = [("Allow", ", ".join(allowed))]
            if cors is not None and request.header("access-control-request-method") is not None:
                headers += cors.preflight_headers(origin, sorted(methods))
            elif cors is not None:
                headers += cors.answer_headers(origin)
            return HttpResponse(b"", 204, headers)
        name = methods.get("GET" if request.method == "HEAD" else request.method)
        if name is None:
            text = f"{request.method} is not allowed here\n"
            answer: Any = HttpResponse(text, 405, [("Allow", ", ".join(allowed))])
        else:
            answer = self._call_route(name, request)
        return answer if answer is None or cors is None else _with(answer, cors.answer_headers(origin))

    def _call_route(self, name: str, request: Http) -> Any:
        """A failure is answered here: pages of other sites may read it, too."""
        try:
            return getattr(self, name)(request)
        except BadBody as problem:
            return HttpResponse(f"{problem}\n", 400)
        except Exception as error:
            log_exception(name, error)
            return HttpResponse("the process failed to answer\n", 500)


def _allowed(methods: dict[str, str]) -> list[str]:
    head = ["HEAD"] if "GET" in methods else []
    return sorted((*methods, *head, "OPTIONS"))


def _with(answer: HttpResponse | str | bytes, more: list[tuple[str, str]]) -> HttpResponse:
    """An answer with more headers."""
    if not isinstance(answer, HttpResponse):
        return HttpResponse(answer, headers=more)
    headers = answer.headers.items() if hasattr(answer.headers, "items") else answer.headers
    return HttpResponse(answer.body, answer.status, [*headers, *more], answer.mime)


def _is_root(request: Http) -> bool:
    """Whether it is for `/` itself: the node hands a process that bound `/` also what matches no other path."""
    path, process = urlsplit(request.url).path, f"/{our().process}"
    return path.removeprefix(process) in ("", "/")
