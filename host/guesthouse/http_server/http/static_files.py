"""Serves static content: bound content and the files of `ui` folders."""

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

from guesthouse.core.files.regular_file import read_regular
from guesthouse.http_server.http.ranges import UNSATISFIABLE, requested_range
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
"""Types that the system's table may lack or get wrong."""

_CHUNK: Final = 64 * 1024
_UNKNOWN: Final = "application/octet-stream"
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def media_type(name: str) -> str:
    """Media type of a file, by its extension."""
    return _TYPES.get(Path(name).suffix.lower()) or mimetypes.guess_type(name)[0] or _UNKNOWN


def find_file(folder: Path, segments: Segments, *, directory: bool) -> Path | None:
    """The file for a path in a `ui` folder; `index.html` for a directory.

    Never a file outside the folder, even by symbolic links. Blocking I/O.

    Args:
        folder: the `ui` folder.
        segments: of the path.
        directory: whether the path ended in a slash.
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
    """Respond with a file, the requested range of it, or 304. Blocking I/O of one `stat`.

    Raises:
        OSError: the file is gone.
    """
    found = path.stat()
    whole = _WholeFile(path, media_type=media_type(path.name), headers=_HEADERS, stat_result=found)
    return _conditional(
        request, whole, found.st_size, lambda part: StreamingResponse(_chunks(path, part), 206)
    )


def file_content(path: Path, request: Request, most: int) -> Response | None:
    """`file_answer` with the content in memory, for another node; None if the file has more than `most` bytes. Blocking
    I/O.

    Raises:
        OSError: the file is gone.
    """
    found = path.stat()
    if found.st_size > most:
        return None
    body = read_regular(path)
    described = FileResponse(path, media_type=media_type(path.name), headers=_HEADERS, stat_result=found)
    whole = Response(body)
    whole.raw_headers[:] = [each for each in described.raw_headers if each[0] != b"content-length"]
    whole.headers["content-length"] = str(len(body))
    return _conditional(request, whole, len(body), lambda part: Response(body[part.start : part.stop], 206))


def static_answer(binding: HttpBinding, request: Request) -> Response:
    """Respond with bound static content, the requested range of it, or 304."""
    static = binding.static
    assert static is not None  # noqa: S101 - for the type checker: checked by the caller
    mime = static.blob.mime or ""
    if not mime or not mime.isascii() or not mime.isprintable():
        mime = _UNKNOWN
    return content_answer(static.blob.bytes, static.etag, mime, request)


def content_answer(body: bytes, etag: str, mime: str, request: Request) -> Response:
    """Respond with content, the requested range of it, or 304."""
    whole = Response(body, headers={**_HEADERS, "ETag": etag, "Accept-Ranges": "bytes"})
    whole.raw_headers.append((b"content-type", mime.encode()))
    return _conditional(request, whole, len(body), lambda part: Response(body[part.start : part.stop], 206))


class _WholeFile(FileResponse):
    """A file response that ignores `Range`, which is handled here."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [header for header in scope["headers"] if header[0] != b"range"]
        await super().__call__({**scope, "headers": headers}, receive, send)


async def _chunks(path: Path, part: range) -> AsyncIterator[bytes]:
    left = len(part)
    async with await anyio.open_file(path, "rb") as file:
        await file.seek(part.start)
        while left and (chunk := await file.read(min(left, _CHUNK))):
            left -= len(chunk)
            yield chunk


def _conditional(
    request: Request, whole: Response, size: int, part_of: Callable[[range], Response]
) -> Response:
    """Evaluate the request's preconditions and range (RFC 9110, section 13.2.2): 304, 206, 416 or `whole`."""
    response = _unless_known(whole, request.headers)
    if response is not whole or request.method != "GET":
        return response
    requested = requested_range(
        request.headers, whole.headers["etag"], size, whole.headers.get("last-modified")
    )
    if requested is None:
        return whole
    kept = {name: value for name, value in whole.headers.items() if name != "content-length"}
    if requested is UNSATISFIABLE:
        del kept["content-type"]
        return Response(status_code=416, headers={**kept, "Content-Range": f"bytes */{size}"})
    part = part_of(requested)
    for name, value in kept.items():
        part.headers[name] = value
    part.headers["content-range"] = f"bytes {requested.start}-{requested.stop - 1}/{size}"
    part.headers["content-length"] = str(len(requested))
    return part


def _unless_known(response: Response, headers: Headers) -> Response:
    """304 if the client's copy is current, else the response."""
    etag, if_none_match = response.headers["etag"], headers.get("if-none-match")
    if if_none_match is not None:
        tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
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
