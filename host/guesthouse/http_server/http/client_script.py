"""Serves `/guesthouse.js`, the JavaScript client, to the pages of every host of the node."""

from __future__ import annotations

import asyncio
import hashlib
from functools import cache
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from guesthouse.http_server.http.static_files import content_answer, media_type

CLIENT_SCRIPT: Final = "/guesthouse.js"
CLIENT_FILE: Final = "clients/javascript/guesthouse.js"
_PACKAGE: Final = Path(__file__).resolve().parents[2]
PLACES: Final = (_PACKAGE, _PACKAGE.parent.parent)
"""Where it is: within an installed Guesthouse, or at the root of a checkout."""


async def client_script(request: Request) -> Response:
    """Respond with the script. It needs no login: it is the same everywhere."""
    body, etag = await asyncio.to_thread(_content)
    response = content_answer(body, etag, media_type(CLIENT_FILE), request)
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return response


@cache
def _content() -> tuple[bytes, str]:
    """The script and its ETag; read at the first request."""
    found = next((place / CLIENT_FILE for place in PLACES if (place / CLIENT_FILE).is_file()), None)
    if found is None:
        raise FileNotFoundError(f"this Guesthouse was installed without {CLIENT_FILE}: install it again")
    body = found.read_bytes()
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
