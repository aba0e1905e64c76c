"""Logging in and out: `/login` and `/logout`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import parse_qs, quote, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response

from guesthouse.core.json_text import read_json
from guesthouse.http_server import close_codes, html_pages
from guesthouse.http_server.auth import credentials
from guesthouse.http_server.auth.access import SHARED_REALM
from guesthouse.http_server.auth.revocations import RevocationList
from guesthouse.http_server.auth.tickets import Tickets
from guesthouse.http_server.auth.tokens import (
    SESSION_SECONDS,
    AuthError,
    Claims,
    OneTimeTokens,
    Scope,
    Throttle,
)
from guesthouse.http_server.http.requests import RequestHeaders, body_of, peer_of
from guesthouse.http_server.http.session_cookies import SessionCookies
from guesthouse.http_server.refusals import PAGE_HEADERS, refused
from guesthouse.http_server.routing.origin import counted_as, forwarded_for
from guesthouse.http_server.routing.subdomains import processes_on
from guesthouse.http_server.state.context import Context
from guesthouse.http_server.state.pending_responses import BodyBudget

_MAX_BODY = 16 * 1024
_MAX_WAITING = 8

WRONG_PASSWORD = "That password is not right."  # noqa: S105 - a message
USED_LINK = "This login link was used already or is older than 10 minutes. Ask for a new one."
NO_PASSWORD = "This node has no password. Use a login link or a token."  # noqa: S105 - a message
TOO_SOON = (
    "Too many failed logins from here. What was typed was not looked at: wait, then try again in {seconds} s."
)
BUSY = "Many others are logging in. What was typed was not looked at: try again in a second."
PAGE_TOKEN = "That token was made for a page. Log in with another."  # noqa: S105 - a message
NOTHING_GIVEN = "Type the password or a token."


_Realm: TypeAlias = tuple[str | None, ...]
_NODE_ITSELF: Final[_Realm] = (None,)


@dataclass(frozen=True, slots=True)
class _Package:
    """A package whose secure paths a login is for."""

    label: str
    place: str
    """Scheme and host of its own origin."""
    processes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What a client offers: the hash of the password, or a token."""

    password_hash: str = ""
    token: str = ""
    subdomain: str | None = None
    from_form: bool = False


