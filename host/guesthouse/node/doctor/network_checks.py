"""Ports, the TLS certificate, the running node's answers."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from guesthouse.core.config import Settings
from guesthouse.core.files.regular_file import read_regular, refuse_irregular
from guesthouse.http_server.listening import CannotListen, listen
from guesthouse.node.doctor.finding import FAIL, OK, WARN, Finding

_SOON: Final = timedelta(days=14)
_CONNECT_SECONDS: Final = 5.0


def ports(settings: Settings, node: dict[str, Any] | None) -> Iterator[Finding]:
    """Whether the node's ports can be taken; of a running node, whether it can be reached."""
    if node is not None:
        yield _reached(node["url"])
        return
    places = [("port", settings.http.host, settings.http.port, ("http.host", "http.port"))]
    if settings.monitoring.port is not None:
        names = ("monitoring.host", "monitoring.port")
        places.append(("monitoring port", settings.monitoring.host, settings.monitoring.port, names))
    if settings.api.port is not None:
        places.append(("API port", settings.api.host, settings.api.port, ("api.host", "api.port")))
        if settings.api.tls and settings.http.tls_cert is None:
            text = "api.tls is set, but http.tls_cert is not"
            yield Finding(
                "API port", FAIL, text, "set it to a PEM certificate chain, or serve the API behind a proxy"
            )
    with ExitStack() as taken:  # all at once, as the node takes them
        for check, host, port, named in places:
            try:
                taken.enter_context(listen(host, port, named))
            except CannotListen as error:
                what, _, remedy = str(error).partition(": ")
                yield Finding(check, FAIL, what, remedy)
            else:
                yield Finding(check, OK, f"{host} port {port} is free")


def _reached(url: str) -> Finding:
    where = urlsplit(url)
    try:
        socket.create_connection((where.hostname or "", where.port or 0), _CONNECT_SECONDS).close()
    except OSError as error:
        text = f"the node says it serves {url}, where nobody accepts: {error}"
        return Finding("port", FAIL, text, "see its log ('guesthouse logs'), and restart it")
    return Finding("port", OK, f"{url} accepts connections")


def certificate(certificate: str | None, key: str | None) -> Iterator[Finding]:
    """Expiry of the certificate, and whether the key is its own."""
    if certificate is None:
        yield Finding("certificate", OK, "none: plain HTTP, for a proxy or this machine")
        return
    try:
        for path in {certificate, key or certificate}:
            refuse_irregular(path)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key or None)
    except (OSError, ssl.SSLError, ValueError) as error:
        text = f"{certificate} and {key or 'its key'} cannot be used: {error}"
        remedy = "give PEM files that this user can read, a chain and the key that belongs to it"
        yield Finding("certificate", FAIL, text, remedy)
        return
    from cryptography import x509

    first = x509.load_pem_x509_certificate(read_regular(certificate))
    now, begins, ends = datetime.now(UTC), first.not_valid_before_utc, first.not_valid_after_utc
    renew = "renew it, then reload the node (systemctl reload guesthouse)"
    if now >= ends:
        yield Finding("certificate", FAIL, f"{certificate} expired on {ends:%Y-%m-%d %H:%M} UTC", renew)
    elif now < begins:
        text = f"{certificate} is valid from {begins:%Y-%m-%d %H:%M} UTC only"
        yield Finding("certificate", FAIL, text, "set the clock, or take another certificate")
    elif ends - now < _SOON:
        yield Finding("certificate", WARN, f"{certificate} expires on {ends:%Y-%m-%d %H:%M} UTC", renew)
    else:
        yield Finding("certificate", OK, f"{certificate} and its key match; valid until {ends:%Y-%m-%d}")
    if key is not None and os.stat(key).st_mode & 0o044:
        yield Finding("certificate", WARN, f"others can read the private key {key}", "chmod go-rwx")
