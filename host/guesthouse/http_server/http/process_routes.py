"""Serves `/<process-id>/…`: processes' bound paths and the files of their `ui` folder."""

from __future__ import annotations

import asyncio
import json
import re
from functools import partial
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from msgspec import Struct
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from guesthouse.core.address import ForeignProcess, ProcessId
from guesthouse.core.messages import HttpResponse, IncomingHttpRequest
from guesthouse.core.ports import ProcessPort
from guesthouse.http_server import close_codes
from guesthouse.http_server.auth.tokens import COOKIE_PREFIXES, Claims
from guesthouse.http_server.close_codes import Refusal
from guesthouse.http_server.context import Context
from guesthouse.http_server.http.direct_routes import DirectRoute, DirectRoutes, facts_of
from guesthouse.http_server.http.guest_response import headers_for_guest, response_from_guest
from guesthouse.http_server.http.login import Login
from guesthouse.http_server.http.own_origin import OwnOrigin, target_of
from guesthouse.http_server.http.page_policy import PagePolicy
from guesthouse.http_server.http.requests import (
    RequestHeaders,
    RequestRefused,
    body_of,
    is_navigation,
    peer_of,
    raw_path,
)
from guesthouse.http_server.http.static_files import file_answer, find_file, static_answer
from guesthouse.http_server.refusals import PAGE_HEADERS, refused, refused_page, wants_page
from guesthouse.http_server.routing.bindings import HttpBinding, Match, UiBinding
from guesthouse.http_server.routing.hosts import NO_SITE
from guesthouse.http_server.routing.origin import origin_of, shown_address
from guesthouse.http_server.routing.paths import (
    MAX_PATH,
    BadPath,
    ProcessPath,
    below_process,
    query_params,
    split_process_path,
)
from guesthouse.http_server.state.pending_responses import BodyBudget, PendingResponse, PendingResponses
from guesthouse.http_server.state.relays import ContentRequest

TIMEOUT_HEADER: Final = "guesthouse-timeout"
"""Time-out for the process's response, in seconds."""

_OLD_TIMEOUT_HEADERS: Final = ("x-hyperware-http-server-timeout", "x-kinode-http-server-timeout")
"""The same, as sent by tools of Hyperware and the Kinode OS, in whole seconds; other values are ignored."""

_SAFE: Final = ("GET", "HEAD")
_SECONDS: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?")
_OUR_CALL: Final = """Object.defineProperty(window.our, "token", {value: async () => {
  await fetch(%s, {cache: "no-store"});
  const name = %s, pair = document.cookie.split("; ").find((pair) => pair.startsWith(name));
  return pair === undefined ? null : pair.slice(name.length);
}});
"""
_PACKAGE_UI: Final = UiBinding((), authenticated=True, local_only=False)
"""Default binding of a package's `ui` folder."""


