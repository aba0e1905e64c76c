"""Which host names the node answers for, and what each stands for: the node itself, or one package. Pure.

A `Host` that the node does not know is refused: a stranger's name that was made to lead here (DNS rebinding) would
make the stranger's pages pages of this node. An IP address is nobody's name, and stands for the node.

Below a name of the node, the first label names a package (`subdomains`). That host serves the package or nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

from guesthouse.core.config import Settings
from guesthouse.http_server.certificate import certified_names

Origins: TypeAlias = Literal["auto", "package", "shared"]

ANY: Final = "*"
"""In `http.hosts`: every name stands for the node."""

_IN_LABELS: Final = "-"
"""Stands between package and publisher: no label is without."""
_LOCALHOST: Final = "localhost"
_HOST: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[0-9a-z_-][0-9a-z_.-]*)(?P<port>:[0-9]{0,5})?")


@dataclass(frozen=True, slots=True)
class Site:
    """What the `Host` of a request stands for."""

    host: str
    """As asked, in lower case, with the port."""
    label: str
    """The label of a package; empty for the node itself."""
    parent: str
    """The host of the node itself, with the port."""
    apart: str | None
    """What follows a package's label in the host of its own origin; None where packages share the node's origin,
    empty where they have origins of their own that cannot be reached from here."""
    may_share: bool = False
    """Whether a browser that cannot reach packages' own origins may have them share the node's."""

    def of_package(self, label: str) -> str | None:
        """The host of a package's own origin; None where it has none."""
        return f"{label}.{self.apart}" if self.apart else None


NO_SITE: Final = Site("", "", "", "")
"""Of a request without `Host`, which no browser sends: what it gets is no page."""


class Hosts:
    """The names of a node.

    Args:
        names: host names that stand for the node, besides `localhost`. `*` lets every name.
        origins: `package` gives every package an origin of its own on each of these names, `shared` on none, and
            `auto` where that is sure to work: below `localhost`, and below names in `wildcards`.
        wildcards: names below which every label is covered by the node's certificate.
    """

    def __init__(self, names: Iterable[str], origins: Origins, wildcards: Iterable[str] = ()) -> None:
        given = {name.lower() for name in names}
        self._any = ANY in given
        self._names = frozenset(given - {ANY} | {_LOCALHOST})
        self._origins = origins
        self._wildcards = frozenset(name.lower() for name in wildcards) | {_LOCALHOST}

    def site(self, hosts: Sequence[str]) -> Site | None:
        """What the `Host` headers of a request stand for; None for what is no name of this node."""
        if len(hosts) != 1:
            return None
        match = _HOST.fullmatch(hosts[0].lower())
        if match is None:
            return None
        name, port = (
            match["name"],
            (match["port"] or "").removesuffix(":"),
        )  # which may be empty (RFC 3986, 3.2.3)
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
        return Site(host, "", host, self._nowhere) if self._any else None

    @property
    def _nowhere(self) -> str | None:
        """For a host below which no package is."""
        return "" if self._origins == "package" else None

    def _by_address(self, host: str, port: str, *, loopback: bool) -> Site:
        """Nothing is below an address; this machine has a name besides."""
        if loopback and self._has_origins(_LOCALHOST):
            return Site(host, "", host, _LOCALHOST + port, self._may_share(_LOCALHOST))
        return Site(host, "", host, self._nowhere)

    def _may_share(self, name: str) -> bool:
        """Not every browser finds names below `localhost`; what is in DNS they all find."""
        return self._origins == "auto" and name == _LOCALHOST

    def _has_origins(self, name: str) -> bool:
        return self._origins == "package" or (self._origins == "auto" and name in self._wildcards)


def own_hosts(settings: Settings) -> Hosts:
    """The names of a node by its settings and its certificate, whose file is read."""
    http = settings.http
    certified = certified_names(http.tls_cert)
    names = {*http.hosts, *certified.names, *filter(None, (http.host,))}
    return Hosts(names, cast(Origins, http.origins), certified.wildcards)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return None
