"""Answers an HTTP request, by either API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from guesthouse.core.messages import MOST_HEADER_NAME, MOST_HEADER_VALUE, MOST_RESPONSE_HEADERS
from guesthouse.link.to_node import HttpResponse

if TYPE_CHECKING:
    from guesthouse.worker.guest import Guest

_NO_STATUS: Final = 0
"""What the node refuses."""


def answer_http(
    guest: Guest, http_id: int, status: int, headers: list[tuple[str, str]], mime: str | None, body: bytes
) -> None:
    """Send the answer to the node, which checks it and owns the connection. One over the limits on headers is refused
    as others that HTTP does not allow, which the log of the process says.
    """
    fault = _fault(headers, mime)
    if fault is None:
        guest.tell(HttpResponse(guest.handle, http_id, status, tuple(headers), mime, body))
    else:
        guest.log.line("host", "error", f"the client gets 500 instead of an HTTP response: {fault}")
        guest.tell(HttpResponse(guest.handle, http_id, _NO_STATUS, (), None, b""))


def _fault(headers: list[tuple[str, str]], mime: str | None) -> str | None:
    """Why the headers are too many or too long, or None."""
    if len(headers) > MOST_RESPONSE_HEADERS:
        return f"it has {len(headers)} headers, over {MOST_RESPONSE_HEADERS}"
    for name, value in headers:
        if len(name) > MOST_HEADER_NAME:
            return f"the name of a header has {len(name)} characters, over {MOST_HEADER_NAME}"
        if len(value) > MOST_HEADER_VALUE:
            return f"the header {name!a} has {len(value)} characters, over {MOST_HEADER_VALUE}"
    if mime is not None and len(mime) > MOST_HEADER_VALUE:
        return f"its MIME type has {len(mime)} characters, over {MOST_HEADER_VALUE}"
    return None
