"""Serving content that no process is asked for: bound static content and the files of a `ui` folder."""

from __future__ import annotations

import mimetypes
import stat
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from guesthouse.http_server.bindings import HttpBinding
from guesthouse.http_server.paths import Segments
from guesthouse.http_server.ranges import UNSATISFIABLE, wanted

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".htm": "text/html; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}
"""Types that a machine's own table may lack or have wrong."""

_UNKNOWN: Final = "application/octet-stream"
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'self'",
    "Cache-Control": "no-cache",
}


def media_type(name: str) -> str:
    """The type of a file, by its name."""
    return _TYPES.get(Path(name).suffix.lower()) or mimetypes.guess_type(name)[0] or _UNKNOWN


def find_file(folder: Path, segments: Segments, *, directory: bool) -> Path | None:
    """The file that a path under a `ui` folder names; `index.html` stands for its folder,
    which a path that ends in a slash (`directory`) always names.

    Never one outside the folder, whatever links the folder contains. Blocking I/O.
    """
    try:
        root = folder.resolve(strict=True)
        found = root.joinpath(*segments).resolve(strict=True)
        if directory or found.is_dir():
            found = (found / "index.html").resolve(strict=True)
        inside = found.is_relative_to(root) and stat.S_ISREG(found.stat().st_mode)
    except (OSError, ValueError, RuntimeError):
        return None
    return found if inside else None


def file_answer(path: Path, headers: Headers) -> Response:
    """A file, or 304 when the client has it already. Blocking I/O of one `stat`.

    Raises:
        OSError: the file is gone.
    """
    response = FileResponse(path, media_type=media_type(path.name), headers=_HEADERS, stat_result=path.stat())
    return _unless_known(response, headers)


def static_answer(binding: HttpBinding, request: Request) -> Response:
    """Content that a process bound to a path, the part of it that is asked for, or 304."""
    content = binding.static
    assert content is not None  # noqa: S101 - for the type checker: callers have looked
    mime = content.mime or ""
    if not mime or not mime.isascii() or not mime.isprintable():
        mime = _UNKNOWN
    headers = {**_HEADERS, "ETag": binding.etag, "Accept-Ranges": "bytes"}
    body, status = content.bytes, 200
    asked = wanted(request.headers, binding.etag, len(body)) if request.method == "GET" else None
    if asked is UNSATISFIABLE:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{len(body)}"})
    if isinstance(asked, range):
        headers["Content-Range"] = f"bytes {asked.start}-{asked.stop - 1}/{len(body)}"
        body, status = body[asked.start : asked.stop], 206
    response = Response(body, status, headers)
    response.raw_headers.append((b"content-type", mime.encode()))
    return _unless_known(response, request.headers)


def _unless_known(response: Response, headers: Headers) -> Response:
    """304 when the client has it already (RFC 9110, section 13.2.2)."""
    etag, given = response.headers["etag"], headers.get("if-none-match")
    if given is not None:
        tags = {tag.strip().removeprefix("W/") for tag in given.split(",")}
        known = etag in tags or "*" in tags
    else:
        known = _not_newer(response.headers.get("last-modified"), headers.get("if-modified-since"))
    if not known:
        return response
    kept = ("etag", "cache-control", "last-modified", "content-security-policy")
    return Response(
        status_code=304, headers={name: response.headers[name] for name in kept if name in response.headers}
    )


def _not_newer(modified: str | None, since: str | None) -> bool:
    if modified is None or since is None:
        return False
    try:
        return parsedate_to_datetime(modified) <= parsedate_to_datetime(since)
    except (ValueError, TypeError):
        return False
