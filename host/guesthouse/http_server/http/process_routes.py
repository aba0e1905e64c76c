"""Serves `/<process-id>/…`: processes' bound paths and the files of their `ui` folder."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from msgspec import Struct
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from guesthouse.core.address import ForeignProcess, ProcessId
from guesthouse.core.ports import ProcessPort
from guesthouse.http_server import close_codes
from guesthouse.http_server.auth.tokens import Claims
from guesthouse.http_server.close_codes import Refusal
from guesthouse.http_server.context import Context
from guesthouse.http_server.http.direct_routes import DirectRoute, DirectRoutes, facts_of
from guesthouse.http_server.http.forwarding import Forwarding, content_request
from guesthouse.http_server.http.login.login import Login
from guesthouse.http_server.http.our_script import our_script
from guesthouse.http_server.http.own_origin import OwnOrigin, target_of
from guesthouse.http_server.http.page_policy import PagePolicy
from guesthouse.http_server.http.requests import (
    RequestHeaders,
    RequestRefused,
    is_navigation,
    peer_of,
    raw_path,
)
from guesthouse.http_server.http.static_files import file_answer, find_file, static_answer
from guesthouse.http_server.refusals import PAGE_HEADERS, refused, refused_page, wants_page
from guesthouse.http_server.routing.bindings import HttpBinding, Match, UiBinding
from guesthouse.http_server.routing.hosts import NO_SITE
from guesthouse.http_server.routing.origin import origin_of
from guesthouse.http_server.routing.paths import (
    MAX_PATH,
    BadPath,
    ProcessPath,
    split_process_path,
)

_SAFE: Final = ("GET", "HEAD")
_PACKAGE_UI: Final = UiBinding((), authenticated=True, local_only=False)
"""Default binding of a package's `ui` folder."""


class ProcessPages(Struct, frozen=True):
    """Serves all requests that are not for the node itself."""

    context: Context
    login: Login
    forwarding: Forwarding
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
            raise RequestRefused(self.context.access.no_process(requested.process))
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
            refused_page(request, self.context.access.nothing_bound(process.id))
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
            wanted = content_request(request, authenticated=binding.authenticated, file=False)
            response = await self.forwarding.fetch(request, process, wanted)
        elif binding.static is None:
            if route is not None:
                self._keep(request, route)
            response = await self.forwarding.ask(request, process, match, claims)
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
        response = our_script(self.context.router.node, None if process is None else process.plain)
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
            wanted = content_request(request, authenticated=binding.authenticated, file=True, page=page)
            fetched = await self.forwarding.fetch(request, process, wanted)
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


def _only_safe() -> Response:
    response = refused(close_codes.METHOD_NOT_ALLOWED)
    response.headers["Allow"] = ", ".join(_SAFE)
    return response
