"""How many of the node's file descriptors clients may have: the rest is for its operator, its workers and its files."""

from __future__ import annotations

import os
import resource
import sys
from typing import Final

from guesthouse.core.config import Settings

SPARE: Final = 64
"""Descriptors that clients leave free: for commands, a worker in the place of one that died, installations, files."""
SPARE_OF_OTHERS: Final = SPARE // 2
"""Those that the clients of monitoring and API leave free: whoever looks after the node gets in when clients do not."""

_OWN: Final = 48
"""Descriptors of a node without clients and workers, and some more."""
_OF_A_WORKER: Final = 8
_LEAST: Final = 16


def most_open() -> int:
    """The limit on descriptors of this OS process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def room_for_clients(settings: Settings, limit: int) -> int:
    """The sockets that clients may have at once: `connections.total`, or fewer if the limit on descriptors is lower.
    Local gateways hold them with descriptors of their own.
    """
    total = settings.connections.total
    if settings.gateways:
        return total
    apart = settings.isolation == "package"
    workers = settings.most_workers if apart else settings.workers or os.cpu_count() or 1
    return min(total, max(_LEAST, limit - SPARE - _OWN - _OF_A_WORKER * workers))


def shortage(settings: Settings, limit: int) -> str | None:
    """What the log says if there is room for fewer clients than set; None if there is enough."""
    total, room = settings.connections.total, room_for_clients(settings, limit)
    if room == total:
        return None
    return (
        f"{room} clients at once instead of connections.total ({total}): the limit on open files is {limit}. Raise it "
        "by LimitNOFILE= of the unit (ulimit -Hn), or lower connections.total"
    )


def first_spare(spare: int) -> int:
    """The lowest number of a descriptor that clients do not get: the kernel gives the lowest that is free."""
    limit = most_open()
    return max(limit - spare, limit // 2)
