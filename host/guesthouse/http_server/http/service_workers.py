"""Service workers: whose a browser may have, and what ends one that it has already. Pure.

A service worker answers for the node, and its answers have no policy but their own: a page that comes of it loads from
and speaks to whom it likes. A browser says what it asks for (`Service-Worker: script`), and no script can make it say
otherwise, or leave it out. Its HTTP cache may have the script from another request: `Vary` keeps it from being used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from guesthouse.http_server import close_codes
from guesthouse.http_server.http.requests import raw_path
from guesthouse.http_server.refusals import refused
from guesthouse.http_server.routing.hosts import Site
from guesthouse.http_server.routing.paths import BadPath, split_process_path

HEADER: Final = "Service-Worker"

ENDING_SCRIPT: Final = """self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil((async () => {
  await self.registration.unregister();
  for (const client of await self.clients.matchAll({type: "window"})) client.navigate(client.url);
})()));
"""
"""A worker that takes the place of the one before, goes, and has its pages loaded again, from the node."""

_ENDING_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def refused_worker(request: Request, site: Site | None, packages: Sequence[str]) -> Response | None:
    """The answer to a request for the script of a service worker that there is not to be; None for any other.

    Args:
        request: of a browser.
        site: what its host stands for.
        packages: those that may have service workers, as `package:publisher`.
    """
    if HEADER not in request.headers:
        return None
    if site is not None and not site.label and site.apart is None:
        refusal = close_codes.NO_SERVICE_WORKER
    elif site is not None and site.label and _package(request) in packages:
        return None
    else:
        refusal = close_codes.SERVICE_WORKER_OFF
    if _is_an_update(request):
        return Response(ENDING_SCRIPT, headers=_ENDING_HEADERS, media_type="text/javascript")
    return refused(refusal)


def _package(request: Request) -> str | None:
    try:
        return split_process_path(raw_path(request)).process.package_id
    except BadPath:
        return None


def _is_an_update(request: Request) -> bool:
    """Whether the browser looks for a newer script of a worker that it has; else a page asks to register one. A page
    that hides its address is taken for the former, and gets a worker that does nothing.
    """
    referer = request.headers.get("referer")
    if referer is None:
        return True
    try:
        return urlsplit(referer).path == raw_path(request)
    except ValueError:
        return False
