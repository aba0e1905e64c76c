"""Forwards HTTP requests to processes, and waits for what they answer."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from guesthouse.core.address import ForeignProcess
from guesthouse.core.messages import HttpResponse, IncomingHttpRequest
from guesthouse.core.ports import ProcessPort
from guesthouse.http_server import close_codes
from guesthouse.http_server.auth.tokens import Claims
from guesthouse.http_server.close_codes import Refusal
from guesthouse.http_server.context import Context
from guesthouse.http_server.http.guest_response import headers_for_guest, response_from_guest
from guesthouse.http_server.http.own_origin import target_of
from guesthouse.http_server.http.requests import RequestRefused, body_of, peer_of, raw_path
from guesthouse.http_server.refusals import refused_page
from guesthouse.http_server.routing.bindings import HttpBinding, Match
from guesthouse.http_server.routing.origin import origin_of, shown_address
from guesthouse.http_server.routing.paths import below_process, query_params
from guesthouse.http_server.state.pending_responses import BodyBudget, PendingResponse, PendingResponses
from guesthouse.http_server.state.relays import ContentRequest

TIMEOUT_HEADER: Final = "guesthouse-timeout"
"""Time-out for the process's response, in seconds."""
_OLD_TIMEOUT_HEADERS: Final = ("x-hyperware-http-server-timeout", "x-kinode-http-server-timeout")
"""The same, as sent by tools of Hyperware and the Kinode OS, in whole seconds; other values are ignored."""

_SECONDS: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?")


class Forwarding(Struct, frozen=True):
    """Requests on their way to processes, of which some may be on other nodes."""

    context: Context
    exchanges: PendingResponses
    bodies: BodyBudget

    async def ask(
        self, request: Request, process: ProcessPort, match: Match[HttpBinding], claims: Claims | None
    ) -> Response:
        """Have a process answer a request."""
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

    async def fetch(self, request: Request, process: ProcessPort, wanted: ContentRequest) -> Response:
        """Content of another node's process."""
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


def content_request(
    request: Request, *, authenticated: bool, file: bool, page: bool = False
) -> ContentRequest:
    """What to ask another node for."""
    kept = ("range", "if-range", "if-none-match", "if-modified-since")
    headers = tuple((name, value) for name, value in request.headers.items() if name in kept)
    return ContentRequest(
        request.method, below_process(raw_path(request)), headers, authenticated, file, page
    )


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
