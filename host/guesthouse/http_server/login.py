"""Logging in and out: `/login` and `/logout`."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from guesthouse.http_server import closes, credentials, pages
from guesthouse.http_server.answers import PAGE_HEADERS, refused
from guesthouse.http_server.auth import SESSION_SECONDS, AuthError, Claims, OneTimeTokens, Throttle
from guesthouse.http_server.context import Context
from guesthouse.http_server.exchanges import BodyBudget
from guesthouse.http_server.origin import client_scheme, forwarded_for
from guesthouse.http_server.requests import RequestHeaders, body_of, peer_of

_MAX_BODY = 16 * 1024
_MAX_WAITING = 8

WRONG_PASSWORD = "That password is not right."  # noqa: S105 - a message
USED_LINK = "This login link was used already or is older than 10 minutes. Ask for a new one."
NO_PASSWORD = "This node has no password. Use a login link or a token."  # noqa: S105 - a message
NOTHING_GIVEN = "Type the password or a token."


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What a client offers: the hash of the password, or a token."""

    password_hash: str = ""
    token: str = ""
    from_form: bool = False


@dataclass(slots=True)
class Login:
    """The two pages and what they need."""

    context: Context
    home: Path
    bodies: BodyBudget
    one_time: OneTimeTokens = field(default_factory=OneTimeTokens)
    throttle: Throttle = field(default_factory=Throttle)
    _hashing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    _waiting: int = 0

    async def show(self, request: Request) -> Response:
        """`GET /login`: the form; with a one-time token, log in right away."""
        token = request.query_params.get("token")
        target = local_path(request.query_params.get("redirect"))
        now = self.context.now()
        if token is None:
            return self._page(request)
        if request.method == "HEAD" or _is_prefetch(request):
            return HTMLResponse("", headers=PAGE_HEADERS)
        if not self.one_time.use(token, now):
            return self._page(request, USED_LINK, status=401)
        return self._logged_in(request, RedirectResponse(target, 303, PAGE_HEADERS))

    async def submit(self, request: Request) -> Response:
        """`POST /login`: JSON of Kinode's client, or the form."""
        address, now = self._client(request), self.context.monotonic()
        if not self.context.gate.from_own_page(RequestHeaders(request), peer_of(request)):
            return refused(closes.WRONG_ORIGIN)
        attempt = await self._read(request)
        if attempt is None:
            return refused(closes.BAD_REQUEST)
        wait = self.throttle.wait(address, now)
        if wait > 0 or self._waiting >= _MAX_WAITING:
            return self._failed(request, attempt, closes.TOO_MANY_LOGINS.reason, 429, math.ceil(wait) or 1)
        problem = await self._check(attempt)
        if problem:
            self.throttle.failed(address, self.context.monotonic())
            self.context.complaints.complain(address, "failed login", now)
            return self._failed(request, attempt, problem, 401)
        self.throttle.succeeded(address)
        redirect = request.query_params.get("redirect")
        response: Response = PlainTextResponse("logged in\n", headers=PAGE_HEADERS)
        if attempt.from_form or redirect is not None:
            response = RedirectResponse(local_path(redirect), 303, PAGE_HEADERS)
        return self._logged_in(request, response, attempt.token)

    async def ask_logout(self, request: Request) -> Response:
        """`GET /logout`: a button, so that no foreign page logs anyone out."""
        return HTMLResponse(pages.logout_page(self.context.router.node), headers=PAGE_HEADERS)

    async def logout(self, request: Request) -> Response:
        """`POST /logout`: forget the cookie."""
        if not self.context.gate.from_own_page(RequestHeaders(request), peer_of(request)):
            return refused(closes.WRONG_ORIGIN)
        response = RedirectResponse("/login", 303, PAGE_HEADERS)
        self._set_cookie(request, response, "", 0)
        return response

    def renew(self, request: Request, response: Response, claims: Claims) -> None:
        """Give a client that logged in a fresh cookie when half the time of its own is over."""
        if claims.session and claims.expiration - self.context.now() < SESSION_SECONDS / 2:
            self._logged_in(request, response)

    def _client(self, request: Request) -> str:
        """The address that attempts are counted for: behind a trusted proxy, the client's own."""
        address = peer_of(request).address
        claimed = request.headers.getlist("x-forwarded-for")
        return forwarded_for(address, claimed, self.context.gate.trusted_proxies) or address

    async def _read(self, request: Request) -> _Attempt | None:
        limits = self.context.settings.connections
        async with body_of(request, _MAX_BODY, self.bodies, limits.handshake_seconds) as body:
            if (
                request.headers.get("content-type", "").partition(";")[0].strip()
                == "application/x-www-form-urlencoded"
            ):
                return _from_form(body)
            return _from_json(body)

    async def _check(self, attempt: _Attempt) -> str:
        """What is wrong with an attempt; empty when it is right."""
        if attempt.token:
            try:
                self.context.tokens.verify(attempt.token, self.context.now())
            except AuthError as error:
                return f"That token does not work: {error}."
            return ""
        if not attempt.password_hash:
            return NOTHING_GIVEN
        if not credentials.has_password(self.home):
            return NO_PASSWORD
        self._waiting += 1
        try:
            async with self._hashing:
                right = await asyncio.to_thread(credentials.check_password, self.home, attempt.password_hash)
        finally:
            self._waiting -= 1
        return "" if right else WRONG_PASSWORD

    def _failed(
        self, request: Request, attempt: _Attempt, problem: str, status: int, retry_after: int | None = None
    ) -> Response:
        if attempt.from_form:
            response: Response = self._page(request, problem, status)
        else:
            response = PlainTextResponse(problem + "\n", status, PAGE_HEADERS)
        if retry_after is not None:
            response.headers["Retry-After"] = str(retry_after)
        return response

    def _page(self, request: Request, problem: str = "", status: int = 200) -> Response:
        target = local_path(request.query_params.get("redirect"))
        action = "/login" if target == "/" else f"/login?redirect={quote(target, safe='/')}"
        has_password = credentials.has_password(self.home)
        page = pages.login_page(
            self.context.router.node, action=action, problem=problem, password=has_password
        )
        return HTMLResponse(page, status, PAGE_HEADERS)

    def _logged_in(self, request: Request, response: Response, token: str = "") -> Response:
        """Set the cookie: a new session, or the very token that was given, which then lasts no longer."""
        if token:
            expiration = self.context.tokens.verify(token, self.context.now()).expiration
            self._set_cookie(request, response, token, max(1, int(expiration - self.context.now())))
            return response
        token = self.context.tokens.issue(SESSION_SECONDS, self.context.now(), session=True)
        self._set_cookie(request, response, token, SESSION_SECONDS)
        return response

    def _set_cookie(self, request: Request, response: Response, value: str, max_age: int) -> None:
        http, peer = self.context.settings.http, peer_of(request)
        scheme = client_scheme(
            peer.scheme,
            peer.address,
            request.headers.getlist("x-forwarded-proto"),
            self.context.gate.trusted_proxies,
        )
        response.set_cookie(
            self.context.tokens.cookie_name,
            value,
            max_age=max_age,
            secure=scheme == "https",
            httponly=not http.register_form,
            samesite="strict",
        )