class ProcessPages(Struct, frozen=True):
    """Serves all requests that are not for the node itself."""

    context: Context
    exchanges: PendingResponses
    login: Login
    bodies: BodyBudget
    own_origin: OwnOrigin
    routes: DirectRoutes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            RequestRefused: there is no such process, or the request is not valid.
        """
        request = Request(scope, receive)
        path = raw_path(request)
        if len(path) > MAX_PATH:
            raise RequestRefused(close_codes.PATH_TOO_LONG)
        try:
            requested = split_process_path(path)
        except BadPath:
            raise RequestRefused(close_codes.NOT_FOUND) from None
        client = self.context.access.client(RequestHeaders(request), peer_of(request))
        process = self.context.router.find(requested.process, client)
        if process is None or process.gone:
            away = self.context.router.is_away(requested.process)
            raise RequestRefused(close_codes.NODE_AWAY if away else close_codes.NOT_FOUND)
        response = await self._answer(request, process, requested)
        await response(scope, receive, send)

    async def _answer(self, request: Request, process: ProcessPort, requested: ProcessPath) -> Response:
        policy = self._policy(request, process.id)
        bindings = self.context.bindings
        match = bindings.find_http(process.id, requested.segments)
        if match is not None:
            return await self._bound(request, process, policy, match, for_all=True)
        if requested.segments == ("our.js",) and request.method in _SAFE:
            refusal = self.context.access.wrong_host(process.id, RequestHeaders(request), secure=False)
            return refused(refusal) if refusal is not None else self.our_js(request, process.id, policy)
        root = bindings.root_of(process.id)
        if self._has_files(process.id):
            response = await self._file(request, process, policy, requested, fallback=root is not None)
            if response is not None:
                return response
        return (
            refused_page(request, close_codes.NOT_FOUND)
            if root is None
            else await self._bound(request, process, policy, root)
        )

    async def _bound(
        self,
        request: Request,
        process: ProcessPort,
        policy: PagePolicy,
        match: Match[HttpBinding],
        *,
        for_all: bool = False,
    ) -> Response:
        """Answer by a binding. With `for_all` the path always has this one, while bindings are what they are."""
        binding = match.binding
        claims = self._admit(request, process.id, binding)
        if isinstance(claims, Refusal):
            return self._refused_page(request, policy, claims, secure=binding.secure)
        elsewhere = self._to_own_origin(request, process.id, policy, claims)
        if elsewhere is not None:
            return elsewhere
        route = None
        here = not isinstance(process.id, ForeignProcess)
        if for_all and claims is None and not binding.local_only and here:
            hsts = policy.scheme == "https" and request.scope["scheme"] != "https"
            route = DirectRoute(process, match, policy, hsts)
        if binding.elsewhere:
            wanted = self._content(request, authenticated=binding.authenticated, file=False)
            response = await self._fetched(request, process, wanted)
        elif binding.static is None:
            if route is not None:
                self._keep(request, route)
            response = await self._ask(request, process, match, claims)
        elif request.method in _SAFE:
            if binding.static.is_large:
                await asyncio.to_thread(getattr, binding.static, "etag")
            response = static_answer(binding, request)
        else:
            return _only_safe()
        response = self._finished(request, response, process.id, policy, claims, binding)
        if route is not None and binding.static is not None and request.method == "GET":
            self._keep_static(request, route, response)
        return response

    def _keep(self, request: Request, route: DirectRoute) -> None:
        """Keep how a request is answered for those that are asked the same."""
        found = facts_of(request.headers.raw)
        if found is not None and route.holds_for(found):
            path: bytes = request.scope["raw_path"]
            self.routes.add((found.host, path, request.scope["scheme"], route.policy.scheme), route)

    def _keep_static(self, request: Request, route: DirectRoute, response: Response) -> None:
        if response.status_code == 200 and type(response) is Response:
            route.static = route.end_head(response), bytes(response.body)
            self._keep(request, route)

    def _finished(
        self,
        request: Request,
        response: Response,
        process: ProcessId,
        policy: PagePolicy,
        claims: Claims | None,
        binding: HttpBinding | UiBinding,
    ) -> Response:
        """Add the policy's headers and due cookies to a response."""
        if policy.forbids(response.headers, raw_path(request), navigates=is_navigation(request.headers)):
            return refused(close_codes.BAD_ANSWER)
        authenticated = binding.authenticated or binding.secure
        policy.apply(MutableHeaders(raw=response.raw_headers), authenticated=authenticated)
        if claims is not None:
            if binding.secure or isinstance(binding, UiBinding):
                self.login.renew(request, response, claims)
            if not binding.secure and is_navigation(request.headers):
                self.login.cookies.set_for_page(request, response, process, claims, policy)
        return response

    def _policy(self, request: Request, process: ProcessId) -> PagePolicy:
        access, headers, http = self.context.access, RequestHeaders(request), self.context.settings.http
        site = access.site(headers) or NO_SITE
        listed = process.package_id in (*http.register_packages, *http.readable_packages)
        return PagePolicy(
            site,
            access.scheme(headers, peer_of(request)),
            str(process.plain),
            http.page_sources,
            http.register_form and (listed or bool(site.label)),
        )

    def _to_own_origin(
        self, request: Request, process: ProcessId, policy: PagePolicy, claims: Claims | None
    ) -> Response | None:
        """Redirect a browser's page request on the node's host to the package's own origin; None if not needed."""
        if policy.is_page or request.method not in _SAFE or not is_navigation(request.headers):
            return None
        response = self.own_origin.leave(request, process, claims, policy)
        if claims is not None:
            self.login.renew(request, response, claims)
        return response

    def our_js(
        self, request: Request, process: ProcessId | None, policy: PagePolicy | None = None
    ) -> Response:
        """Serve `our.js`, which tells a page its node and process, and set the page's cookie."""
        response = our_js(self.context.router.node, None if process is None else process.plain)
        headers = RequestHeaders(request)
        if process is None or self.context.access.wrong_host(process, headers, secure=False) is not None:
            return response
        claims = self.context.access.admit(process, headers, peer_of(request), self.context.now(), safe=True)
        if isinstance(claims, Claims):
            policy = policy or self._policy(request, process)
            self.login.cookies.set_for_page(request, response, process, claims, policy)
        return response

    def _admit(
        self, request: Request, process: ProcessId, binding: HttpBinding | UiBinding
    ) -> Claims | Refusal | None:
        peer, headers = peer_of(request), RequestHeaders(request)
        refusal = self.context.access.wrong_host(process, headers, secure=binding.secure)
        if refusal is not None:
            return refusal
        needs_login = binding.authenticated or binding.secure
        if binding.local_only:
            refusal = self.context.access.local.refusal(peer.address, headers)
            if refusal is close_codes.NO_LOCAL_SECRET:
                needs_login = True
            elif refusal is not None:
                return refusal
        if not needs_login:
            return None
        now, safe = self.context.now(), request.method in _SAFE
        return self.context.access.admit(process, headers, peer, now, secure=binding.secure, safe=safe)

    async def _ask(
        self, request: Request, process: ProcessPort, match: Match[HttpBinding], claims: Claims | None
    ) -> Response:
        limits, seconds = self.context.settings.connections, self._seconds(request, match.binding)
        async with body_of(request, limits.http_body_bytes, self.bodies, limits.handshake_seconds) as body:
            answered: asyncio.Future[HttpResponse | Refusal] = asyncio.get_running_loop().create_future()
            with self.exchanges.open(process.id, partial(_set, answered)) as pending:
                mime = request.headers.get("content-type")
                if process.gone or not process.post_http(
                    pending.http_id, _incoming(request, match, claims), mime, body
                ):
                    return refused_page(request, close_codes.MAILBOX_FULL, retry_after=1)
                answer = await _answered(request, pending, answered, seconds)
        if answer is None:
            return refused_page(request, close_codes.NO_ANSWER)
        if isinstance(answer, Refusal):
            return refused_page(request, answer, retry_after=1)
        return response_from_guest(answer)

    def _seconds(self, request: Request, binding: HttpBinding) -> float:
        """Time-out of the process's response: by the request, its binding or the settings."""
        limits = self.context.settings.connections
        value = request.headers.get(TIMEOUT_HEADER)
        if value is not None:
            if _SECONDS.fullmatch(value.strip()) is None:
                raise RequestRefused(close_codes.BAD_REQUEST)
            return min(float(value), limits.http_longest_response_seconds)
        for name in _OLD_TIMEOUT_HEADERS:
            value = request.headers.get(name, "").strip()
            if value.isascii() and value.isdigit():
                return min(float(value[:9]), limits.http_longest_response_seconds)
        if binding.response_seconds is not None:
            return min(binding.response_seconds, limits.http_longest_response_seconds)
        return limits.http_response_seconds

    async def _file(
        self,
        request: Request,
        process: ProcessPort,
        policy: PagePolicy,
        requested: ProcessPath,
        *,
        fallback: bool,
    ) -> Response | None:
        """Serve a file of the package's `ui` folder. Access is checked first, so that files cannot be probed for.

        Args:
            request: the HTTP request.
            process: whose package it is.
            policy: for the response.
            requested: the path.
            fallback: return None instead of an error response: the process's root binding takes the request.
        """
        binding = self.context.bindings.find_ui(process.id, requested.segments) or _PACKAGE_UI
        claims = self._admit(request, process.id, binding)
        if isinstance(claims, Refusal):
            refusal = self._refused_page(request, policy, claims, secure=binding.secure)
            return None if fallback else refusal
        if request.method not in _SAFE:
            return None if fallback else _only_safe()
        if isinstance(process.id, ForeignProcess):
            page = wants_page(request) and not fallback
            wanted = self._content(request, authenticated=binding.authenticated, file=True, page=page)
            fetched = await self._fetched(request, process, wanted)
            response = None if fetched.status_code == HTTPStatus.NOT_FOUND else fetched
        else:
            response = await self._found(request, requested, binding, fallback=fallback)
        if response is None:
            return None if fallback else refused_page(request, close_codes.NOT_FOUND)
        elsewhere = self._to_own_origin(request, process.id, policy, claims)
        return elsewhere or self._finished(request, response, process.id, policy, claims, binding)

    def _has_files(self, process: ProcessId) -> bool:
        """Whether a process's package has a folder `ui`."""
        return process in self.context.ui_folders or self.context.bindings.has_files(process)

    def _content(
        self, request: Request, *, authenticated: bool, file: bool, page: bool = False
    ) -> ContentRequest:
        """What to ask another node for."""
        kept = ("range", "if-range", "if-none-match", "if-modified-since")
        headers = tuple((name, value) for name, value in request.headers.items() if name in kept)
        return ContentRequest(
            request.method, below_process(raw_path(request)), headers, authenticated, file, page
        )

    async def _fetched(self, request: Request, process: ProcessPort, wanted: ContentRequest) -> Response:
        """Content of another node."""
        relays, process_id = self.context.relays, process.id
        if relays is None or not isinstance(process_id, ForeignProcess):
            return refused_page(request, close_codes.NOT_FOUND)
        answered: asyncio.Future[HttpResponse | Refusal] = asyncio.get_running_loop().create_future()
        seconds = self.context.settings.connections.http_response_seconds
        with self.exchanges.open(process_id, partial(_set, answered)) as pending:
            if process.gone or not relays.fetch(process_id, pending.http_id, wanted):
                return refused_page(request, close_codes.MAILBOX_FULL, retry_after=1)
            answer = await _answered(request, pending, answered, seconds)
        if answer is None:
            return refused_page(request, close_codes.NO_ANSWER)
        return refused_page(request, answer) if isinstance(answer, Refusal) else response_from_guest(answer)

    async def _found(
        self, request: Request, requested: ProcessPath, binding: UiBinding, *, fallback: bool
    ) -> Response | None:
        folder = self.context.ui_folders[requested.process]
        inside = requested.segments[len(binding.segments) :]
        found = await asyncio.to_thread(find_file, folder, inside, directory=requested.directory)
        if found is None and wants_page(request) and not fallback:
            found = await asyncio.to_thread(find_file, folder, (), directory=True)  # a client-side route
        elif (
            found and found.name == "index.html" and not requested.directory and inside[-1:] != (found.name,)
        ):
            return RedirectResponse(f"{raw_path(request)}/", 307)
        try:
            return None if found is None else file_answer(found, request)
        except OSError:
            return None

    def _refused_page(
        self, request: Request, policy: PagePolicy, refusal: Refusal, *, secure: bool
    ) -> Response:
        """A refusal; browsers that are not logged in are redirected to the login page."""
        if refusal is not close_codes.NOT_AUTHORISED or not wants_page(request):
            return refused_page(request, refusal)
        where = f"/login?redirect={quote(target_of(request), safe='/:')}"
        if policy.site.label and policy.site.apart is not None and not secure:
            where = origin_of(policy.scheme, policy.site.parent) + target_of(request)
        response = RedirectResponse(where, 303, PAGE_HEADERS)
        self.login.cookies.clear_tossed(request, response, own_paths=("/", policy.path))
        return response


