"""Heads of requests as the parser gives them: whether they say one thing only, and their targets. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from guesthouse.http_server.routing.origin import is_host
from guesthouse.http_server.routing.paths import WHOLE_SERVER

Headers = list[tuple[bytes, bytes]]
"""Names, in lower case, and values."""

_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?#]*)([/?][^#]*|)")
_WHOLE_SERVER: Final = WHOLE_SERVER.encode()


def values_of(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[str]:
    """Values of all headers of that name."""
    return [value.decode("latin-1") for name, value in headers if name == wanted]


def is_unambiguous(method: bytes, url: bytes, version: str, headers: Headers) -> bool:
    """Whether the version is 1.0 or 1.1, there is one valid `Host` (RFC 9112, section 3.2), a body is coded in no
    way but chunked, and the target is a path, or `*` with OPTIONS.
    """
    hosts = values_of(headers, b"host")
    one_host = len(hosts) == 1 or (not hosts and version == "1.0")
    chunked = all(coding.lower() == "chunked" for coding in values_of(headers, b"transfer-encoding"))
    target = url.startswith(b"/") or (url == _WHOLE_SERVER and method == b"OPTIONS")
    return version in ("1.0", "1.1") and one_host and all(map(is_host, hosts)) and chunked and target


def in_origin_form(method: bytes, url: bytes, headers: Headers) -> bytes:
    """Convert an absolute-form target to origin form. Its host replaces that of `Host` (RFC 9112, section 3.2.2).
    OPTIONS without a path becomes `*` (section 3.2.4).
    """
    found = _ABSOLUTE.fullmatch(url)
    if found is None:
        return url
    host, rest = found.groups()
    headers[:] = [(name, host if name == b"host" else value) for name, value in headers]
    if not rest and method == b"OPTIONS":
        return _WHOLE_SERVER
    return bytes(rest) if rest.startswith(b"/") else b"/" + rest
