"""Serving content that no process is asked for: bound static content and the files of a `ui` folder."""

from __future__ import annotations

import mimetypes
import stat
from collections.abc import AsyncIterator, Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

import anyio
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from guesthouse.http_server.http.ranges import UNSATISFIABLE, wanted
from guesthouse.http_server.routing.bindings import HttpBinding
from guesthouse.http_server.routing.paths import Segments

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

_PIECE: Final = 64 * 1024
_UNKNOWN: Final = "application/octet-stream"
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
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


def file_answer(path: Path, request: Request) -> Response:
    """A file, the part of it that is asked for, or 304. Blocking I/O of one `stat`.

    Raises:
        OSError: the file is gone.
    """
    found = path.stat()
    whole = _WholeFile(path, media_type=media_type(path.name), headers=_HEADERS, stat_result=found)
    return _asked_for(request, whole, found.st_size, lambda part: StreamingResponse(_pieces(path, part), 206))


def static_answer(binding: HttpBinding, request: Request) -> Response:
    """Content that a process bound to a path, the part of it that is asked for, or 304."""
    static = binding.static
    assert static is not None  # noqa: S101 - for the type checker: callers have looked
    content = static.blob
    mime = content.mime or ""
    if not mime or not mime.isascii() or not mime.isprintable():
        mime = _UNKNOWN
    body = content.bytes
    whole = Response(body, headers={**_HEADERS, "ETag": static.etag, "Accept-Ranges": "bytes"})
    whole.raw_headers.append((b"content-type", mime.encode()))
    return _asked_for(request, whole, len(body), lambda part: Response(body[part.start : part.stop], 206))


class _WholeFile(FileResponse):
    """A file without ranges of Starlette's own, which reads them otherwise than `ranges`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [header for header in scope["headers"] if header[0] != b"range"]
        await super().__call__({**scope, "headers": headers}, receive, send)


async def _pieces(path: Path, part: range) -> AsyncIterator[bytes]:
    left = len(part)
    async with await anyio.open_file(path, "rb") as file:
        await file.seek(part.start)
        while left and (piece := await file.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece


def _asked_for(
    request: Request, whole: Response, size: int, part_of: Callable[[range], Response]
) -> Response:
    """What a request gets of some content: nothing anew when it has it (RFC 9110, section 13.2.2), a part, or all."""
    response = _unless_known(whole, request.headers)
    if response is not whole or request.method != "GET":
        return response
    asked = wanted(request.headers, whole.headers["etag"], size, whole.headers.get("last-modified"))
    if asked is None:
        return whole
    kept = {name: value for name, value in whole.headers.items() if name != "content-length"}
    if asked is UNSATISFIABLE:
        del kept["content-type"]
        return Response(status_code=416, headers={**kept, "Content-Range": f"bytes */{size}"})
    part = part_of(asked)
    for name, value in kept.items():
        part.headers[name] = value
    part.headers["content-range"] = f"bytes {asked.start}-{asked.stop - 1}/{size}"
    part.headers["content-length"] = str(len(asked))
    return part


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
    kept = ("etag", "cache-control", "last-modified")
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
