"""Login and logout: `/login`, `/logout` and `/token`."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response

from guesthouse.http_server import close_codes, html_pages
from guesthouse.http_server.auth import credentials
from guesthouse.http_server.auth.access import SHARED_REALM
from guesthouse.http_server.auth.one_time_tokens import OneTimeTokens
from guesthouse.http_server.auth.tickets import Tickets
from guesthouse.http_server.auth.tokens import (
    SESSION_SECONDS,
    AuthError,
    Claims,
    Scope,
)
from guesthouse.http_server.context import Context
from guesthouse.http_server.http.login.credential_check import WRONG_PASSWORD, CredentialCheck, Realm
from guesthouse.http_server.http.login.login_attempt import MAX_BODY, LoginAttempt, read_attempt
from guesthouse.http_server.http.login.session_cookies import SessionCookies
from guesthouse.http_server.http.requests import RequestHeaders, body_of, peer_of
from guesthouse.http_server.refusals import PAGE_HEADERS, note_failed_login, refused
from guesthouse.http_server.routing.origin import counted_as, forwarded_for
from guesthouse.http_server.routing.subdomains import processes_on
from guesthouse.http_server.state.pending_responses import BodyBudget

USED_LINK = "This login link was already used or is older than 10 minutes. Ask for a new one."
TOO_SOON = "Too many failed logins from your address. Your input was not checked: wait, then try again in {seconds} s."
BUSY = "Too many logins at once. Your input was not checked: try again in a second."
_NODE_ITSELF: Final[Realm] = (None,)


class _Package(Struct, frozen=True):
    """A package whose secure paths the login is for."""

    label: str
    place: str
    """Its own origin, `scheme://host`."""
    processes: tuple[str, ...]


class Login:
    """The login and logout endpoints.

    Args:
        revoke: revokes a family of tokens that ends then, or raises `CredentialsError`.
    """

    def __init__(
        self,
        context: Context,
        home: Path,
        bodies: BodyBudget,
        revoke: Callable[[str, int], Awaitable[None]],
    ) -> None:
        self.context = context
        self.home = home
        self.bodies = bodies
        self._revoke = revoke
        self.one_time = OneTimeTokens()
        self.tickets = Tickets()
        self.cookies = SessionCookies(context)
        self._check = CredentialCheck(context, home)

    async def show(self, request: Request) -> Response:
        """`GET /login`: the form; with a one-time token or a ticket, log in at once."""
        token, ticket = request.query_params.get("token"), request.query_params.get("ticket")
        self._realm(request)
        if "probe" in request.query_params:  # sent by `own_origin_page` to test whether the host is reachable
            return Response(status_code=204, headers={"Cross-Origin-Resource-Policy": "cross-origin"})
        if ticket is not None:
            return self._take_ticket(request, ticket)
        target = local_path(request.query_params.get("redirect"))
        now = self.context.now()
        if token is None:
            return self._to_node(request, target) or self._page(request)
        if request.method == "HEAD" or _is_prefetch(request):
            return HTMLResponse("", headers=PAGE_HEADERS)
        if not self.one_time.use(token, now):
            note_failed_login(request, 401)
            return self._page(request, USED_LINK, status=401)
        return self._logged_in(request, RedirectResponse(target, 303, PAGE_HEADERS), self._realm(request))

    async def submit(self, request: Request) -> Response:
        """`POST /login`: the form, or JSON as sent by Kinode's client."""
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
            realm = package.processes  # a token for the node does not grant secure paths
        wait = self._check.wait(address)
        if wait > 0 or self._check.is_busy:
            return self._too_soon(request, attempt, math.ceil(wait))
        problem = await self._check.problem_with(attempt, realm, address)
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
        """`GET /logout`: a confirmation, so that links on other pages do not log users out."""
        return HTMLResponse(html_pages.logout_page(self.context.router.node), headers=PAGE_HEADERS)

    async def logout(self, request: Request) -> Response:
        """`POST /logout`: revoke the login and remove its cookies."""
        if not self.context.access.from_own_page(RequestHeaders(request), peer_of(request)):
            return refused(close_codes.WRONG_ORIGIN)
        realm, cookies = self._realm(request), request.headers.getlist("cookie")
        given = (token for subdomain in realm for token in self.context.tokens.in_cookies(cookies, subdomain))
        stored = [await self._end_login(token) for token in tuple(given)]
        response: Response = RedirectResponse("/login", 303, PAGE_HEADERS)
        if not all(stored):
            response = refused(close_codes.LOGOUT_NOT_STORED)
        package = self.context.access.realm(RequestHeaders(request))
        if package is not None:  # scripts of the package can do this, so it does not end the node's login
            self.cookies.forget_login(request, response, package)
        for subdomain in realm:
            self.cookies.forget_login(request, response, subdomain)
        if self.context.tokens.marks(cookies, SHARED_REALM):
            self.cookies.forget_login(request, response, SHARED_REALM)
        return response

    async def _end_login(self, token: str) -> bool:
        """Revoke a token of a cookie. Whether that outlasts the node."""
        known = self.context.tokens.revocable(token)
        try:
            if known is not None:
                await self._revoke(*known)
        except credentials.CredentialsError:
            return False
        return True

    async def renew_token(self, request: Request) -> Response:
        """`POST /token`: renew a valid bearer token for its original lifetime."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        now = self.context.now()
        try:
            if scheme.lower() != "bearer" or self._realm(request) != _NODE_ITSELF:
                raise AuthError("send the token to the node's own host, as `Authorization: Bearer`")
            claims = self.context.tokens.verify(token.strip(), now)
        except AuthError as error:
            note_failed_login(request, 401)
            return PlainTextResponse(f"{error}\n", 401, {**PAGE_HEADERS, "WWW-Authenticate": "Bearer"})
        scope = Scope(None, claims.process, claims.channels, page=claims.page)
        renewed = self.context.tokens.issue(claims.lifetime, now, scope, made_from=claims)
        expiration = min(int(now + claims.lifetime), claims.ends)
        return JSONResponse(
            {"token": renewed, "expiration": expiration}, headers={"Cache-Control": "no-store"}
        )

    def renew(self, request: Request, response: Response, claims: Claims) -> None:
        """Renew a login's cookie, within its family, once half its lifetime has passed."""
        half_over = claims.expiration - self.context.now() < SESSION_SECONDS / 2
        is_over = claims.expiration >= claims.ends or not self.context.tokens.is_current(claims)
        if claims.session and half_over and not is_over:
            self._set_session(request, response, claims.subdomain, claims)

    def ticket_url(
        self, place: str, label: str, claims: Claims, target: str, secure: Sequence[str] = ()
    ) -> str:
        """URL that turns a login into a session on a package's own origin.

        Args:
            place: that origin, `scheme://host`.
            label: of the package.
            claims: of the login.
            target: path to redirect to.
            secure: processes whose secure paths the ticket grants access to.
        """
        ticket = self.tickets.issue(label, claims, self.context.now(), secure)
        return f"{place}/login?{urlencode({'ticket': ticket, 'redirect': target}, safe='/:')}"

    def forget_unused(self) -> None:
        """Invalidate all one-time links and tickets."""
        self.one_time.forget()
        self.tickets.forget()

    def _take_ticket(self, request: Request, ticket: str) -> Response:
        """Begin a session on a package's own origin. Continues by an HTML page, since browsers do not send
        `SameSite=Strict` cookies on a redirect that began on another origin.
        """
        label, now = self.context.access.realm(RequestHeaders(request)), self.context.now()
        target, tokens = local_path(request.query_params.get("redirect")), self.context.tokens
        used = None if label is None else self.tickets.use(ticket, label, now)
        if used is None or not tokens.is_current(used.claims):
            note_failed_login(request, 401)
            return HTMLResponse(
                html_pages.going_on_page(target, "This link is no longer valid"), 401, PAGE_HEADERS
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

    def _realm(self, request: Request) -> tuple[str | None, ...]:
        """Subdomains that a login on this host is for: that of the node, or the processes of the host's package."""
        processes = self.context.access.subdomain(RequestHeaders(request))
        return tuple(map(str, processes)) or _NODE_ITSELF

    def _client(self, request: Request) -> str:
        """Address for throttling; behind a trusted proxy, the client's own."""
        address = peer_of(request).address
        claimed = request.headers.getlist("x-forwarded-for")
        return counted_as(forwarded_for(address, claimed, self.context.access.trusted_proxies) or address)

    async def _read(self, request: Request) -> LoginAttempt | None:
        seconds = self.context.settings.connections.handshake_seconds
        async with body_of(request, MAX_BODY, self.bodies, seconds) as body:
            return read_attempt(request.headers.get("content-type", ""), body)

    def _too_soon(self, request: Request, attempt: LoginAttempt, seconds: int) -> Response:
        """Refuse for now. 0 s means that too many logins are in progress."""
        problem = close_codes.TOO_MANY_LOGINS.reason
        if attempt.from_form:
            problem = TOO_SOON.format(seconds=seconds) if seconds else BUSY
        return self._failed(request, attempt, problem, 429, seconds or 1)

    def _failed(
        self,
        request: Request,
        attempt: LoginAttempt,
        problem: str,
        status: int,
        retry_after: int | None = None,
    ) -> Response:
        note_failed_login(request, status)
        if attempt.from_form:
            response: Response = self._page(request, problem, status)
        else:
            response = PlainTextResponse(problem + "\n", status, PAGE_HEADERS)
        if retry_after is not None:
            response.headers["Retry-After"] = str(retry_after)
        return response

    def _to_node(self, request: Request, target: str) -> Response | None:
        """Redirect to the login on the node's host: on a package's host, its pages could read the password."""
        headers = RequestHeaders(request)
        site = self.context.access.site(headers)
        if site is None or not site.label or not site.of_package(site.label):
            return None
        place = self.context.access.origin(headers, peer_of(request), site.parent)
        query = urlencode({"package": site.label, "redirect": target}, safe="/:")
        return RedirectResponse(f"{place}/login?{query}", 303, PAGE_HEADERS)

    def _package(self, request: Request) -> _Package | None:
        """The package for whose secure paths a login on the node's host is."""
        headers, label = RequestHeaders(request), request.query_params.get("package", "")
        site = self.context.access.site(headers)
        host = None if site is None or site.label or not label else site.of_package(label)
        processes = tuple(map(str, processes_on(self.context.router, label))) if host else ()
        if not host or not processes:
            return None
        place = self.context.access.origin(headers, peer_of(request), host)
        return _Package(label, place, processes)

    def _logged_in_to(self, package: _Package, request: Request, realm: Realm, token: str) -> Response:
        """Redirect to the package with a ticket. A login with the password logs in to the node, too."""
        now, tokens = self.context.now(), self.context.tokens
        response = RedirectResponse("/", 303, PAGE_HEADERS)
        self.cookies.clear_tossed(request, response)
        if token:
            claims, _ = self._check.verified(token, realm)
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
        """Headers of the login page. `form-action` applies to redirects, so it must allow packages' origins."""
        headers = RequestHeaders(request)
        site = self.context.access.site(headers)
        if site is None or site.apart is None or site.label:
            return dict(PAGE_HEADERS)
        packages = self.context.access.origin(headers, peer_of(request), f"*.{site.apart}")
        policy = PAGE_HEADERS["Content-Security-Policy"].replace(
            "form-action 'self'", f"form-action 'self' {packages}"
        )
        return {**PAGE_HEADERS, "Content-Security-Policy": policy}

    def _logged_in(self, request: Request, response: Response, realm: Realm, token: str = "") -> Response:
        """Set the cookies: new sessions, or the given token with its remaining lifetime."""
        now = self.context.now()
        self.cookies.clear_tossed(request, response)
        if token:
            claims, _ = self._check.verified(token, realm)
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
        """Set a login's cookie: a new one, or one of the same family as `renewed`."""
        tokens, now, scope = self.context.tokens, self.context.now(), Scope(subdomain, session=True)
        left = SESSION_SECONDS if renewed is None else max(1, min(SESSION_SECONDS, int(renewed.ends - now)))
        session = tokens.issue(SESSION_SECONDS, now, scope, made_from=renewed)
        self.cookies.set_login(request, response, subdomain, session, left)


def local_path(redirect: str | None) -> str:
    r"""The path to redirect to after a login; `/` for anything but a path of this host.

    Browsers treat `//host` and `/\host` as other hosts, and some drop control characters.
    """
    if redirect is None or not redirect.startswith("/") or redirect[1:2] in ("/", "\\"):
        return "/"
    if "\\" in redirect or not redirect.isprintable():
        return "/"
    return redirect


def _is_prefetch(request: Request) -> bool:
    purposes = (request.headers.get(name, "") for name in ("sec-purpose", "purpose", "x-moz"))
    return any("prefetch" in purpose.lower() or "preview" in purpose.lower() for purpose in purposes)
