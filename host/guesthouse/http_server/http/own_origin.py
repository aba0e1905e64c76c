"""Redirects browsers from the node's host to a package's own origin.

Chromium and Firefox resolve `*.localhost` to loopback themselves. Other browsers get a page whose script tries the
name; if that fails, the user can choose to let packages share the node's origin.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from guesthouse.core.address import ProcessId
from guesthouse.http_server import close_codes, html_pages
from guesthouse.http_server.auth.access import SHARED_REALM
from guesthouse.http_server.auth.tokens import Claims, Scope
from guesthouse.http_server.context import Context
from guesthouse.http_server.http.login.login import Login, local_path
from guesthouse.http_server.http.page_policy import PagePolicy
from guesthouse.http_server.http.requests import RequestHeaders, peer_of, raw_path
from guesthouse.http_server.refusals import PAGE_HEADERS, refused
from guesthouse.http_server.routing.origin import origin_of
from guesthouse.http_server.routing.subdomains import subdomain_of

SHARE_PATH: Final = "/shared-origin"
SHARED_SECONDS: Final = 365 * 24 * 3600
_RESOLVE_LOCALHOST: Final = ("Chrome/", "Firefox/")
"""User agents that resolve `*.localhost`."""


class OwnOrigin(Struct, frozen=True):
    """Redirects to packages' own origins."""

    context: Context
    login: Login

    def leave(
        self, request: Request, process: ProcessId, claims: Claims | None, policy: PagePolicy
    ) -> Response:
        """Response to a request for a process's page on the node's own host."""
        label = subdomain_of(process)
        host = policy.site.of_package(label) if self.context.bindings.has_label(process) else None
        if host is None:
            return refused(close_codes.WRONG_SUBDOMAIN)
        place = origin_of(policy.scheme, host)
        target = target_of(request)
        url = place + target if claims is None else self.login.ticket_url(place, label, claims, target)
        agent = request.headers.get("user-agent", "")
        if not policy.site.may_share or any(name in agent for name in _RESOLVE_LOCALHOST):
            return RedirectResponse(url, 303, PAGE_HEADERS)
        share = f"{SHARE_PATH}?redirect={quote(target, safe='/:')}"
        page = html_pages.own_origin_page(host, url, f"{place}/login?probe", share)
        allowed = f"script-src {html_pages.OWN_ORIGIN_SCRIPT}; connect-src {place}"
        csp = f"{PAGE_HEADERS['Content-Security-Policy']}; {allowed}"
        return HTMLResponse(page, headers={**PAGE_HEADERS, "Content-Security-Policy": csp})

    async def share(self, request: Request) -> Response:
        """`POST /shared-origin`: set the cookie by which packages share the node's origin in this browser."""
        headers, access = RequestHeaders(request), self.context.access
        site = access.site(headers)
        if site is None or not site.may_share or not access.from_own_page(headers, peer_of(request)):
            return refused(close_codes.WRONG_ORIGIN)
        text = "a browser that cannot resolve names below localhost lets packages share the node's origin"
        self.context.log_client_fault(peer_of(request).address, text)
        target = local_path(request.query_params.get("redirect"))
        response = RedirectResponse(target, 303, PAGE_HEADERS)
        token = self.context.tokens.issue(SHARED_SECONDS, self.context.now(), Scope(SHARED_REALM))
        self.login.cookies.set_login(request, response, SHARED_REALM, token, SHARED_SECONDS)
        return response


def target_of(request: Request) -> str:
    """Path and query of a request, as sent."""
    query = request.scope["query_string"].decode("latin-1")
    return raw_path(request) + (f"?{query}" if query else "")
