"""Controls which packages may have service workers, and unregisters others. Pure.

Responses of a service worker bypass the node's Content-Security-Policy. Browsers mark requests for a worker's script
(`Service-Worker: script`), and scripts cannot forge or remove that header. `Vary` keeps the HTTP cache from serving the
script from another request.
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
"""A worker that replaces an installed one, unregisters itself and reloads its pages from the node."""

_ENDING_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def refused_worker(request: Request, site: Site | None, packages: Sequence[str]) -> Response | None:
    """The response to a request for the script of a service worker that is not allowed; None for other requests.

    Args:
        request: the HTTP request.
        site: what its host stands for.
        packages: packages that may have service workers, as `package:publisher`.
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
    """Whether the browser checks for an update of an installed worker, as opposed to a page registering one. A page
    without a referrer cannot be told apart and gets the worker that unregisters itself.
    """
    referer = request.headers.get("referer")
    if referer is None:
        return True
    try:
        return urlsplit(referer).path == raw_path(request)
    except ValueError:
        return False
