"""What processes serve under `/<process-id>/`: what they bound, and the files of their `ui` folder."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from guesthouse.address import ProcessId
from guesthouse.http_server import closes
from guesthouse.http_server.answers import PAGE_HEADERS, refused, refused_page, wants_page
from guesthouse.http_server.auth import Claims
from guesthouse.http_server.bindings import HttpBinding, Match, UiBinding
from guesthouse.http_server.closes import Refusal
from guesthouse.http_server.content import file_answer, find_file, static_answer
from guesthouse.http_server.context import Context
from guesthouse.http_server.exchanges import BodyBudget, Exchange, Exchanges
from guesthouse.http_server.guest_http import answer_from_guest, headers_for_guest
from guesthouse.http_server.login import Login
from guesthouse.http_server.origin import shown_address
from guesthouse.http_server.paths import MAX_PATH, BadPath, ProcessPath, query_params, split_process_path
from guesthouse.http_server.requests import Refused, RequestHeaders, body_of, peer_of, raw_path
from guesthouse.message import HttpResponse, IncomingHttpRequest
from guesthouse.ports import ProcessPort

TIMEOUT_HEADER: Final = "guesthouse-timeout"
"""A request may say in it how many seconds it gives the process."""

_OLD_TIMEOUT_HEADERS: Final = ("x-hyperware-http-server-timeout", "x-kinode-http-server-timeout")
"""The same as tools of Hyperware and the Kinode OS say it: whole seconds; what is none does not count."""

_SAFE: Final = ("GET", "HEAD")
_SECONDS: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?")
_PACKAGE_UI: Final = UiBinding((), authenticated=True, local_only=False)
"""How the `ui` folder of a package is served unless its process binds it."""


@dataclass(frozen=True, slots=True)
class ProcessPages:
    """Answers every request that is not for the node itself."""

    context: Context
    exchanges: Exchanges
    login: Login
    bodies: BodyBudget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            Refused: it is not for a process that runs, or its body is not in order.
        """
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
        response = await self._answer(request, process, asked)
        await response(scope, receive, send)

    async def _answer(self, request: Request, process: ProcessPort, asked: ProcessPath) -> Response:
        bindings = self.context.bindings
        match = bindings.find_http(process.id, asked.segments)
        if match is not None:
            return await self._bound(request, process, match)
        if asked.segments == ("our.js",) and request.method in _SAFE:
            return our_js(self.context.router.node, str(process.id))
        root = bindings.root_of(process.id)
        if process.id in self.context.ui_folders:
            response = await self._file(request, process, asked, otherwise=root is not None)
            if response is not None:
                return response
        return (
            refused_page(request, closes.NOT_FOUND)
            if root is None
            else await self._bound(request, process, root)
        )

    async def _bound(self, request: Request, process: ProcessPort, match: Match[HttpBinding]) -> Response:
        binding = match.binding
        claims = self._admit(request, process.id, binding)
        if isinstance(claims, Refusal):
            return _refused_page(request, claims)
        if binding.static is None:
            response = await self._ask(request, process, match)
        elif request.method in _SAFE:
            response = static_answer(binding, request)
        else:
            return _only_safe()
        if binding.secure and claims is not None:
            self.login.renew(request, response, claims)
        return response

    def _admit(
        self, request: Request, process: ProcessId, binding: HttpBinding | UiBinding
    ) -> Claims | Refusal | None:
        peer, headers = peer_of(request), RequestHeaders(request)
        refusal = self.context.gate.wrong_host(process, headers, secure=binding.secure)
        if refusal is not None:
            return refusal
        needs_login = binding.authenticated or binding.secure
        if binding.local_only:
            refusal = self.context.gate.local.refusal(peer.address, headers)
            if refusal is closes.NO_LOCAL_SECRET:
                needs_login = True
            elif refusal is not None:
                return refusal
        if not needs_login:
            return None
        now, safe = self.context.now(), request.method in _SAFE
        return self.context.gate.admit(process, headers, peer, now, secure=binding.secure, safe=safe)

    async def _ask(self, request: Request, process: ProcessPort, match: Match[HttpBinding]) -> Response:
        limits, seconds = self.context.settings.connections, self._seconds(request, match.binding)
        async with body_of(request, limits.http_body_bytes, self.bodies, limits.handshake_seconds) as body:
            with self.exchanges.open(process.id) as exchange:
                mime = request.headers.get("content-type")
                if process.gone or not process.post_http(
                    exchange.http_id, _incoming(request, match), mime, body
                ):
                    return refused_page(request, closes.MAILBOX_FULL, retry_after=1)
                answer = await _answered(request, exchange, seconds)
        if answer is None:
            return refused_page(request, closes.NO_ANSWER)
        if isinstance(answer, Refusal):
            return refused_page(request, answer, retry_after=1)
        return answer_from_guest(answer)

    def _seconds(self, request: Request, binding: HttpBinding) -> float:
        """How long the process may take: as the request says, or its binding, or the node."""
        limits = self.context.settings.connections
        given = request.headers.get(TIMEOUT_HEADER)
        if given is not None:
            if _SECONDS.fullmatch(given.strip()) is None:
                raise Refused(closes.BAD_REQUEST)
            return min(float(given), limits.http_longest_response_seconds)
        for name in _OLD_TIMEOUT_HEADERS:
            given = request.headers.get(name, "").strip()
            if given.isascii() and given.isdigit():
                return min(float(given[:9]), limits.http_longest_response_seconds)
        if binding.response_seconds is not None:
            return min(binding.response_seconds, limits.http_longest_response_seconds)
        return limits.http_response_seconds

    async def _file(
        self, request: Request, process: ProcessPort, asked: ProcessPath, *, otherwise: bool
    ) -> Response | None:
        """A file of the package's `ui` folder, or why not. With `otherwise`, None for what it has no answer to; what
        may be seen is found out first, so that nobody else learns which files there are.
        """
        binding = self.context.bindings.find_ui(process.id, asked.segments) or _PACKAGE_UI
        claims = self._admit(request, process.id, binding)
        if isinstance(claims, Refusal):
            return None if otherwise else _refused_page(request, claims)
        if request.method not in _SAFE:
            return None if otherwise else _only_safe()
        folder, inside = self.context.ui_folders[process.id], asked.segments[len(binding.segments) :]
        found = await asyncio.to_thread(find_file, folder, inside, directory=asked.directory)
        if found is None and wants_page(request) and not otherwise:
            found = await asyncio.to_thread(
                find_file, folder, (), directory=True
            )  # a route of the page's own
        elif found and found.name == "index.html" and not asked.directory and inside[-1:] != (found.name,):
            return RedirectResponse(f"{raw_path(request)}/", 307)
        try:
            response = None if found is None else file_answer(found, request)
        except OSError:
            response = None
        if response is not None and claims is not None:
            self.login.renew(request, response, claims)
        return response if response is not None or otherwise else refused_page(request, closes.NOT_FOUND)


