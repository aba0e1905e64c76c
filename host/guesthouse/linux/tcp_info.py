"""Whether a client has left that is not read for now, as the operating system knows it.

While a process takes nothing, its clients are not read, so neither an end nor a pong of theirs is seen. Nothing is
written to find out: to a client that closed its socket, that would be answered by a reset, which throws away
what it had sent before and the node has not read yet.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import Final

_PROBES: Final = 3
_INFO: Final = struct.Struct("@B 23x I 28x I")
"""Of Linux's `struct tcp_info`: the state, the segments that are not acknowledged, and the milliseconds since the
last acknowledgement came.
"""
_ALIVE: Final = frozenset((1, 4, 5))
"""Established, and the two states after our own end was sent."""


def is_peer_gone(transport: asyncio.BaseTransport, silence: float) -> bool:
    """Whether the client closed its socket, was reset, or its machine has not answered for `silence` seconds.

    From the first call on, the operating system asks a machine that owes no answer for a sign of life. Always
    False where the operating system does not tell.
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


def _probe(sock: socket.socket, silence: float) -> None:
    pause = max(1, int(silence / (_PROBES + 1)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, pause)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, pause)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
