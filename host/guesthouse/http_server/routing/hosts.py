"""The node's host names, and whether each stands for the node or for a package. Pure.

Requests with an unknown `Host` are refused: with DNS rebinding, an attacker's pages would otherwise be same-origin
with the node. IP addresses stand for the node.

Below a name of the node, the first label names a package (`subdomains`). Such a host serves only that package.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias, cast

from msgspec import Struct

from guesthouse.core.config import Settings
from guesthouse.http_server.certificate import certified_names

Origins: TypeAlias = Literal["auto", "package", "shared"]

ANY: Final = "*"
"""In `http.hosts`: any name stands for the node."""

_IN_LABELS: Final = "-"
"""Separates package and publisher in a label; every label has one."""
_LOCALHOST: Final = "localhost"
_HOST: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[0-9a-z_-][0-9a-z_.-]*)(?P<port>:[0-9]{0,5})?")


_MOST_KEPT: Final = 256
"""Hosts whose site is kept: those of one node are few."""
_MAX_KEPT_NAME: Final = 256


class Site(Struct, frozen=True):
    """What the `Host` of a request stands for."""

    host: str
    """As requested, in lower case, with the port."""
    label: str
    """A package's label; empty for the node itself."""
    parent: str
    """The node's own host, with the port."""
    apart: str | None
    """Parent of the hosts of packages' own origins. None if packages share the node's origin; empty if they have their
    own, which cannot be derived from this host."""
    may_share: bool = False
    """Whether a browser that cannot reach packages' own origins may share the node's."""

    def of_package(self, label: str) -> str | None:
        """Host of a package's own origin, or None."""
        return f"{label}.{self.apart}" if self.apart else None


NO_SITE: Final = Site("", "", "", "")
"""For a request without `Host`, which no browser sends."""


class Hosts:
    """The names of a node.

    Args:
        names: host names that stand for the node, besides `localhost`; `*` for any.
        origins: whether packages have their own origins below these names: `package` always, `shared` never, `auto`
            where it is certain to work, below `localhost` and `wildcards`.
        wildcards: names for which the node's certificate has a wildcard.
    """

    def __init__(self, names: Iterable[str], origins: Origins, wildcards: Iterable[str] = ()) -> None:
        given = {name.lower() for name in names}
        self._any = ANY in given
        self._names = frozenset(given - {ANY} | {_LOCALHOST})
        self._origins = origins
        self._wildcards = frozenset(name.lower() for name in wildcards) | {_LOCALHOST}
        self._sites: dict[str, Site] = {}

    def site(self, hosts: Sequence[str]) -> Site | None:
        """What the `Host` headers of a request stand for; None for a name that is not the node's."""
        if len(hosts) != 1:
            return None
        host = hosts[0]
        known = self._sites.get(host)
        if known is not None:
            return known
        site = self._site(host)
        if site is not None and len(host) <= _MAX_KEPT_NAME:
            if len(self._sites) >= _MOST_KEPT:
                self._sites.clear()
            self._sites[host] = site
        return site

    def _site(self, host: str) -> Site | None:
        match = _HOST.fullmatch(host.lower())
        if match is None:
            return None
        name, port = (
            match["name"],
            (match["port"] or "").removesuffix(":"),
        )  # the port may be empty (RFC 3986, section 3.2.3)
        host = name + port
        address = _address(name)
        if address is not None:
            return self._by_address(host, port, loopback=address.is_loopback)
        if name in self._names:
            return Site(host, "", host, host if self._has_origins(name) else None, self._may_share(name))
        label, _, parent = name.partition(".")
        if parent in self._names and _IN_LABELS in label:
            own = parent + port
            return Site(host, label, own, own if self._has_origins(parent) else None)
        return Site(host, "", host, self._no_parent) if self._any else None

    @property
    def _no_parent(self) -> str | None:
        """`Site.apart` of a host below which packages have no hosts."""
        return "" if self._origins == "package" else None

    def _by_address(self, host: str, port: str, *, loopback: bool) -> Site:
        """Site of an IP address. It has no subdomains, but for loopback `localhost` does."""
        if loopback and self._has_origins(_LOCALHOST):
            return Site(host, "", host, _LOCALHOST + port, self._may_share(_LOCALHOST))
        return Site(host, "", host, self._no_parent)

    def _may_share(self, name: str) -> bool:
        """Not every browser resolves names below `localhost`."""
        return self._origins == "auto" and name == _LOCALHOST

    def _has_origins(self, name: str) -> bool:
        return self._origins == "package" or (self._origins == "auto" and name in self._wildcards)


def own_hosts(settings: Settings) -> Hosts:
    """The node's names, from its settings and its certificate file."""
    http = settings.http
    certified = certified_names(http.tls_cert)
    names = {*http.hosts, *certified.names, *filter(None, (http.host,))}
    return Hosts(names, cast(Origins, http.origins), certified.wildcards)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return None
