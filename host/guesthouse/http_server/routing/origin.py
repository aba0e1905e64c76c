"""Where a request comes from: origin, address, and proxies. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Container, Sequence
from typing import Final
from urllib.parse import urlsplit

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
PROXY_HEADERS: Final = (
    *("forwarded", "via", "x-real-ip", "client-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip"),
    *("x-forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port"),
    *("x-forwarded-server", "x-forwarded-by", "x-forwarded-prefix", "x-forwarded-scheme", "x-forwarded-ssl"),
    *("x-original-forwarded-for", "x-original-host", "x-envoy-external-address", "forwarded-for"),
    *("cf-connecting-ip", "fastly-client-ip", "fly-client-ip", "x-appengine-user-ip", "x-azure-clientip"),
)
"""Headers that proxies add: a request with any of these comes from another machine."""

_MAX_FORWARDED: Final = 256
_LOOPBACK: Final = "127.0.0.1"
_HOST: Final = re.compile(
    r"(?:\[([0-9A-Fa-f:.]{2,45})\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2}){1,255})(?::([0-9]*))?"
)
_PORT_DIGITS: Final = 5
_MAX_PORT: Final = 65535


def is_own_origin(
    origins: Sequence[str], *, scheme: str, hosts: Sequence[str], allowed: Container[str]
) -> bool:
    """Whether a request with these `Origin` headers may use the node's cookies.

    Browsers always send one `Origin` with WebSocket upgrades and POST requests, so a request without it is not from a
    browser. The node's own origin is `scheme` and `Host`.

    Args:
        origins: values of all `Origin` headers.
        scheme: `http` or `https`, as seen by the client.
        hosts: values of all `Host` headers.
        allowed: further allowed origins, as `scheme://host[:port]`.
    """
    if not origins:
        return True
    if len(origins) != 1 or len(hosts) != 1:
        return False
    theirs = _origin(origins[0])
    if theirs is None:
        return False
    return theirs == _origin(origin_of(scheme, hosts[0])) or normal_origin(origins[0]) in allowed


def origin_of(scheme: str, host: str) -> str:
    """The origin of a host, which has its port with it."""
    return f"{scheme}://{host}"


def normal_origin(text: str) -> str:
    """Normalise an origin: lower case, without the scheme's default port."""
    parsed = _origin(text)
    if parsed is None:
        return ""
    scheme, host, port = parsed
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" if port == _DEFAULT_PORTS.get(scheme) else f"{scheme}://{shown}:{port}"


def _origin(text: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    scheme, host = parts.scheme.lower(), parts.hostname
    if not scheme or not host or parts.username is not None or parts.path or parts.query or parts.fragment:
        return None
    port = _DEFAULT_PORTS.get(scheme) if port is None else port
    return None if port is None else (scheme, host, port)


def is_host(text: str) -> bool:
    """Whether this is a valid `Host`: a name or address, and a port (RFC 9112, section 3.2; RFC 3986, 3.2.2)."""
    found = _HOST.fullmatch(text)
    if found is None:
        return False
    literal, port = found[1], found[2]
    if literal is not None:
        try:
            ipaddress.IPv6Address(literal)
        except ValueError:
            return False
    return not port or (len(port) <= _PORT_DIGITS and int(port) <= _MAX_PORT)


def is_loopback(address: str) -> bool:
    """Whether an IP address is a loopback address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


def is_local(address: str, header_names: Container[str], hosts: Sequence[str]) -> bool:
    """Whether a request was made on this machine, and for it.

    Requests through a local proxy are not local, nor are those whose `Host` is not a local name (DNS rebinding).
    """
    proxied = any(name in header_names for name in PROXY_HEADERS)
    return is_loopback(address) and not proxied and is_local_name(hosts)


def is_local_name(hosts: Sequence[str]) -> bool:
    """Whether a `Host` always refers to the client's own machine."""
    if len(hosts) != 1:
        return False
    own = _origin(origin_of("http", hosts[0]))
    return own is not None and (own[1] == "localhost" or own[1].endswith(".localhost") or is_loopback(own[1]))


def forwarded_for(address: str, values: Sequence[str], trusted: Container[str]) -> str | None:
    """Address of the client behind a trusted proxy, from `X-Forwarded-For`; None without such a proxy.

    It is the last entry that is not a trusted proxy: the client may have forged those before it.
    """
    if address not in trusted:
        return None
    entries = [entry.strip() for value in values for entry in value.split(",")]
    for entry in reversed(entries):
        if entry not in trusted:
            return entry[:_MAX_FORWARDED] or None
    return None


def client_scheme(own: str, address: str, forwarded: Sequence[str], trusted: Container[str]) -> str:
    """The scheme that the client uses; a trusted proxy may terminate TLS."""
    if address in trusted and len(forwarded) == 1 and forwarded[0] in ("http", "https"):
        return forwarded[0]
    return own


def counted_as(address: str) -> str:
    """Key of a client's address for limits: the /64 network for IPv6, and one key for all loopback addresses, since
    one client can use all of these.
    """
    if ":" not in address:
        return _LOOPBACK if address.startswith("127.") and is_loopback(address) else address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if is_loopback(str(parsed)):
        return _LOOPBACK
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))


def shown_address(address: str, port: int) -> str:
    """`ip:port`, with brackets around an IPv6 address."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
