"""One request that is answered without ASGI, by a route that is known (`direct_routes.py`).

The same parts answer it as in `process_routes.py`, in the callbacks of parser and link, without a task, time-out or
future of its own. `HttpConnection` treats it as uvicorn's `RequestResponseCycle`.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from typing import Any, Final, Protocol

from msgspec import Struct
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from guesthouse.core.messages import HttpResponse, IncomingHttpRequest
from guesthouse.http_server import close_codes
from guesthouse.http_server.close_codes import Refusal
from guesthouse.http_server.context import Context
from guesthouse.http_server.http.direct_routes import (
    LEAST_SECONDS,
    DirectRoute,
    DirectRoutes,
    RequestFacts,
    facts_of,
)
from guesthouse.http_server.http.guest_response import headers_for_guest
from guesthouse.http_server.http.requests import is_navigation
from guesthouse.http_server.refusals import refusal_in, refused, refused_page
from guesthouse.http_server.routing.origin import client_scheme, origin_of, shown_address
from guesthouse.http_server.routing.paths import query_params
from guesthouse.http_server.state.client_log import SOURCE
from guesthouse.http_server.state.pending_responses import BodyBudget, PendingResponse, PendingResponses

_METHODS: Final = frozenset((b"GET", b"POST", b"PUT", b"PATCH", b"DELETE"))
_CLOSE: Final = b"connection: close\r\n"
_MAX_DIGITS: Final = 12
_NOBODY_WAITS: Final[Any] = type("_Event", (), {"set": lambda _: None})()


class Respondent(Protocol):
    """The connection of a request."""

    scheme: Any
    client: Any

    def send_response(self, head: bytes, body: bytes) -> None:
        """Send the response to the request in hand: a head without the headers that the server adds and without its
        end.
        """

    def expect_answer(self, seconds: float) -> None:
        """Call the request's `late` if it is not answered in that time."""


class DirectAnswers(Struct, frozen=True):
    """Answers requests by the routes that are known."""

    context: Context
    exchanges: PendingResponses
    bodies: BodyBudget
    routes: DirectRoutes

    def request(
        self, sender: Respondent, method: bytes, url: bytes, headers: list[tuple[bytes, bytes]]
    ) -> DirectRequest | None:
        """Take a request whose head is complete; None if it is not to be answered so."""
        if method not in _METHODS or b"#" in url:
            return None
        found = facts_of(headers)
        if found is None:
            return None
        path, _, query = url.partition(b"?")
        scheme: str = sender.scheme
        client = scheme
        if found.forwarded is not None:
            trusted = self.context.access.trusted_proxies
            address, _ = sender.client or ("", 0)
            client = client_scheme(scheme, address, [found.forwarded.decode("latin-1")], trusted)
        route = self.routes.find((found.host, path, scheme, client))
        if route is None or not route.holds_for(found):
            return None
        limits = self.context.settings.connections
        size = int(found.length) if len(found.length) <= _MAX_DIGITS else limits.http_body_bytes + 1
        if size > limits.http_body_bytes:
            return None
        if route.static is not None:
            if size or method != b"GET":
                return None
        elif route.seconds(limits) < LEAST_SECONDS:
            return None
        return DirectRequest(self, sender, route, found, method, path, query, headers)


