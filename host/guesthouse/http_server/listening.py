"""The node's listening sockets: made here, or by whoever started the node."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import Any, Final

from guesthouse.core.errors import GuesthouseError

BACKLOG: Final = 2048

HTTP: Final = "http"
MONITORING: Final = "monitoring"
API: Final = "api"
"""Names of listeners, and of the descriptors that are passed for them."""

_KEPT: Final = "-kept"
"""Behind the name of a socket that a node made itself and left to its successor, whose settings may have changed."""


class CannotListen(GuesthouseError):
    """The address cannot be bound, or the TLS certificate cannot be loaded."""


class Listeners:
    """The listening sockets of a node.

    A socket that a service manager made (socket activation) wins over the settings for host and port. One that the
    node's predecessor kept is used if it is where the settings say.

    Args:
        passed: sockets that the node was started with, and their names: `monitoring`, `api`; `http`, or any other.

    Raises:
        CannotListen: two are for one listener.
    """

    def __init__(self, passed: Sequence[tuple[str, socket.socket]] = ()) -> None:
        self._passed: dict[str, socket.socket] = {}
        self._kept: dict[str, socket.socket] = {}
        self._open: dict[str, socket.socket] = {}
        for name, listening in passed:
            kept = name.endswith(_KEPT)
            named = name.removesuffix(_KEPT)
            place = named if named in (MONITORING, API) else HTTP
            if place in self._passed or place in self._kept:
                raise CannotListen(
                    f"two sockets were passed for the {place} listener: pass one, and name them 'http', "
                    "'monitoring' and 'api' (FileDescriptorName=)"
                )
            (self._kept if kept else self._passed)[place] = listening

    def passed(self, name: str) -> bool:
        """Whether a service manager made the socket of that listener."""
        return name in self._passed

    def waits(self, name: str) -> bool:
        """Whether connections may have waited for that listener since before the node was started."""
        return name in self._passed or name in self._kept

    def listen(
        self, name: str, host: str, port: int, named: tuple[str, str] = ("--host", "--port")
    ) -> socket.socket:
        """The socket of a listener, which whoever asks for it closes.

        Raises:
            CannotListen: see `listen`.
        """
        passed = self._passed.get(name) or self._kept_one(name, host, port, named)
        listening = self._open[name] = passed or listen(host, port, named)
        return listening

    def _kept_one(self, name: str, host: str, port: int, named: tuple[str, str]) -> socket.socket | None:
        kept = self._kept.pop(name, None)
        if kept is None:
            return None
        family, _, _, _, address = _resolved(host, port, named)
        bound = kept.getsockname()
        if kept.family == family and bound[0] == address[0] and port in (0, bound[1]):
            return kept
        kept.close()
        return None

    def close_unused(self) -> None:
        """Close what the predecessor kept for listeners that are turned off now: clients would wait in it for ever."""
        while self._kept:
            self._kept.popitem()[1].close()

    def keep(self) -> dict[str, socket.socket]:
        """Duplicates of the sockets that are open, by the names by which a successor is passed them: connections wait
        in them until it accepts them.
        """
        return {
            name if name in self._passed else f"{name}{_KEPT}": listening.dup()
            for name, listening in self._open.items()
        }


def listen(host: str, port: int, named: tuple[str, str] = ("--host", "--port")) -> socket.socket:
    """Bind a listening socket.

    Args:
        host: an address or name of this machine.
        port: 0 takes a free one.
        named: what the user sets host and port with.

    Raises:
        CannotListen: the host is unknown, or the port is in use or needs privileges.
    """
    family, _, _, _, address = _resolved(host, port, named)
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


def _resolved(
    host: str, port: int, named: tuple[str, str]
) -> tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]:
    """The address to bind, as `socket.getaddrinfo` gives it."""
    name = host.encode() if host.isascii() else host  # text is encoded by a codec that takes 2 ms to load
    try:
        return socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, ValueError) as error:
        raise CannotListen(
            f"host {host!r} is not an address of this machine ({error}): choose another with {named[0]}"
        ) from None


def _bind_error(host: str, port: int, error: OSError, named: tuple[str, str]) -> str:
    if error.errno == errno.EADDRINUSE:
        remedy = f"stop what uses it, or choose another with {named[1]} (0 takes a free one)"
        return f"port {port} on {host} is in use: {remedy}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} on {host} needs root privileges: choose one from 1024 up with {named[1]}"
    return (
        f"cannot listen on {host} port {port} ({error.strerror}): choose another with {' and '.join(named)}"
    )
