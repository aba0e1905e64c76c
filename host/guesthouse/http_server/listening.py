"""The socket that a node listens on."""

from __future__ import annotations

import errno
import socket
from typing import Final

from guesthouse.core.config import Settings
from guesthouse.core.errors import GuesthouseError

BACKLOG: Final = 2048


class CannotListen(GuesthouseError):
    """The node cannot have the address it is to listen on, or its certificate is of no use."""


def listen(settings: Settings) -> socket.socket:
    """A bound socket.

    Raises:
        CannotListen: the host is unknown, or the port in use or not ours to use.
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
        raise CannotListen(_why_not(host, port, error)) from None
    return listening


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: stop what uses it, or choose another with --port (0 takes a free one)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"port {port} on {host} needs more rights than this user has: choose one from 1024 up with --port"
        )
    return f"cannot listen on {host} port {port} ({error.strerror}): choose another with --host and --port"
