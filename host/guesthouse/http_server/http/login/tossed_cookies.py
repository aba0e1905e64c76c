"""Removes cookies that other pages set for the node's hosts ("cookie tossing"). Pure.

A page can set cookies for its parent domains and for any path of a shared host. They are no valid logins, but too many
of them exceed the limit on headers and lock a browser out. The node's own cookies have no domain, and are set at `/`
and, for readable ones, at the paths of a process.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

MOST_REMOVALS: Final = 256
"""Maximum removals in one response; the next one continues."""

_MOST_PATHS: Final = 64
CLEAR_ALL: Final = ("Clear-Site-Data", '"cookies"')
"""Removes all cookies of a host and its domain, in secure contexts. With it, Chromium ignores `Set-Cookie`."""

_NAME: Final = re.compile(rb"[^\x00-\x20;:=\x7f-\xff]{1,256}")
_LONGEST_HEAD: Final = 64 * 1024


def removals(names: Iterable[str], host: str, path: str, kept: Iterable[str] = ()) -> Iterator[str]:
    """`Set-Cookie` values that remove cookies from all domains and paths that match a request.

    Args:
        names: of the cookies.
        host: of the request, with or without a port.
        path: of the request.
        kept: paths at which cookies without a domain are kept.
    """
    places = [
        (domain, each) for each in islice(_paths(path), _MOST_PATHS) for domain in ("", *_domains(host))
    ]
    spared = frozenset(kept)
    for name in names:
        for domain, each in places:
            if not domain and each in spared:
                continue
            yield f"{name}=x; Max-Age=0; Path={each}" + (f"; Domain={domain}" if domain else "")


def names_in(head: bytes) -> tuple[str, ...]:
    """Possible cookie names in a part of a request's head."""
    found: dict[str, None] = {}
    for pair in head[:_LONGEST_HEAD].split(b";", MOST_REMOVALS - 1):
        before, equals, _ = pair.partition(b"=")
        name = before.rpartition(b":")[2].strip(b" ")
        if equals and _NAME.fullmatch(name):
            found[name.decode("ascii")] = None
    return tuple(found)


def _domains(host: str) -> Iterator[str]:
    """Domains for which cookies may have been set: the host and its parents."""
    name = host.rpartition(":")[0] if re.search(r":[0-9]*$", host) and not host.endswith("]") else host
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        labels = list(filter(None, name.split(".")))
        for start in range(len(labels)):
            yield ".".join(labels[start:])


def _paths(path: str) -> Iterator[str]:
    """Cookie paths that match a request's path (RFC 6265, section 5.1.4)."""
    path, end = path.partition(";")[0], 0
    yield "/"
    while (end := path.find("/", end + 1)) > 0:
        yield path[:end]
        yield path[: end + 1]
    if not path.endswith("/"):
        yield path
