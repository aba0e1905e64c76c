"""The one door of the API over HTTP: each request is admitted here, or answered with a problem.

Keys are bearer tokens in the `Authorization` header and nothing else: cookies and the query are not looked at, so no
page can use what its browser holds. What comes from a page is refused even with a key.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from msgspec import MsgspecError, Struct, convert
from msgspec.json import decode, encode
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from guesthouse.http_api import problems
from guesthouse.http_api.body_shares import BodyShares
from guesthouse.http_api.caller import Caller
from guesthouse.http_api.catalogue import OPERATIONS, PREFIX, Operation
from guesthouse.http_api.key_check import KeyCheck
from guesthouse.http_api.openapi import DOCUMENT_PATH, document
from guesthouse.http_api.operations import SOURCE, Operations
from guesthouse.http_api.problems import HEADERS, ApiProblem, as_response, of_refusal
from guesthouse.http_server.close_codes import BODY_TOO_BIG
from guesthouse.http_server.context import Context
from guesthouse.http_server.http.requests import RequestRefused, body_of, raw_path
from guesthouse.http_server.routing.hosts import Hosts
from guesthouse.http_server.state.refusal_counts import RefusedBy

BODY_OVERHEAD: Final = 64 * 1024
"""Bytes of a body beside a message, and all of one without."""
NO_PAGES: Final[Mapping[str, Callable[[Request], Response]]] = {}
_ESCAPED: Final = 3
"""A letter beyond ASCII has at most so many times its bytes as an escape of JSON, by which many programs write it."""
_MOST_QUERY: Final = 16
_MOST_DETAIL: Final = 300
_BODIES_AT_ONCE: Final = 8


class Door:
    """The ASGI application. No exception reaches uvicorn.

    Args:
        operations: what can be done.
        check: finds keys.
        context: of the listener.
        hosts: names that the node answers for here.
        stopping: whether the node is.
        pages: files for browsers, by path, which need no key.
    """

    def __init__(
        self,
        operations: Operations,
        check: KeyCheck,
        context: Context,
        hosts: Hosts,
        stopping: Callable[[], bool],
        pages: Mapping[str, Callable[[Request], Response]] = NO_PAGES,
    ) -> None:
        self._operations = operations
        self._check = check
        self._context = context
        self._hosts = hosts
        self._stopping = stopping
        self._pages = pages
        self._body_bytes = _ESCAPED * context.settings.connections.message_bytes + BODY_OVERHEAD
        self._bodies = BodyShares(_BODIES_AT_ONCE * self._body_bytes)
        self._places = [(_pattern(path), methods) for path, methods in _by_path().items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            response = await self._answered(Request(scope, receive))
        except ApiProblem as problem:
            response = self._refused(problem)
        except RequestRefused as refused:
            most = f"{self._body_bytes} bytes at most" if refused.refusal is BODY_TOO_BIG else None
            response = self._refused(of_refusal(refused.refusal, most))
            response.headers["Connection"] = "close"
        except asyncio.CancelledError:
            if not self._stopping():
                raise
            response = self._refused(ApiProblem(problems.STOPPING))
        except Exception:
            self._context.log.write(SOURCE, "error", f"{scope['path']!r}: {traceback.format_exc()}")
            response = self._refused(ApiProblem(problems.NODE_ERROR))
        with contextlib.suppress(RuntimeError):  # the client is gone
            await response(scope, receive, send)

    def _refused(self, problem: ApiProblem) -> Response:
        self._context.refusals.answered(RefusedBy.API, problem.kind.status, problem.kind.code)
        return as_response(problem)

    async def _answered(self, request: Request) -> Response:
        if self._stopping():
            raise ApiProblem(problems.STOPPING, retry_after=1)
        site = self._hosts.site(request.headers.getlist("host"))
        if site is None or site.label:
            raise ApiProblem(problems.MISDIRECTED, "name it in http.hosts")
        path = raw_path(request)
        page = self._pages.get(path)
        if page is not None:
            return _shown(page, request)
        _refuse_pages(request)
        if path == DOCUMENT_PATH and request.method in ("GET", "HEAD"):
            return _json(document(), 200)
        operation, at = self._found(request.method, path)
        caller = self._caller(request)
        caller.check_role(operation.role)
        asked = await self._asked(operation, at, request, caller)
        if operation.has_body:  # it took its time, in which the key may have been revoked
            caller = self._caller(request)
            caller.check_role(operation.role)
        given = await operation.run(self._operations, caller, asked)
        return (
            Response(status_code=204, headers=HEADERS)
            if given is None
            else _json(encode(given), operation.status)
        )

    def _found(self, method: str, path: str) -> tuple[Operation, dict[str, str]]:
        """The operation at a path, and what the path has in it, each segment decoded once."""
        for pattern, methods in self._places:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            operation = methods.get("GET" if method == "HEAD" else method)
            if operation is None:
                allowed = sorted({*methods, *(("HEAD",) if "GET" in methods else ())})
                raise ApiProblem(problems.WRONG_METHOD, allow=", ".join(allowed))
            try:
                at = {name: unquote(text, errors="strict") for name, text in match.groupdict().items()}
            except UnicodeDecodeError:
                raise ApiProblem(problems.INVALID, "the path is not UTF-8") from None
            return operation, at
        if path == DOCUMENT_PATH:
            raise ApiProblem(problems.WRONG_METHOD, allow="GET, HEAD")
        raise ApiProblem(problems.NO_OPERATION)

    def _caller(self, request: Request) -> Caller:
        """Whose key the request shows."""
        given = request.headers.getlist("authorization")
        if not given:
            raise ApiProblem(problems.NO_KEY)
        scheme, _, text = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        peer = "" if request.client is None else request.client.host
        address = self._check.address(peer, request.headers.getlist("x-forwarded-for"))
        return Caller.with_key(self._check.key(text.strip() if scheme.lower() == "bearer" else "", address))

    async def _asked(self, operation: Operation, at: dict[str, str], request: Request, caller: Caller) -> Any:
        query = _query(request)
        if operation.method == "POST" and query:
            raise ApiProblem(problems.INVALID, "this takes no query")
        try:
            in_path = convert(at, operation.at, strict=False)
            if operation.has_body:
                return operation.asked(in_path, await self._body(operation.rest, request, caller))
            return operation.asked(in_path, convert(query, operation.rest, strict=False))
        except (MsgspecError, ValueError, RecursionError) as error:
            raise ApiProblem(problems.INVALID, ascii(str(error))[1:-1][:_MOST_DETAIL]) from None

    async def _body(self, kind: type[Struct], request: Request, caller: Caller) -> Struct:
        mime = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if mime != "application/json":
            raise ApiProblem(problems.NOT_JSON)
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise ApiProblem(problems.NOT_JSON, "send it without Content-Encoding")
        seconds = self._context.settings.connections.handshake_seconds
        async with body_of(request, self._body_bytes, self._bodies.of(caller.name), seconds) as body:
            return decode(body, type=kind)


def _shown(page: Callable[[Request], Response], request: Request) -> Response:
    """A file for browsers. It says nothing of the node."""
    if request.method not in ("GET", "HEAD"):
        raise ApiProblem(problems.WRONG_METHOD, allow="GET, HEAD")
    return page(request)


def _refuse_pages(request: Request) -> None:
    """Browsers say what they send for a page; programs do not."""
    sites = request.headers.getlist("sec-fetch-site")
    if request.headers.getlist("origin") or any(site != "none" for site in sites):
        raise ApiProblem(problems.FROM_BROWSER)


def _query(request: Request) -> dict[str, str]:
    """The parameters of the query, each once."""
    try:
        pairs = parse_qsl(
            request.url.query,
            keep_blank_values=True,
            strict_parsing=bool(request.url.query),
            max_num_fields=_MOST_QUERY,
            errors="strict",
        )
    except ValueError:
        raise ApiProblem(problems.INVALID, "the query is not one of names and values") from None
    query = dict(pairs)
    if len(query) < len(pairs):
        raise ApiProblem(problems.INVALID, "a name is in the query twice")
    return query


def _by_path() -> dict[str, dict[str, Operation]]:
    places: dict[str, dict[str, Operation]] = {}
    for operation in OPERATIONS:
        places.setdefault(PREFIX + operation.path, {})[operation.method] = operation
    return places


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))


def _json(body: bytes, status: int) -> Response:
    return Response(body, status, HEADERS, media_type="application/json")