def our_js(node: str, process: str) -> Response:
    """The script that tells a page where it is."""
    try:
        known = str(ProcessId.parse(process))
    except ValueError:
        known = ""
    our = json.dumps({"node": node, "process": known})
    headers = {"Cache-Control": "no-store", "Vary": "Referer", "X-Content-Type-Options": "nosniff"}
    return Response(f"window.our = {our};\n", headers=headers, media_type="text/javascript")


async def _answered(request: Request, exchange: Exchange, seconds: float) -> HttpResponse | Refusal | None:
    """The answer; None when it does not come in time. When the client leaves, the exchange ends at once."""
    async with asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(_end_with_client(request, exchange))
        try:
            async with asyncio.timeout(seconds):
                return await exchange.answer
        except TimeoutError:
            return None
        finally:
            watch.cancel()


async def _end_with_client(request: Request, exchange: Exchange) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    if not exchange.answer.done():
        exchange.answer.set_result(closes.BAD_REQUEST)  # which nobody is there to read


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


def _refused_page(request: Request, refusal: Refusal) -> Response:
    """A refusal; a person who has not logged in is sent to do so."""
    if refusal is closes.NOT_AUTHORISED and wants_page(request):
        return RedirectResponse(f"/login?redirect={quote(_target(request), safe='/:')}", 303, PAGE_HEADERS)
    return refused_page(request, refusal)


def _target(request: Request) -> str:
    query = request.scope["query_string"].decode("latin-1")
    return raw_path(request) + (f"?{query}" if query else "")


def _only_safe() -> Response:
    response = refused(closes.METHOD_NOT_ALLOWED)
    response.headers["Allow"] = ", ".join(_SAFE)
    return response
