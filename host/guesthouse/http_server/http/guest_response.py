"""Filters the requests that processes see and the responses that they send. Pure.

Processes neither see nor set the node's own cookies.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.responses import Response

from guesthouse.core.messages import HttpResponse, Pairs
from guesthouse.http_server import close_codes
from guesthouse.http_server.auth.local_access import SECRET_HEADER
from guesthouse.http_server.auth.tokens import without_own_cookies
from guesthouse.http_server.refusals import refused

MAX_ANSWER_HEADERS: Final = 128

_FORBIDDEN_HEADERS: Final = frozenset(
    (
        # Apply to the connection.
        "connection", "content-length", "date", "keep-alive", "proxy-authenticate", "te", "trailer",
        "transfer-encoding", "upgrade",
        # Apply to the whole origin, which may be shared with others.
        "alt-svc", "clear-site-data", "expect-ct", "public-key-pins", "strict-transport-security",
        # Make browsers send reports to other hosts.
        "content-security-policy-report-only", "nel", "report-to", "reporting-endpoints",
    )
)  # fmt: skip
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,8192}")


def headers_for_guest(headers: Pairs) -> Pairs:
    """The request's headers without the node's cookies and the local secret."""
    shown: list[tuple[str, str]] = []
    for name, value in headers:
        if name.lower() == "cookie":
            value = without_own_cookies(value)
            if not value:
                continue
        if name.lower() != SECRET_HEADER:
            shown.append((name, value))
    return tuple(shown)


def response_from_guest(answer: HttpResponse) -> Response:
    """The response that a process gave; 500 when it is not valid in HTTP."""
    if not 200 <= answer.status <= 599 or len(answer.headers) > MAX_ANSWER_HEADERS:
        return refused(close_codes.BAD_ANSWER)
    pairs = list(answer.headers)
    if answer.mime is not None and not any(name.lower() == "content-type" for name, _ in pairs):
        pairs.append(("content-type", answer.mime))
    if not all(_NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in pairs):
        return refused(close_codes.BAD_ANSWER)
    bodiless = answer.status in (204, 205, 304)
    response = Response(b"" if bodiless else answer.body, answer.status)
    for name, value in pairs:
        if name.lower() not in _FORBIDDEN_HEADERS:
            response.raw_headers.append((name.lower().encode(), value.encode("latin-1")))
    return response
