"""Two ends of a connection in a network of their own, which is cut: neither end says a word. Run by itself.

Exits with 77 when it may not make such a network.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import socket
import struct
import sys
import time

from guesthouse.linux.tcp_info import is_peer_gone

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_UP = 1
SILENCE = 4.0
PATIENCE = 30.0


class Transport(asyncio.BaseTransport):
    """As much of a transport as is asked."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__({"socket": sock})


def loopback(flags: int) -> None:
    """Bring the network up, or cut it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags))


def main() -> None:
    """Cut the network under a connection, with and without something on its way."""
    kind = _CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWUSER | _CLONE_NEWNET
    if ctypes.CDLL(None).unshare(kind) != 0:
        sys.exit(77)
    loopback(_UP)
    ends = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        for _ in range(2):
            client = socket.create_connection(server.getsockname())
            ends.append((server.accept()[0], client))
    assert not any(is_peer_gone(Transport(ours), SILENCE) for ours, _ in ends)
    loopback(0)
    ends[0][0].send(b"on its way")
    end = time.monotonic() + PATIENCE
    while not all(is_peer_gone(Transport(ours), SILENCE) for ours, _ in ends):
        assert time.monotonic() < end, "the other machine is still thought to be there"
        time.sleep(0.05)
    for pair in ends:
        for sock in pair:
            sock.close()


if __name__ == "__main__":
    main()
