"""The cookies that the node sets.

A login's cookie is `HttpOnly`. A process's pages get a second, readable cookie of the same name on their own paths,
with a token for that process only, which Kinode's client libraries look for.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, islice
from typing import Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from guesthouse.core.address import ProcessId
from guesthouse.http_server.auth.tokens import (
    HOST_PREFIX,
    SESSION_SECONDS,
    AuthError,
    Claims,
    Scope,
    Tokens,
    cookie_pairs,
)
from guesthouse.http_server.context import Context
from guesthouse.http_server.http.login.tossed_cookies import MOST_REMOVALS, removals
from guesthouse.http_server.http.page_policy import PagePolicy
from guesthouse.http_server.http.requests import RequestHeaders, peer_of, raw_path

_READABLE: Final = "readable"
_MAX_VERIFIED: Final = 64
"""Maximum cookies of a request whose signature is verified."""


class SessionCookies(Struct, frozen=True):
    """Sets and removes the node's cookies."""

    context: Context

    @property
    def _tokens(self) -> Tokens:
        return self.context.tokens

    def set_login(
        self, request: Request, response: Response, realm: str | None, token: str, seconds: int
    ) -> None:
        """Set the cookies of a login: for the node, a process's secure paths, or a package's origin.

        Over TLS, browsers get `__Host-` names, which no other host can set; programs get the plain names.
        """
        readable = realm is None and self.context.settings.http.register_form and self._node_is_readable()
        tls = self._is_tls(request)
        prefix = HOST_PREFIX if tls and not readable and _is_browser(request) else ""
        for name in self._tokens.cookie_names(realm):
            self._set(response, prefix + name, token, seconds, tls=tls, http_only=not readable)

    def forget_login(self, request: Request, response: Response, realm: str | None) -> None:
        """Remove the cookies of a login, under all names."""
        tls = self._is_tls(request)
        for name in self._tokens.cookie_names(realm):
            self._set(response, name, "", 0, tls=tls, http_only=True)
            if tls:
                self._set(response, HOST_PREFIX + name, "", 0, tls=True, http_only=True)

    def clear_tossed(
        self, request: Request, response: Response, *, own_paths: Iterable[str] = ("/",)
    ) -> bool:
        """Remove cookies with the node's names that other pages may have set: repeated ones and those without a valid
        token. Call it before setting others.

        Args:
            request: the request with the cookies.
            response: its response.
            own_paths: paths of the node's own cookies, which are kept if one of the name is valid.

        Returns:
            Whether there were any.
        """
        given: dict[str, list[str]] = {}
        pairs = cookie_pairs(request.headers.getlist("cookie"))
        own = (pair for pair in pairs if pair[0].partition("@")[0] in self._tokens.cookie_names())
        for name, value in islice(own, _MAX_VERIFIED):
            given.setdefault(name, []).append(value)
        good = {name: sum(map(self._is_own, values)) for name, values in given.items()}
        tossed = [name for name, values in given.items() if not len(values) == good[name] == 1]
        path, host = raw_path(request), request.headers.get("host", "")
        due = chain.from_iterable(
            removals((name, ""), host, path, own_paths if good[name] else ()) for name in tossed
        )
        for removal in islice(due, MOST_REMOVALS):
            response.raw_headers.append((b"set-cookie", removal.encode("latin-1")))
        return bool(tossed)

    def _is_own(self, token: str) -> bool:
        """Whether this node issued a token, whatever its scope, and it has not expired."""
        known = self._tokens.revocable(token)
        return known is not None and known[1] > self.context.now()

    def set_for_page(
        self, request: Request, response: Response, process: ProcessId, claims: Claims, policy: PagePolicy
    ) -> None:
        """Set the readable cookie of a process's page, unless it has a sufficient one."""
        http = self.context.settings.http
        if not policy.is_page or not http.register_form or not self.context.access.opens(claims, process):
            return
        if not self._tokens.is_current(claims):  # all tokens were revoked meanwhile
            return
        whole = process.package_id in http.readable_packages or (
            self._node_is_readable() and bool(policy.site.label)
        )
        if policy.shared and not (whole or process.package_id in http.register_packages):
            return
        now = self.context.now()
        left = int(min(SESSION_SECONDS, claims.expiration - now))
        named = claims.process if whole else str(process.plain)
        tossed = self.clear_tossed(request, response, own_paths=("/", policy.path))
        if left < 1 or (self._has_page_cookie(request, named, now + left / 2) and not tossed):
            return
        scope = Scope(None, named, claims.channels, page=True)
        token = self._tokens.issue(left, now, scope, made_from=claims)
        for name in self._tokens.cookie_names():
            self._set(response, name, token, left, tls=self._is_tls(request), path=policy.path)

    def _has_page_cookie(self, request: Request, process: str | None, until: float) -> bool:
        """Whether the page has such a readable cookie, valid until `until` at least."""
        for token in self._tokens.in_cookies(request.headers.getlist("cookie")):
            try:
                claims = self._tokens.verify(token, self.context.now())
            except AuthError:
                continue
            if claims.process == process and claims.page and claims.expiration > until:
                return True
        return False

    def _node_is_readable(self) -> bool:
        return self.context.settings.http.register_cookie == _READABLE

    def _is_tls(self, request: Request) -> bool:
        return self.context.access.scheme(RequestHeaders(request), peer_of(request)) == "https"

    @staticmethod
    def _set(
        response: Response,
        name: str,
        value: str,
        seconds: int,
        *,
        tls: bool,
        http_only: bool = False,
        path: str = "/",
    ) -> None:
        parts: Iterable[str] = (
            f"{name}={value}",
            f"Max-Age={seconds}",
            f"Path={path}",
            *(("HttpOnly",) if http_only else ()),
            *(("Secure",) if tls else ()),
            "SameSite=strict",
        )
        response.raw_headers.append((b"set-cookie", "; ".join(parts).encode("latin-1")))


def _is_browser(request: Request) -> bool:
    return "sec-fetch-site" in request.headers or "origin" in request.headers