class DirectRequest:
    """A request, from its complete head on. It ends with a response, or by `abandon`."""

    __slots__ = (
        "_answers",
        "_chunks",
        "_facts",
        "_headers",
        "_held",
        "_method",
        "_path",
        "_pending",
        "_query",
        "_route",
        "_sender",
        "disconnected",
        "keep_alive",
        "more_body",
        "response_complete",
    )  # fmt: skip

    response_started: Final = False
    message_event: Final = _NOBODY_WAITS

    def __init__(
        self,
        answers: DirectAnswers,
        sender: Respondent,
        route: DirectRoute,
        found: RequestFacts,
        method: bytes,
        path: bytes,
        query: bytes,
        headers: list[tuple[bytes, bytes]],
    ) -> None:
        self._answers = answers
        self._sender = sender
        self._route = route
        self._facts = found
        self._method = method
        self._path = path
        self._query = query
        self._headers = headers
        self._chunks: list[bytes] = []
        self._held = 0
        self._pending: PendingResponse | None = None
        self.keep_alive = True
        self.more_body = True
        self.disconnected = False
        self.response_complete = False

    def take(self, data: bytes) -> None:
        """A part of the body. What comes after its end is of an upgrade, which has no cycle."""
        if self.response_complete or not self.more_body:
            return
        if self._answers.bodies.take(len(data)):
            self._held += len(data)
            self._chunks.append(data)
        else:
            self._refuse(close_codes.BODIES_FULL, close=True)

    def finish(self) -> None:
        """The request is complete: answer it, or ask the process."""
        complete, self.more_body = not self.more_body, False
        if not complete and not self.response_complete:
            self._guarded(self._answer)

    def late(self) -> None:
        """The body or the answer did not come in time."""
        if self.more_body:
            self._refuse(close_codes.REQUEST_LATE, close=True)
        else:
            self._refuse(close_codes.NO_ANSWER)

    def abandon(self) -> None:
        """The client is gone, or its request is not valid."""
        self.disconnected = self.response_complete = True
        self._free()

    def _answer(self) -> None:
        route, context = self._route, self._answers.context
        if route.static is not None:
            self._send(*route.static)
            return
        process, limits = route.process, context.settings.connections
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        mime = self._facts.mime
        self._pending = self._answers.exchanges.add(process.id, self._answered)
        incoming = self._incoming()
        accepted = not process.gone and process.post_http(
            self._pending.http_id, incoming, None if mime is None else mime.decode("latin-1"), body
        )
        if accepted:
            self._sender.expect_answer(route.seconds(limits))
        else:
            self._refuse(close_codes.MAILBOX_FULL, retry_after=1)

    def _incoming(self) -> IncomingHttpRequest:
        sender, route = self._sender, self._route
        url = origin_of(sender.scheme, self._facts.host.decode("latin-1")) + self._path.decode("ascii")
        query = self._query.decode("latin-1")
        address, port = sender.client or ("", 0)
        return IncomingHttpRequest(
            method=self._method.decode("ascii"),
            url=f"{url}?{query}" if query else url,
            bound_path=route.match.binding.pattern.text,
            headers=headers_for_guest(
                tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._headers])
            ),
            url_params=route.match.params,
            query_params=query_params(query) if query else (),
            source_socket_addr=shown_address(address, port),
        )

    def _answered(self, answer: HttpResponse | Refusal) -> None:
        if self._pending is not None and self._pending.handed_on:  # the router is still at it
            asyncio.get_running_loop().call_soon(self._end, answer)
        else:
            self._end(answer)

    def _end(self, answer: HttpResponse | Refusal) -> None:
        if self.response_complete:
            return
        if isinstance(answer, Refusal):
            self._refuse(answer, retry_after=1)
        else:
            self._guarded(lambda: self._respond(answer))

    def _respond(self, answer: HttpResponse) -> None:
        navigates = self._facts.may_navigate and is_navigation(Headers(raw=self._headers))
        response = self._route.response(answer, self._path.decode("ascii"), navigates=navigates)
        if isinstance(response, bytes):
            self._send(response, answer.body)
        else:
            self._send_as_it_is(response)

    def _refuse(self, refusal: Refusal, *, retry_after: int | None = None, close: bool = False) -> None:
        scope = {"type": "http", "method": self._method.decode("ascii"), "headers": self._headers}
        response = refused_page(Request(scope), refusal, retry_after=retry_after, close=close)
        self._send_as_it_is(response if close else self._route.with_policy(response))

    def _send_as_it_is(self, response: Response) -> None:
        refusal = refusal_in(response)
        if refusal is not None:
            self._answers.context.refusals.refused(refusal)
        if response.headers.get("connection") == "close":
            self.keep_alive = False
            del response.headers["connection"]
        head = self._route.end_head(response)
        self._send(head, bytes(response.body), has_length="content-length" in response.headers)

    def _send(self, head: bytes, body: bytes, *, has_length: bool = True) -> None:
        self.response_complete = True
        self._free()
        if has_length:
            head += b"content-length: %d\r\n" % len(body)
        self._sender.send_response(head if self.keep_alive else head + _CLOSE, body)

    def _free(self) -> None:
        if self._pending is not None:
            self._answers.exchanges.remove(self._pending)
            self._pending = None
        self._chunks = []
        held, self._held = self._held, 0
        if held:
            self._answers.bodies.release(held)

    def _guarded(self, step: Callable[[], None]) -> None:
        """No exception reaches the parser or the link."""
        try:
            step()
        except Exception:
            path = self._path.decode("ascii", "replace")
            self._answers.context.log.write(SOURCE, "error", f"{path!r}: {traceback.format_exc()}")
            if not self.response_complete:
                self._send_as_it_is(refused(close_codes.NODE_ERROR, close=True))
