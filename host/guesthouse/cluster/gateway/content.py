"""Content of this node's processes for clients of other nodes: what is bound, and files of their packages.

The gateway has checked who may have it, and adds what is for browsers. Conditions and ranges are evaluated here, so
that no more than the client asked for crosses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from guesthouse.cluster.gateway.gateway_messages import RelayedRequest
from guesthouse.core.messages import HttpResponse
from guesthouse.http_server import close_codes
from guesthouse.http_server.close_codes import Refusal
from guesthouse.http_server.http.static_files import file_content, find_file, static_answer
from guesthouse.http_server.routing.bindings import HttpBinding
from guesthouse.http_server.routing.paths import ProcessPath

MOST_CONTENT: Final = 16 * 1024 * 1024
"""Bytes of a file that can be had by way of another node."""
_SAFE: Final = ("GET", "HEAD")


def bound_content(binding: HttpBinding, message: RelayedRequest) -> HttpResponse | Refusal:
    """What a path is bound to. Hashes it, the first time."""
    if message.method not in _SAFE:
        return HttpResponse(
            close_codes.METHOD_NOT_ALLOWED.status,
            (("allow", ", ".join(_SAFE)),),
            f"{close_codes.METHOD_NOT_ALLOWED.reason}\n".encode(),
            "text/plain; charset=utf-8",
        )
    return _as_answer(static_answer(binding, _request(message)))


def file_of(
    folder: Path, requested: ProcessPath, bound_at: int, message: RelayedRequest
) -> HttpResponse | Refusal:
    """A file of a folder `ui`, as the node serves it to its own clients. Blocking I/O.

    Args:
        folder: the folder.
        requested: the path.
        bound_at: number of segments of the path at which the folder is bound.
        message: what was asked.
    """
    inside = requested.segments[bound_at:]
    found = find_file(folder, inside, directory=requested.directory)
    if found is None and message.page:
        found = find_file(folder, (), directory=True)  # a client-side route
    elif found and found.name == "index.html" and not requested.directory and inside[-1:] != (found.name,):
        return _as_answer(RedirectResponse(f"/{requested.process}{message.path}/", 307))
    try:
        response = None if found is None else file_content(found, _request(message), MOST_CONTENT)
    except OSError:
        return close_codes.NOT_FOUND
    if response is None:
        return close_codes.NOT_FOUND if found is None else close_codes.TOO_BIG_A_FILE
    return _as_answer(response)


def _request(message: RelayedRequest) -> Request:
    headers = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in message.headers]
    return Request({"type": "http", "method": message.method, "headers": headers})


def _as_answer(response: Response) -> HttpResponse:
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers)
    return HttpResponse(response.status_code, headers, bytes(response.body))