@dataclass(slots=True)
class Login:
    """The two pages and what they need."""

    context: Context
    home: Path
    bodies: BodyBudget
    revoked: RevocationList
    on_revoked: Callable[[str], None]
    """Told the family of a token that was revoked by logging out."""
    one_time: OneTimeTokens = field(default_factory=OneTimeTokens)
    tickets: Tickets = field(default_factory=Tickets)
    cookies: SessionCookies = field(init=False)
    throttle: Throttle = field(default_factory=Throttle)
    _hashing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    _waiting: int = 0

    def __post_init__(self) -> None:
        self.cookies = SessionCookies(self.context)

    async def show(self, request: Request) -> Response:
        """`GET /login`: the form; with a one-time token or a ticket, log in right away."""
        token, ticket = request.query_params.get("token"), request.query_params.get("ticket")
        self._realm(request)
        if "probe" in request.query_params:  # a page of the node finds out whether a browser finds this host
            return Response(status_code=204, headers={"Cross-Origin-Resource-Policy": "cross-origin"})
        if ticket is not None:
            return self._take_ticket(request, ticket)
        target = local_path(request.query_params.get("redirect"))
        now = self.context.now()
        if token is None:
            return self._at_the_node(request, target) or self._page(request)
        if request.method == "HEAD" or _is_prefetch(request):
            return HTMLResponse("", headers=PAGE_HEADERS)
        if not self.one_time.use(token, now):
            return self._page(request, USED_LINK, status=401)
        return self._logged_in(request, RedirectResponse(target, 303, PAGE_HEADERS), self._realm(request))

    async def submit(self, request: Request) -> Response:
        """`POST /login`: JSON of Kinode's client, or the form."""
        address, now = self._client(request), self.context.monotonic()
        if not self.context.access.from_own_page(RequestHeaders(request), peer_of(request)):
            return refused(close_codes.WRONG_ORIGIN)
        attempt, realm = await self._read(request), self._realm(request)
        if attempt is None:
            return refused(close_codes.BAD_REQUEST)
        if attempt.subdomain:
            if attempt.subdomain not in realm:
                return refused(close_codes.WRONG_SUBDOMAIN)
            realm = (attempt.subdomain,)
        package = self._package(request)
        if package is not None and attempt.token:
            realm = package.processes  # a token of the node opens no secure path
        wait = self.throttle.wait(address, now)
        if wait > 0 or self._waiting >= _MAX_WAITING:
            return self._too_soon(request, attempt, math.ceil(wait))
        problem = await self._checked(attempt, realm, address)
        if problem:
            self.context.client_faults.log(address, "failed login", now)
            return self._failed(request, attempt, problem, 401)
        if package is not None:
            return self._logged_in_to(package, request, realm, attempt.token)
        redirect = request.query_params.get("redirect")
        response: Response = PlainTextResponse("logged in\n", headers=PAGE_HEADERS)
        if attempt.from_form or redirect is not None:
            response = RedirectResponse(local_path(redirect), 303, PAGE_HEADERS)
        return self._logged_in(request, response, realm, attempt.token)

    async def ask_logout(self, request: Request) -> Response:
        """`GET /logout`: a button, so that no foreign page logs anyone out."""
        return HTMLResponse(html_pages.logout_page(self.context.router.node), headers=PAGE_HEADERS)

    async def logout(self, request: Request) -> Response:
        """`POST /logout`: forget the cookie."""
        if not self.context.access.from_own_page(RequestHeaders(request), peer_of(request)):
            return refused(close_codes.WRONG_ORIGIN)
        response = RedirectResponse("/login", 303, PAGE_HEADERS)
        package = self.context.access.realm(RequestHeaders(request))
        if package is not None:  # any script there can ask for this: it ends no login of the node
            self.cookies.forget_login(request, response, package)
        for subdomain in self._realm(request):
            for token in self.context.tokens.in_cookies(request.headers.getlist("cookie"), subdomain):
                await self._revoke(token)
            self.cookies.forget_login(request, response, subdomain)
        if self.context.tokens.marks(request.headers.getlist("cookie"), SHARED_REALM):
            self.cookies.forget_login(request, response, SHARED_REALM)
        return response

    async def renew_token(self, request: Request) -> Response:
        """`POST /token`: a bearer of a token that is still valid gets one that lasts as long anew."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        now = self.context.now()
        try:
            if scheme.lower() != "bearer" or self._realm(request) != _NODE_ITSELF:
                raise AuthError("give the token in Authorization, as Bearer, to the node itself")
            claims = self.context.tokens.verify(token.strip(), now)
        except AuthError as error:
            return PlainTextResponse(f"{error}\n", 401, {**PAGE_HEADERS, "WWW-Authenticate": "Bearer"})
        scope = Scope(None, claims.process, claims.channels, page=claims.page)
        renewed = self.context.tokens.issue(claims.lifetime, now, scope, made_from=claims)
        expiration = min(int(now + claims.lifetime), claims.ends)
        return JSONResponse(
            {"token": renewed, "expiration": expiration}, headers={"Cache-Control": "no-store"}
        )

    def renew(self, request: Request, response: Response, claims: Claims) -> None:
        """Give a client that logged in a fresh cookie, of the same family, when half the time of its own is over."""
        half_over = claims.expiration - self.context.now() < SESSION_SECONDS / 2
        is_over = claims.expiration >= claims.ends or not self.context.tokens.is_current(claims)
        if claims.session and half_over and not is_over:
            self._set_session(request, response, claims.subdomain, claims)

    def ticket_url(
        self, place: str, label: str, claims: Claims, target: str, secure: Sequence[str] = ()
    ) -> str:
        """Where whoever is logged in to the node gets a session on a package's own origin.

        Args:
            place: scheme and host of that origin.
            label: of the package.
            claims: of the login.
            target: path to go on to.
            secure: the processes for whose secure paths somebody has just logged in.
        """
        ticket = self.tickets.issue(label, claims, self.context.now(), secure)
        return f"{place}/login?{urlencode({'ticket': ticket, 'redirect': target}, safe='/:')}"

    def forget_unused(self) -> None:
        """No one-time link and no ticket that was given out can be used any more."""
        self.one_time.forget()
        self.tickets.forget()

    def _take_ticket(self, request: Request, ticket: str) -> Response:
        """Begin a session on a package's own origin, and go on by a page of that origin: a browser sends no
        `SameSite=Strict` cookie on a redirect that began elsewhere. Whoever returns to a ticket goes on without it.
        """
        label, now = self.context.access.realm(RequestHeaders(request)), self.context.now()
        target, tokens = local_path(request.query_params.get("redirect")), self.context.tokens
        used = None if label is None else self.tickets.use(ticket, label, now)
        if used is None or not tokens.is_current(used.claims):
            return HTMLResponse(
                html_pages.going_on_page(target, "Not logged in by this link"), 401, PAGE_HEADERS
            )
        response = HTMLResponse(html_pages.going_on_page(target, "Logged in"), headers=PAGE_HEADERS)
        claims = used.claims
        left = max(1, int(min(SESSION_SECONDS, claims.expiration - now)))
        self.cookies.clear_tossed(request, response)
        for realm in (label, *used.secure):
            scope = Scope(realm, claims.process, claims.channels)
            token = tokens.issue(left, now, scope, made_from=claims)
            self.cookies.set_login(request, response, realm, token, left)
        return response

    async def _revoke(self, token: str) -> None:
        known, now = self.context.tokens.revocable(token), self.context.now()
        if known is not None and known[0] not in self.revoked and known[1] > now:
            await asyncio.to_thread(self.revoked.add, *known, now)
            self.on_revoked(known[0])

    def _realm(self, request: Request) -> tuple[str | None, ...]:
        """What a login on this host is for: the node, or the processes whose sub-domain the host is."""
        processes = self.context.access.subdomain(RequestHeaders(request))
        return tuple(map(str, processes)) or _NODE_ITSELF

    def _client(self, request: Request) -> str:
        """The address that attempts are counted for: behind a trusted proxy, the client's own."""
        address = peer_of(request).address
        claimed = request.headers.getlist("x-forwarded-for")
        return counted_as(forwarded_for(address, claimed, self.context.access.trusted_proxies) or address)

    async def _read(self, request: Request) -> _Attempt | None:
        limits = self.context.settings.connections
        async with body_of(request, _MAX_BODY, self.bodies, limits.handshake_seconds) as body:
            if (
                request.headers.get("content-type", "").partition(";")[0].strip()
                == "application/x-www-form-urlencoded"
            ):
                return _from_form(body)
            return _from_json(body)

    async def _checked(self, attempt: _Attempt, realm: _Realm, address: str) -> str:
        """What is wrong with an attempt; empty when it is right.

        One with the password counts as failed from its beginning, so that those made at once are counted too. The
        password alone clears what an address has failed: any bearer of a token could, and guess on.
        """
        if attempt.token:
            _, problem = self._verified(attempt.token, realm)
            if problem:
                self.throttle.failed(address, self.context.monotonic())
            return problem
        self.throttle.failed(address, self.context.monotonic())
        if not attempt.password_hash:
            return NOTHING_GIVEN
        if not credentials.has_password(self.home):
            return NO_PASSWORD
        if not await self._is_password(attempt.password_hash):
            return WRONG_PASSWORD
        self.throttle.succeeded(address)
        return ""

    async def _is_password(self, password_hash: str) -> bool:
        key = self.context.tokens.login_key()
        self._waiting += 1
        try:
            async with self._hashing:
                right = await asyncio.to_thread(credentials.check_password, self.home, password_hash)
        finally:
            self._waiting -= 1
        return right and key == self.context.tokens.login_key()  # or it was changed meanwhile

    def _verified(self, token: str, realm: _Realm) -> tuple[Claims | None, str]:
        """The claims of a token that is valid in the realm, or what is wrong with it."""
        problem = ""
        for subdomain in realm:
            try:
                claims = self.context.tokens.verify(token, self.context.now(), subdomain)
            except AuthError as error:
                problem = f"That token does not work: {error}."
            else:
                return (None, PAGE_TOKEN) if claims.page else (claims, "")
        return None, problem

    def _too_soon(self, request: Request, attempt: _Attempt, seconds: int) -> Response:
        """The address has to wait; with 0 s, for others who are logging in."""
        problem = close_codes.TOO_MANY_LOGINS.reason
        if attempt.from_form:
            problem = TOO_SOON.format(seconds=seconds) if seconds else BUSY
        return self._failed(request, attempt, problem, 429, seconds or 1)

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

    def _at_the_node(self, request: Request, target: str) -> Response | None:
        """Where passwords are typed: on the host of a package its own pages could read them. None if this is there."""
        headers = RequestHeaders(request)
        site = self.context.access.site(headers)
        if site is None or not site.label or not site.of_package(site.label):
            return None
        place = self.context.access.origin(headers, peer_of(request), site.parent)
        query = urlencode({"package": site.label, "redirect": target}, safe="/:")
        return RedirectResponse(f"{place}/login?{query}", 303, PAGE_HEADERS)

    def _package(self, request: Request) -> _Package | None:
        """The package that a login on the node's host is for, so that its secure paths open."""
        headers, label = RequestHeaders(request), request.query_params.get("package", "")
        site = self.context.access.site(headers)
        host = None if site is None or site.label or not label else site.of_package(label)
        processes = tuple(map(str, processes_on(self.context.router, label))) if host else ()
        if not host or not processes:
            return None
        place = self.context.access.origin(headers, peer_of(request), host)
        return _Package(label, place, processes)

    def _logged_in_to(self, package: _Package, request: Request, realm: _Realm, token: str) -> Response:
        """Log in to the node, unless by a token for secure paths alone, and go on to the package with a ticket."""
        now, tokens = self.context.now(), self.context.tokens
        response = RedirectResponse("/", 303, PAGE_HEADERS)
        self.cookies.clear_tossed(request, response)
        if token:
            claims, _ = self._verified(token, realm)
        else:
            session = tokens.issue(SESSION_SECONDS, now, Scope(None, session=True))
            self.cookies.set_login(request, response, None, session, SESSION_SECONDS)
            claims = tokens.verify(session, now)
        if claims is not None:
            secure = package.processes if claims.subdomain is None else (claims.subdomain,)
            target = local_path(request.query_params.get("redirect"))
            response.headers["location"] = self.ticket_url(
                package.place, package.label, claims, target, secure
            )
        return response

    def _page(self, request: Request, problem: str = "", status: int = 200) -> Response:
        target = local_path(request.query_params.get("redirect"))
        query = {} if target == "/" else {"redirect": target}
        if self._package(request) is not None:
            query["package"] = request.query_params["package"]
        action = f"/login?{urlencode(query, safe='/', quote_via=quote)}" if query else "/login"
        has_password = credentials.has_password(self.home)
        page = html_pages.login_page(
            self.context.router.node,
            action=action,
            problem=problem,
            password=has_password,
            wrong=problem == WRONG_PASSWORD,
        )
        response = HTMLResponse(page, status, self._form_headers(request))
        self.cookies.clear_tossed(request, response)
        return response

    def _form_headers(self, request: Request) -> dict[str, str]:
        """Of the login page: its form may lead on to the origins of packages, which browsers ask of redirects too."""
        headers = RequestHeaders(request)
        site = self.context.access.site(headers)
        if site is None or site.apart is None or site.label:
            return dict(PAGE_HEADERS)
        packages = self.context.access.origin(headers, peer_of(request), f"*.{site.apart}")
        policy = PAGE_HEADERS["Content-Security-Policy"].replace(
            "form-action 'self'", f"form-action 'self' {packages}"
        )
        return {**PAGE_HEADERS, "Content-Security-Policy": policy}

    def _logged_in(self, request: Request, response: Response, realm: _Realm, token: str = "") -> Response:
        """Set the cookies: new sessions, or the very token that was given, which then lasts no longer."""
        now = self.context.now()
        self.cookies.clear_tossed(request, response)
        if token:
            claims, _ = self._verified(token, realm)
            if claims is not None:
                left = max(1, int(claims.expiration - now))
                self.cookies.set_login(request, response, claims.subdomain, token, left)
            return response
        for subdomain in realm:
            self._set_session(request, response, subdomain)
        return response

    def _set_session(
        self, request: Request, response: Response, subdomain: str | None, renewed: Claims | None = None
    ) -> None:
        """Set the cookie of a login: a new one, or of the same family as the one that it renews."""
        tokens, now, scope = self.context.tokens, self.context.now(), Scope(subdomain, session=True)
        left = SESSION_SECONDS if renewed is None else max(1, min(SESSION_SECONDS, int(renewed.ends - now)))
        session = tokens.issue(SESSION_SECONDS, now, scope, made_from=renewed)
        self.cookies.set_login(request, response, subdomain, session, left)


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
        fields = read_json(body, _MAX_BODY)
    except ValueError:
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
    return _Attempt(given, token, subdomain)
