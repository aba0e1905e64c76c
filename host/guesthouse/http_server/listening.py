"""The node's listening socket."""

from __future__ import annotations

import errno
import socket
from typing import Final

from guesthouse.core.config import Settings
from guesthouse.core.errors import GuesthouseError

BACKLOG: Final = 2048


class CannotListen(GuesthouseError):
    """The address cannot be bound, or the TLS certificate cannot be loaded."""


def listen(settings: Settings) -> socket.socket:
    """Bind the listening socket.

    Raises:
        CannotListen: the host is unknown, or the port is in use or needs privileges.
    """
    host, port = settings.http.host, settings.http.port
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, ValueError) as error:
        raise CannotListen(
            f"host {host!r} is not an address of this machine ({error}): choose another with --host"
        ) from None
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise CannotListen(_bind_error(host, port, error)) from None
    return listening


def _bind_error(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: stop what uses it, or choose another with --port (0 takes a free one)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} on {host} needs root privileges: choose one from 1024 up with --port"
    return f"cannot listen on {host} port {port} ({error.strerror}): choose another with --host and --port"
