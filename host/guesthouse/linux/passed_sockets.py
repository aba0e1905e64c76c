"""Listening sockets that this OS process was started with (sd_listen_fds(3)), and starts a successor with."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, MutableMapping
from typing import Final

FIRST: Final = 3
"""The first descriptor that is passed."""
MOST: Final = 16
"""Descriptors that are looked at."""

_PID: Final = "LISTEN_PID"
_COUNT: Final = "LISTEN_FDS"
_NAMES: Final = "LISTEN_FDNAMES"


class BadDescriptor(ValueError):
    """What was passed is no listening TCP socket. The text says which descriptor."""


def take_sockets(
    environment: MutableMapping[str, str], first: int = FIRST
) -> list[tuple[str, socket.socket]]:
    """The sockets that were passed to this OS process, with their names, in order. Its own subprocesses get neither
    them nor the variables that tell of them, which are removed.

    Args:
        environment: such as `os.environ`.
        first: the first descriptor.

    Raises:
        BadDescriptor: one is no listening TCP socket, or there are more than `MOST`.
    """
    pid, count, names = (environment.pop(name, "") for name in (_PID, _COUNT, _NAMES))
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    if int(count) > MOST:
        raise BadDescriptor(f"{count} descriptors were passed to this node, which takes {MOST} at most")
    listed = names.split(":") if names else []
    taken = []
    for place in range(int(count)):
        name = listed[place] if place < len(listed) else ""
        taken.append((name, _listening(first + place, name)))
    return taken


def _listening(descriptor: int, name: str) -> socket.socket:
    what = f"descriptor {descriptor} ({name!a}), which was passed to this node,"
    try:
        taken = socket.socket(fileno=descriptor)
    except OSError as error:
        raise BadDescriptor(f"{what} is no socket ({error.strerror})") from None
    wrong = None
    if taken.family not in (socket.AF_INET, socket.AF_INET6) or taken.type != socket.SOCK_STREAM:
        wrong = "is no TCP socket"
    elif not taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        wrong = "does not listen"
    if wrong is not None:
        taken.close()
        raise BadDescriptor(f"{what} {wrong}")
    taken.set_inheritable(False)
    taken.setblocking(False)
    return taken


def pass_sockets(
    sockets: Mapping[str, socket.socket], environment: MutableMapping[str, str], first: int = FIRST
) -> None:
    """Have the program that replaces this one (`os.execve`, with this environment) find these sockets as
    `take_sockets` does. Descriptors from `first` on are overwritten: nothing else may be done afterwards.

    Raises:
        OSError: there are no descriptors left.
    """
    aside = [os.dup(each.fileno()) for each in sockets.values()]
    while any(first <= descriptor < first + len(aside) for descriptor in aside):
        aside = [os.dup(descriptor) for descriptor in aside]
    for place, descriptor in enumerate(aside):
        os.dup2(descriptor, first + place, inheritable=True)
    environment[_PID] = str(os.getpid())
    environment[_COUNT] = str(len(aside))
    environment[_NAMES] = ":".join(sockets)
