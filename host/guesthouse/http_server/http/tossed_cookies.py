"""Removing cookies that other pages set for the node's hosts. Pure.

A page can set cookies for the domains above its own host, and for every path of a host that it shares with others. It
cannot make a login of them, but more of them than a request may bring keep everybody out. The node has its own in two
places of a host, without a domain: at `/`, and at the paths of a process for what its pages can read.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

MOST_REMOVALS: Final = 256
"""Removals in one answer; what is left over goes with the next."""

_MOST_PATHS: Final = 64
CLEAR_ALL: Final = ("Clear-Site-Data", '"cookies"')
"""Removes all cookies of a host and of its domain, for browsers that came by TLS or to their own machine. Beside it
Chromium looks at no `Set-Cookie`.
"""

_NAME: Final = re.compile(rb"[^\x00-\x20;:=\x7f-\xff]{1,256}")
_LONGEST_HEAD: Final = 64 * 1024


def removals(names: Iterable[str], host: str, path: str, kept: Iterable[str] = ()) -> Iterator[str]:
    """`Set-Cookie` values that remove cookies of these names from wherever a browser may have them for a request.

    Args:
        names: of the cookies.
        host: that was asked, with or without a port.
        path: that was asked.
        kept: paths at which the host's own, without a domain, are kept.
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
    """Names that may be those of cookies in a piece of a request's head."""
    found: dict[str, None] = {}
    for pair in head[:_LONGEST_HEAD].split(b";", MOST_REMOVALS - 1):
        before, equals, _ = pair.partition(b"=")
        name = before.rpartition(b":")[2].strip(b" ")
        if equals and _NAME.fullmatch(name):
            found[name.decode("ascii")] = None
    return tuple(found)


def _domains(host: str) -> Iterator[str]:
    """The domains that pages of hosts below them may set cookies for."""
    name = host.rpartition(":")[0] if re.search(r":[0-9]*$", host) and not host.endswith("]") else host
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        labels = list(filter(None, name.split(".")))
        for start in range(len(labels)):
            yield ".".join(labels[start:])


def _paths(path: str) -> Iterator[str]:
    """The paths of cookies that go with a request for a path (RFC 6265, section 5.1.4)."""
    path, end = path.partition(";")[0], 0
    yield "/"
    while (end := path.find("/", end + 1)) > 0:
        yield path[:end]
        yield path[: end + 1]
    if not path.endswith("/"):
        yield path
