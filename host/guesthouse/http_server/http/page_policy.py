"""Browser security headers of processes' responses, and the Content-Security-Policy of their pages. Pure.

On a package's own origin pages are restricted to that origin. On a shared origin they are restricted to the paths of
their process. If packages have their own origins, responses on the node's host are for programs and sandboxed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from msgspec import Struct
from starlette.datastructures import MutableHeaders

from guesthouse.http_server.auth.tokens import is_own_cookie
from guesthouse.http_server.http.service_workers import HEADER
from guesthouse.http_server.routing.hosts import Site
from guesthouse.http_server.routing.origin import normal_origin, origin_of

NEVER_A_PAGE: Final = (
    "sandbox; default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

_SANDBOX: Final = (
    "sandbox allow-same-origin allow-scripts allow-forms allow-modals allow-downloads allow-pointer-lock"
)
"""Pages on a shared origin may not open windows: they could script those of other processes."""

_REPORTS: Final = re.compile(rb"(?i)(?:^|(?<=[;,]))[ \t]*report-(?:uri|to)\b[^;,]*")
_COOKIE_PARTS: Final = re.compile(r"[ \t]*;[ \t]*")


class PagePolicy(Struct, frozen=True):
    """Policy of one process for the host and scheme of one request.

    Args:
        site: what the request's host stands for.
        scheme: `http` or `https`.
        process: the process id that paths begin with.
        sources: additional origins that pages may load from and connect to.
        registers: whether the page may open WebSockets anywhere on the node's host, for the register form. Bound
            paths there refuse pages of other packages' origins.
    """

    site: Site
    scheme: str
    process: str
    sources: tuple[str, ...] = ()
    registers: bool = False

    @property
    def is_page(self) -> bool:
        """Whether responses may be pages."""
        return bool(self.site.label) or self.shared

    @property
    def shared(self) -> bool:
        """Whether packages share this origin."""
        return not self.site.label and self.site.apart is None

    @property
    def origin(self) -> str:
        """Origin of the request's host."""
        return origin_of(self.scheme, self.site.host)

    @property
    def path(self) -> str:
        """Parent of the process's paths."""
        return f"/{quote(self.process, safe=':~')}"

    def content_security_policy(self) -> str:
        """Content-Security-Policy of its pages and workers."""
        if not self.is_page:
            return NEVER_A_PAGE
        web, ws_scheme = self.origin, self.scheme.replace("http", "ws", 1)
        sockets = origin_of(ws_scheme, self.site.host)
        more = "".join(f" {source}" for source in self.sources)
        if not self.shared:
            own, scripts, connect = "'self'", "'self'", f"'self' {sockets}"
            if self.registers:
                connect += f" {origin_of(ws_scheme, self.site.parent)}"
        else:
            own = f"{web}{self.path}/ {web}{self.path}"
            scripts = f"{own} {web}/our.js {web}/guesthouse.js"
            connect = f"{own} {sockets}/" if self.registers else f"{own} {sockets}{self.path}/"
        inline = "data: blob: 'unsafe-inline' 'unsafe-eval'"
        parts = [
            f"default-src {own} {inline}{more}",
            f"script-src {scripts} {inline}{more}",
            f"connect-src {connect} data: blob:{more}",
            f"form-action {own}",
            f"base-uri {own}",
            "object-src 'none'",
            "frame-ancestors 'self'",
        ]
        return "; ".join([*parts, _SANDBOX] if self.shared else parts)

    def apply(self, headers: MutableHeaders, *, authenticated: bool) -> None:
        """Set the headers. Processes can restrict their pages further but not relax the policy."""
        headers["X-Content-Type-Options"] = "nosniff"
        headers.append("Vary", HEADER)
        _remove_reporting(headers)
        headers.append("Content-Security-Policy", self.content_security_policy())
        if authenticated or not self.is_page:
            headers["Cross-Origin-Resource-Policy"] = "same-origin"
        else:
            headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        if self.shared:
            headers["Cross-Origin-Opener-Policy"] = "same-origin"
        else:
            headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        headers.setdefault("Referrer-Policy", "same-origin")
        allowed = headers.get("Service-Worker-Allowed")
        if allowed is not None and not self._is_inside(allowed):
            del headers["Service-Worker-Allowed"]
        self._restrict_cookies(headers)

    def forbids(self, headers: Mapping[str, str], path: str, *, navigates: bool) -> bool:
        """Whether a response with these headers may not be sent: it takes a script's request off the process's paths.

        Args:
            headers: of the response.
            path: of the request.
            navigates: whether a browser navigates to a page, whose address anybody sees.
        """
        location = headers.get("location")
        return location is not None and not navigates and self.redirects_away(path, location)

    def redirects_away(self, path: str, location: str) -> bool:
        """Whether a redirect leaves the process's paths on a shared origin. CSP ignores paths after a redirect."""
        web = self.origin
        plain = location.strip().replace("\\", "/").replace("\t", "")
        try:
            target = urlsplit(urljoin(web + path, plain))
        except ValueError:
            return self.shared
        same = normal_origin(f"{target.scheme}://{target.netloc}") == normal_origin(web)
        return self.shared and same and not self._is_inside(target.path)

    def _is_inside(self, path: str) -> bool:
        segments = re.split(r"/|%2f|\\|%5c", path.partition("?")[0].lower())
        dots = {".", "..", "%2e", "%2e%2e", ".%2e", "%2e."}
        return (path + "/").startswith(self.path + "/") and not dots.intersection(segments)

    def _restrict_cookies(self, headers: MutableHeaders) -> None:
        """Restrict the process's cookies to this host and, on a shared origin, to its paths."""
        kept: list[tuple[bytes, bytes]] = []
        for name, value in headers.raw:
            if name.lower() != b"set-cookie":
                kept.append((name, value))
                continue
            text = value.decode("latin-1")
            if not is_own_cookie(text):
                kept.append((name, self._cookie(text).encode("latin-1")))
        headers.raw[:] = kept

    def _cookie(self, text: str) -> str:
        pair, *attributes = _COOKIE_PARTS.split(text)
        kept = [each for each in attributes if not each.lower().startswith("domain")]
        if not self.shared:
            return "; ".join([pair, *kept])
        paths = [each.partition("=")[2].strip() for each in kept if each.lower().startswith("path")]
        path = paths[-1] if paths and self._is_inside(paths[-1]) else self.path
        kept = [each for each in kept if not each.lower().startswith("path")]
        return "; ".join([pair, *kept, f"Path={path}"])


def _remove_reporting(headers: MutableHeaders) -> None:
    """Remove reporting from the process's own policy: reports could be sent to any host."""
    name = b"content-security-policy"
    headers.raw[:] = [
        (key, _REPORTS.sub(b"", value) if key.lower() == name else value) for key, value in headers.raw
    ]
