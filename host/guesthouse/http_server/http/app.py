"""The ASGI application: the node's own pages; everything else goes to processes."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from guesthouse.core.address import ProcessId, canonical
from guesthouse.core.errors import BadProcessId
from guesthouse.http_server import close_codes, html_pages
from guesthouse.http_server.auth.access import NoSuchPackage
from guesthouse.http_server.context import Context
from guesthouse.http_server.http.client_script import CLIENT_SCRIPT, client_script
from guesthouse.http_server.http.direct_request import DirectAnswers
from guesthouse.http_server.http.login.login import Login
from guesthouse.http_server.http.node_api import NodeApi
from guesthouse.http_server.http.own_origin import SHARE_PATH
from guesthouse.http_server.http.process_routes import ProcessPages
from guesthouse.http_server.http.requests import RequestHeaders, RequestRefused, peer_of
from guesthouse.http_server.http.service_workers import refused_worker
from guesthouse.http_server.refusals import HSTS, PAGE_HEADERS, refusal_of, refused, refused_page
from guesthouse.http_server.routing.paths import WHOLE_SERVER, split_process_path
from guesthouse.http_server.state.admission import Admission
from guesthouse.http_server.state.client_log import SOURCE
from guesthouse.http_server.state.refusal_counts import LOGIN, RefusedBy

ENCRYPTOR: Final = "/encryptor:distro:sys"
RPC: Final = "/rpc:distro:sys/message"
_OWN_PATHS: Final = frozenset(
    ("/", "/our.js", CLIENT_SCRIPT, "/login", "/logout", "/token", SHARE_PATH, ENCRYPTOR, RPC)
)


class _MethodNotAllowed(Struct, frozen=True):
    """Responds to methods that no route before it accepts."""

    allow: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = refused(close_codes.METHOD_NOT_ALLOWED)
        response.headers["Allow"] = self.allow
        await response(scope, receive, send)


class HttpApp:
    """The ASGI application. No exception reaches uvicorn."""

    def __init__(self, context: Context, login: Login, processes: ProcessPages, api: NodeApi) -> None:
        self.context = context
        self.direct = DirectAnswers(
            context, processes.forwarding.exchanges, processes.forwarding.bodies, processes.routes
        )
        """Answers what it can before a request gets here."""
        self.login = login
        self.processes = processes
        self.api = api
        self._routes = Router(
            [
                Route("/", self._home, methods=["GET"]),
                Route("/our.js", self._our_js, methods=["GET"]),
                Route(CLIENT_SCRIPT, client_script, methods=["GET"]),
                Route("/login", login.show, methods=["GET"]),
                Route("/login", login.submit, methods=["POST"]),
                Route("/logout", login.ask_logout, methods=["GET"]),
                Route("/logout", login.logout, methods=["POST"]),
                Route("/token", login.renew_token, methods=["POST"]),
                Route(SHARE_PATH, self.processes.own_origin.share, methods=["POST"]),
                Route(ENCRYPTOR, self.api.node_public_key, methods=["GET"]),
                Route(ENCRYPTOR, self.api.exchange_keys, methods=["POST"]),
                Route(RPC, self.api.send_message, methods=["POST"]),
                *(Route(path, _MethodNotAllowed("GET, HEAD")) for path in ("/", "/our.js", CLIENT_SCRIPT)),
                *(Route(path, _MethodNotAllowed("GET, HEAD, POST")) for path in ("/login", "/logout")),
                *(Route(path, _MethodNotAllowed("POST")) for path in ("/token", SHARE_PATH, RPC)),
                Route(ENCRYPTOR, _MethodNotAllowed("GET, HEAD, POST")),
            ],
            redirect_slashes=False,
            default=self.processes,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._answer(scope, receive, send)
        refusal = refusal_of(scope)
        if isinstance(refusal, int):
            self.context.refusals.answered(RefusedBy.HTTP, refusal, LOGIN)
        elif refusal is not None:
            self.context.refusals.refused(refusal)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        if scope["scheme"] != "https" and self._is_tls(request):
            send = _with_hsts(send)
        try:
            if self.context.stopping:
                raise RequestRefused(close_codes.STOPPING)
            if self.context.admission is not Admission.ALL:
                send = _and_close(send)
                if self.context.admission is Admission.NOTHING:
                    raise RequestRefused(close_codes.DRAINING)
            site = self.context.access.site(RequestHeaders(request))
            if "host" in request.headers and site is None:
                raise RequestRefused(close_codes.MISDIRECTED)
            refusal = refused_worker(request, site, self.context.settings.http.service_workers)
            if refusal is not None:
                return await refusal(scope, receive, send)
            if scope["path"] in _OWN_PATHS:
                self.context.access.subdomain(RequestHeaders(request))
                await self._routes(scope, receive, send)
            elif scope["path"] == WHOLE_SERVER:
                await _whole_server(scope, receive, send)
            else:
                await self.processes(scope, receive, send)
        except NoSuchPackage as error:
            await refused(error.refusal, close=True)(scope, receive, send)
        except RequestRefused as refused_request:
            page = refused_page(request, refused_request.refusal, close=True)
            await page(scope, receive, send)
        except asyncio.CancelledError:
            if not self.context.stopping:
                raise
            with contextlib.suppress(RuntimeError):  # raised if a response was started
                await refused(close_codes.STOPPING, close=True)(scope, receive, send)
        except Exception:
            self.context.log.write(SOURCE, "error", f"{scope['path']!r}: {traceback.format_exc()}")
            with contextlib.suppress(RuntimeError):  # a response was started: uvicorn aborts it
                await refused(close_codes.NODE_ERROR, close=True)(scope, receive, send)

    def _is_tls(self, request: Request) -> bool:
        return self.context.access.scheme(RequestHeaders(request), peer_of(request)) == "https"

    async def _home(self, request: Request) -> Response:
        if self.context.access.subdomain(RequestHeaders(request)):
            return refused(close_codes.WRONG_SUBDOMAIN)
        claims = self.context.tokens.verify_cookies(request.headers.getlist("cookie"), self.context.now())
        if claims is None:
            return RedirectResponse("/login", 303, PAGE_HEADERS)
        with_page = [
            process.id
            for process in self.context.router.processes()
            if process.id in self.context.ui_folders and claims.opens(process.id)
        ]
        page = html_pages.home_page(self.context.router.node, sorted(with_page, key=str))
        response = HTMLResponse(page, headers=PAGE_HEADERS)
        self.login.renew(request, response, claims)
        return response

    async def _our_js(self, request: Request) -> Response:
        named = request.query_params.get("process") or _first_segment(request.headers.get("referer", ""))
        try:
            return self.processes.our_js(request, canonical(ProcessId.parse(named)))
        except BadProcessId:
            return self.processes.our_js(request, None)


async def _whole_server(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer `OPTIONS *` (RFC 9110, section 9.3.7)."""
    allow = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
    await Response(status_code=204, headers={"Allow": allow})(scope, receive, send)


def _with_hsts(send: Send) -> Send:
    """Add HSTS to responses that a proxy sends over TLS."""

    async def send_with_hsts(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)[HSTS[0]] = HSTS[1]
        await send(message)

    return send_with_hsts


def _and_close(send: Send) -> Send:
    """End the connection with the response, so that the client's next request may go to another node."""

    async def send_and_close(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["Connection"] = "close"
        await send(message)

    return send_and_close


def _first_segment(referer: str) -> str:
    try:
        return str(split_process_path(urlsplit(referer).path).process)
    except ValueError:
        return ""