def our_js(node: str, process: ProcessId | None) -> Response:
    """The script `our.js`. `our.token()` refreshes the readable cookie and returns its value."""
    process_id = "" if process is None else str(process)
    our = json.dumps({"node": node, "process": process_id})
    script = f"window.our = {our};\n"
    if process is not None:
        script += _OUR_CALL % (
            json.dumps(f"/{process_id}/our.js"),
            json.dumps(f"{COOKIE_PREFIXES[0]}{node}="),
        )
    headers = {
        "Cache-Control": "no-store",
        "Vary": "Referer",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    return Response(script, headers=headers, media_type="text/javascript")


def _set(answered: asyncio.Future[HttpResponse | Refusal], answer: HttpResponse | Refusal) -> None:
    """Set the answer, unless nobody waits any more."""
    if not answered.done():
        answered.set_result(answer)


async def _answered(
    request: Request,
    pending: PendingResponse,
    answered: asyncio.Future[HttpResponse | Refusal],
    seconds: float,
) -> HttpResponse | Refusal | None:
    """Wait for the response; None on a time-out. Ends at once when the client disconnects."""
    async with asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(_end_with_client(request, pending))
        try:
            async with asyncio.timeout(seconds):
                return await answered
        except TimeoutError:
            return None
        finally:
            watch.cancel()


async def _end_with_client(request: Request, pending: PendingResponse) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    pending.settle(close_codes.BAD_REQUEST)  # not sent: the client is gone


def _incoming(request: Request, match: Match[HttpBinding], claims: Claims | None) -> IncomingHttpRequest:
    peer = peer_of(request)
    query = request.scope["query_string"].decode("latin-1")
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw)
    return IncomingHttpRequest(
        method=request.method,
        url=origin_of(peer.scheme, request.headers.get("host", "")) + target_of(request),
        bound_path=match.binding.pattern.text,
        headers=headers_for_guest(headers),
        url_params=match.params,
        query_params=query_params(query),
        source_socket_addr=shown_address(peer.address, peer.port),
        claims=None if claims is None else claims.custom,
    )


def _only_safe() -> Response:
    response = refused(close_codes.METHOD_NOT_ALLOWED)
    response.headers["Allow"] = ", ".join(_SAFE)
    return response
