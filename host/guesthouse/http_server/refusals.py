"""HTTP error responses of the node itself. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from guesthouse.http_server import html_pages
from guesthouse.http_server.close_codes import Refusal

PAGE_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of the node's own pages."""

HSTS: Final = ("Strict-Transport-Security", "max-age=31536000")
"""HTTP Strict Transport Security, for a year."""

_TEXT_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


_SCOPE_KEY: Final = "guesthouse.refusal"


class _Refused(Response):
    """A response that is a refusal, which whoever sends it can count."""

    refusal: Refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[_SCOPE_KEY] = self.refusal
        await super().__call__(scope, receive, send)


class _RefusedText(_Refused, PlainTextResponse): ...


class _RefusedPage(_Refused, HTMLResponse): ...


def refusal_of(scope: Scope) -> Refusal | int | None:
    """With what a request was refused: a refusal, or the status of a failed login."""
    refusal: Refusal | int | None = scope.get(_SCOPE_KEY)
    return refusal


def refusal_in(response: Response) -> Refusal | None:
    """The refusal that a response is; None for other responses."""
    return response.refusal if isinstance(response, _Refused) else None


def note_failed_login(request: Request, status: int) -> None:
    """A request is answered by a page that says why a login failed."""
    request.scope[_SCOPE_KEY] = status


def refused(refusal: Refusal, *, retry_after: int | None = None, close: bool = False) -> PlainTextResponse:
    """A refusal as plain text. `retry_after` is for one that does not say it itself."""
    headers = dict(_TEXT_HEADERS)
    retry_after = refusal.retry_after or retry_after
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    if close:
        headers["Connection"] = "close"
    response = _RefusedText(refusal.reason + "\n", refusal.status, headers)
    response.refusal = refusal
    return response


def refused_page(
    request: Request, refusal: Refusal, *, retry_after: int | None = None, close: bool = False
) -> Response:
    """A refusal: an HTML page if the browser accepts one, else plain text."""
    response: Response = refused(refusal, retry_after=retry_after, close=close)
    if wants_page(request):
        kept = {
            name: value for name, value in response.headers.items() if name in ("retry-after", "connection")
        }
        page = html_pages.refusal_page(refusal.status, refusal.reason)
        response = shown = _RefusedPage(page, refusal.status, {**PAGE_HEADERS, **kept})
        shown.refusal = refusal
    return response


def wants_page(request: Request) -> bool:
    """Whether the client accepts an HTML page."""
    return request.method in ("GET", "HEAD") and "text/html" in request.headers.get("accept", "")


def plain_response(refusal: Refusal, *, tls: bool, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """Encode a refusal as a complete HTTP response, after which the connection is closed."""
    body = refusal.reason.encode() + b"\n"
    lines = (
        f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}",
        "Connection: close",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "X-Content-Type-Options: nosniff",
        *([": ".join(HSTS)] if tls else []),
        *([f"Retry-After: {refusal.retry_after or 1}"] if refusal.status in (429, 503) else []),
        *map(": ".join, headers),
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