def local_path(redirect: str | None) -> str:
    r"""Where to go after logging in: a path of this node, `/` for anything else.

    `//host` and `/\host` are other hosts to a browser, and control characters are dropped by some.
    """
    if redirect is None or not redirect.startswith("/") or redirect[1:2] in ("/", "\\"):
        return "/"
    if "\\" in redirect or not redirect.isprintable():
        return "/"
    return redirect


def _is_prefetch(request: Request) -> bool:
    purposes = (request.headers.get(name, "") for name in ("sec-purpose", "purpose", "x-moz"))
    return any("prefetch" in purpose.lower() or "preview" in purpose.lower() for purpose in purposes)


def _from_form(body: bytes) -> _Attempt | None:
    try:
        fields = parse_qs(body.decode(), max_num_fields=16)
    except ValueError:
        return None
    password, token = fields.get("password", [""])[0], fields.get("token", [""])[0].strip()
    try:
        return _Attempt(credentials.password_hash(password) if password else "", token, from_form=True)
    except UnicodeEncodeError:
        return None


def _from_json(body: bytes) -> _Attempt | None:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    given, token, subdomain = (
        fields.get("password_hash", ""),
        fields.get("token", ""),
        fields.get("subdomain"),
    )
    if not isinstance(given, str) or not isinstance(token, str) or not isinstance(subdomain, str | None):
        return None
    return _Attempt(given, token)
