"""Filters the requests that processes see and the responses that they send. Pure.

Processes neither see nor set the node's own cookies.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.responses import Response

from guesthouse.core.messages import (
    MOST_HEADER_NAME,
    MOST_HEADER_VALUE,
    MOST_RESPONSE_HEADERS,
    HttpResponse,
    Pairs,
)
from guesthouse.http_server import close_codes
from guesthouse.http_server.auth.local_access import SECRET_HEADER
from guesthouse.http_server.auth.tokens import without_own_cookies
from guesthouse.http_server.refusals import refused

_FORBIDDEN_HEADERS: Final = frozenset(
    (
        # Apply to the connection.
        "connection", "content-length", "date", "keep-alive", "proxy-authenticate", "te", "trailer",
        "transfer-encoding", "upgrade",
        # Apply to the whole origin, which may be shared with others, or to what browsers send to it later.
        "accept-ch", "accept-ch-lifetime", "alt-svc", "clear-site-data", "critical-ch", "expect-ct",
        "observe-browsing-topics", "origin-agent-cluster", "public-key-pins", "public-key-pins-report-only",
        "set-login", "shared-storage-write", "strict-transport-security", "use-as-dictionary",
        # Make browsers send reports to other hosts.
        "content-security-policy-report-only", "nel", "report-to", "reporting-endpoints",
    )
)  # fmt: skip
_FORBIDDEN_FAMILIES: Final = (
    # Orders to a reverse proxy before the node: to answer with another page or a file, or to empty its cache.
    "x-accel-", "x-sendfile", "x-lighttpd-", "x-litespeed-", "x-reproxy-",
    # Bind a browser's session to a key, by cookies that others of the origin have set.
    "sec-session-", "secure-session-",
    # Make browsers send reports about visits to other sites.
    "attribution-reporting-",
)  # fmt: skip
"""What headers begin with that processes cannot set, whatever follows."""
_NAME: Final = re.compile(rf"[!#$%&'*+.^_`|~0-9A-Za-z-]{{1,{MOST_HEADER_NAME}}}")
_VALUE: Final = re.compile(rf"[\t\x20-\x7e\x80-\xff]{{0,{MOST_HEADER_VALUE}}}")


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
    if not 200 <= answer.status <= 599 or len(answer.headers) > MOST_RESPONSE_HEADERS:
        return refused(close_codes.BAD_ANSWER)
    pairs = list(answer.headers)
    if answer.mime is not None and not any(name.lower() == "content-type" for name, _ in pairs):
        pairs.append(("content-type", answer.mime))
    if not all(_NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in pairs):
        return refused(close_codes.BAD_ANSWER)
    bodiless = answer.status in (204, 205, 304)
    response = Response(b"" if bodiless else answer.body, answer.status)
    for name, value in pairs:
        lower = name.lower()
        if lower not in _FORBIDDEN_HEADERS and not lower.startswith(_FORBIDDEN_FAMILIES):
            response.raw_headers.append((lower.encode(), value.encode("latin-1")))
    return response
