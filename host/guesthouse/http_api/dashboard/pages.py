"""The files of the dashboard, as a browser gets them. They say nothing of the node, so they need no login."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

PREFIX: Final = "/dashboard/"
SOCKET_PATH: Final = f"{PREFIX}socket"
_FILES: Final = Path(__file__).parent / "page"
_INDEX: Final = "index.html"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept-Encoding",
    "X-Frame-Options": "DENY",
}
"""Of every file: nothing inline, nothing from elsewhere, in no frame, and no text that is taken for markup."""


def pages() -> Mapping[str, Callable[[Request], Response]]:
    """What answers for each path. Reads the files."""
    found: dict[str, Callable[[Request], Response]] = {}
    for path in sorted(_FILES.iterdir()):
        name = "" if path.name == _INDEX else path.name
        content = path.read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()[:24]}"'
        packed = gzip.compress(content, mtime=0)
        found[PREFIX + name] = partial(_file, content, packed, _TYPES[path.suffix], tag)
    found["/"] = found[PREFIX.rstrip("/")] = _redirect
    return found


def _file(content: bytes, packed: bytes, content_type: str, tag: str, request: Request) -> Response:
    headers = {**HEADERS, "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    headers["Content-Type"] = content_type
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(packed, headers={**headers, "Content-Encoding": "gzip"})
    return Response(content, headers=headers)


def _redirect(_: Request) -> Response:
    return RedirectResponse(PREFIX, 307, HEADERS)
