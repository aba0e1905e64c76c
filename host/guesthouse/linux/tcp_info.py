"""Detects that a client has left while it is not being read, from the kernel's TCP state.

While a process's mailbox is full, its clients are not read, so neither EOF nor pongs are seen. Writing would not help:
a client that has closed its socket would answer with a reset, which discards
data that the node has not read yet.
"""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import sys
from typing import Final

_PROBES: Final = 3
_INFO: Final = struct.Struct("@B 23x I 28x I")
"""From Linux's `struct tcp_info`: the state, the number of unacknowledged segments, and the milliseconds since the
last acknowledgement.
"""
_ALIVE: Final = frozenset((1, 4, 5))
"""Established, and the two states after our FIN."""


def is_peer_gone(transport: asyncio.BaseTransport, silence: float) -> bool:
    """Whether the client closed its socket, was reset, or its machine has not answered for `silence` seconds.

    The first call turns on TCP keepalive. Always False on systems without TCP_INFO.
    """
    sock = transport.get_extra_info("socket")
    if sock is None:  # the socket itself is gone
        return True
    if sys.platform != "linux" or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    try:
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):
            _probe(sock, silence)
        state, unanswered, milliseconds = _INFO.unpack(
            sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
        )
    except OSError:
        return True
    return state not in _ALIVE or (unanswered > 0 and milliseconds > 1000 * silence)


def has_hung_up(transport: asyncio.BaseTransport) -> bool:
    """Whether the other end of a socketpair was closed, at least for sending: nothing need be read to know."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return True
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))


def _probe(sock: socket.socket, silence: float) -> None:
    pause = max(1, int(silence / (_PROBES + 1)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, pause)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, pause)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
