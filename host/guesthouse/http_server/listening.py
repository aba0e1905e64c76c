"""The node's listening socket."""

from __future__ import annotations

import errno
import socket
from typing import Final

from guesthouse.core.errors import GuesthouseError

BACKLOG: Final = 2048


class CannotListen(GuesthouseError):
    """The address cannot be bound, or the TLS certificate cannot be loaded."""


def listen(host: str, port: int, named: tuple[str, str] = ("--host", "--port")) -> socket.socket:
    """Bind a listening socket.

    Args:
        host: an address or name of this machine.
        port: 0 takes a free one.
        named: what the user sets host and port with.

    Raises:
        CannotListen: the host is unknown, or the port is in use or needs privileges.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, ValueError) as error:
        raise CannotListen(
            f"host {host!r} is not an address of this machine ({error}): choose another with {named[0]}"
        ) from None
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise CannotListen(_bind_error(host, port, error, named)) from None
    return listening


def _bind_error(host: str, port: int, error: OSError, named: tuple[str, str]) -> str:
    if error.errno == errno.EADDRINUSE:
        remedy = f"stop what uses it, or choose another with {named[1]} (0 takes a free one)"
        return f"port {port} on {host} is in use: {remedy}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} on {host} needs root privileges: choose one from 1024 up with {named[1]}"
    return (
        f"cannot listen on {host} port {port} ({error.strerror}): choose another with {' and '.join(named)}"
    )
