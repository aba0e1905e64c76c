"""The HTTP side: the node's own pages, and what processes serve under `/<process-id>/`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from guesthouse.address import ProcessId
from guesthouse.http_server import closes, pages
from guesthouse.http_server.answers import PAGE_HEADERS, refused
from guesthouse.http_server.bindings import HttpBinding, Match
from guesthouse.http_server.closes import Refusal
from guesthouse.http_server.complaints import SOURCE
from guesthouse.http_server.content import file_answer, find_file, static_answer
from guesthouse.http_server.context import Context
from guesthouse.http_server.exchanges import BodyBudget, Exchanges
from guesthouse.http_server.guest_http import answer_from_guest, headers_for_guest
from guesthouse.http_server.login import Login
from guesthouse.http_server.origin import is_local, shown_address
from guesthouse.http_server.paths import MAX_PATH, BadPath, ProcessPath, query_params, split_process_path
from guesthouse.http_server.requests import Refused, RequestHeaders, body_of, peer_of, raw_path
from guesthouse.message import IncomingHttpRequest
from guesthouse.ports import ProcessPort

_SAFE = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class _MethodNotAllowed:
    """Answers what no route before it took."""

    allow: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = refused(closes.METHOD_NOT_ALLOWED)
        response.headers["Allow"] = self.allow
        await response(scope, receive, send)


@dataclass(slots=True)
class HttpApp:
    """The ASGI application. Nothing that happens in it reaches uvicorn as an exception."""

    context: Context
    exchanges: Exchanges
    login: Login
    bodies: BodyBudget
    ui_folders: dict[ProcessId, Path] = field(default_factory=dict)
    _routes: Router = field(init=False)

    def __post_init__(self) -> None:
        login = self.login
        self._routes = Router(
            [
                Route("/", self._home, methods=["GET"]),
                Route("/our.js", self._our_js, methods=["GET"]),
                Route("/login", login.show, methods=["GET"]),
                Route("/login", login.submit, methods=["POST"]),
                Route("/logout", login.ask_logout, methods=["GET"]),
                Route("/logout", login.logout, methods=["POST"]),
                *(Route(path, _MethodNotAllowed("GET, HEAD")) for path in ("/", "/our.js")),
                *(Route(path, _MethodNotAllowed("GET, HEAD, POST")) for path in ("/login", "/logout")),
            ],
            redirect_slashes=False,
            default=self._under_process,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            if self.context.stopping:
                raise Refused(closes.STOPPING)
            await self._routes(scope, receive, send)
        except Refused as refused_request:
            await refused(refused_request.refusal, close=True)(scope, receive, send)
        except Exception:
            self.context.log.write(SOURCE, "error", f"{scope['path']!r}: {traceback.format_exc()}")
            with contextlib.suppress(RuntimeError):  # an answer was begun: uvicorn cuts it off
                await refused(closes.NODE_ERROR, close=True)(scope, receive, send)

    # The node's own pages.

    async def _home(self, request: Request) -> Response:
        claims = self.context.tokens.verify_cookies(request.headers.getlist("cookie"), self.context.now())
        if claims is None:
            return RedirectResponse("/login", 303, PAGE_HEADERS)
        with_page = [
            process.id for process in self.context.router.processes() if process.id in self.ui_folders
        ]
        page = pages.home_page(self.context.router.node, sorted(with_page, key=str))
        response = HTMLResponse(page, headers=PAGE_HEADERS)
        self.login.renew(request, response, claims)
        return response

    async def _our_js(self, request: Request) -> Response:
        process = request.query_params.get("process") or _first_segment(request.headers.get("referer", ""))
        return self._our(process)

    def _our(self, process: str) -> Response:
        try:
            known = str(ProcessId.parse(process))
        except ValueError:
            known = ""
        our = json.dumps({"node": self.context.router.node, "process": known})
        headers = {"Cache-Control": "no-store", "Vary": "Referer", "X-Content-Type-Options": "nosniff"}
        return Response(f"window.our = {our};\n", headers=headers, media_type="text/javascript")

    # Processes.

    async def _under_process(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path = raw_path(request)
        if len(path) > MAX_PATH:
            raise Refused(closes.PATH_TOO_LONG)
        try:
            asked = split_process_path(path)
        except BadPath:
            raise Refused(closes.NOT_FOUND) from None
        process = self.context.router.find(asked.process)
        if process is None or process.gone:
            raise Refused(closes.NOT_FOUND)
        response = await self._for_process(request, process, asked)
        await response(scope, receive, send)

    async def _for_process(self, request: Request, process: ProcessPort, asked: ProcessPath) -> Response:
        match = self.context.bindings.find_http(process.id, asked.segments)
        if match is not None:
            return await self._bound(request, process, match)
        if asked.segments == ("our.js",) and request.method in _SAFE:
            return self._our(str(process.id))
        folder = self.ui_folders.get(process.id)
        if folder is None:
            return refused(closes.NOT_FOUND)
        return await self._file(request, process, asked, folder)

    async def _bound(self, request: Request, process: ProcessPort, match: Match[HttpBinding]) -> Response:
        binding = match.binding
        refusal = self._refusal(request, binding)
        if refusal is closes.NOT_AUTHORISED and _wants_page(request):
            return _to_login(request)
        if refusal is not None:
            return refused(refusal)
        if binding.static is None:
            return await self._ask(request, process, match)
        return static_answer(binding, request.headers) if request.method in _SAFE else _only_safe()

    def _refusal(self, request: Request, binding: HttpBinding) -> Refusal | None:
        peer, headers = peer_of(request), RequestHeaders(request)
        if binding.local_only and not is_local(peer.address, request.headers, headers.get_all("host")):
            return closes.LOCAL_ONLY
        if not binding.authenticated:
            return None
        if request.method in _SAFE:  # changes nothing, and its answer stays with pages of this origin
            claims = self.context.tokens.verify_cookies(headers.get_all("cookie"), self.context.now())
            return closes.NOT_AUTHORISED if claims is None else None
        return self.context.gate.refuse_stranger(headers, peer, self.context.now())

    async def _ask(self, request: Request, process: ProcessPort, match: Match[HttpBinding]) -> Response:
        limits = self.context.settings.connections
        async with body_of(request, limits.http_body_bytes, self.bodies, limits.handshake_seconds) as body:
            with self.exchanges.open(process.id) as exchange:
                mime = request.headers.get("content-type")
                if process.gone or not process.post_http(
                    exchange.http_id, _incoming(request, match), mime, body
                ):
                    return refused(closes.MAILBOX_FULL, retry_after=1)
                try:
                    async with asyncio.timeout(limits.http_response_seconds):
                        answer = await exchange.answer
                except TimeoutError:
                    return refused(closes.NO_ANSWER)
        return refused(answer, retry_after=1) if isinstance(answer, Refusal) else answer_from_guest(answer)

    async def _file(
        self, request: Request, process: ProcessPort, asked: ProcessPath, folder: Path
    ) -> Response:
        claims = self.context.tokens.verify_cookies(request.headers.getlist("cookie"), self.context.now())
        if claims is None:
            return _to_login(request) if _wants_page(request) else refused(closes.NOT_AUTHORISED)
        if request.method not in _SAFE:
            return _only_safe()
        found = await asyncio.to_thread(find_file, folder, asked.segments, directory=asked.directory)
        if found is None:
            return refused(closes.NOT_FOUND)
        if found.name == "index.html" and not asked.directory and asked.segments[-1:] != ("index.html",):
            return RedirectResponse(f"{raw_path(request)}/", 307)
        try:
            response = file_answer(found, request.headers)
        except OSError:
            return refused(closes.NOT_FOUND)
        self.login.renew(request, response, claims)
        return response


def _incoming(request: Request, match: Match[HttpBinding]) -> IncomingHttpRequest:
    peer = peer_of(request)
    query = request.scope["query_string"].decode("latin-1")
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw)
    return IncomingHttpRequest(
        method=request.method,
        url=f"{peer.scheme}://{request.headers.get('host', '')}{_target(request)}",
        bound_path=match.binding.pattern.text,
        headers=headers_for_guest(headers),
        url_params=match.params,
        query_params=query_params(query),
        source_socket_addr=shown_address(peer.address, peer.port),
    )


def _first_segment(referer: str) -> str:
    try:
        return str(split_process_path(urlsplit(referer).path).process)
    except ValueError:
        return ""


def _wants_page(request: Request) -> bool:
    return request.method in _SAFE and "text/html" in request.headers.get("accept", "")


def _to_login(request: Request) -> Response:
    return RedirectResponse(f"/login?redirect={quote(_target(request), safe='/:')}", 303, PAGE_HEADERS)


def _target(request: Request) -> str:
    query = request.scope["query_string"].decode("latin-1")
    return raw_path(request) + (f"?{query}" if query else "")


def _only_safe() -> Response:
    response = refused(closes.METHOD_NOT_ALLOWED)
    response.headers["Allow"] = ", ".join(_SAFE)
    return response
