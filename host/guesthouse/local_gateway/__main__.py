"""`python -m guesthouse.local_gateway --link-fd N`: started by the node only."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import sys
import tokenize  # noqa: F401 - what tracebacks load when they are needed, and no file can be opened
import unicodedata  # noqa: F401 - the same
from typing import Final

import uvloop

from guesthouse.linux import landlock, privileges, seccomp
from guesthouse.linux.syscalls import FOR_SOCKETS
from guesthouse.local_gateway.gateway_loop import GatewayLoop

_AFTER_WORKERS: Final = 250
"""When the machine runs out of memory, gateways are killed after workers, and before the node, which replaces them."""
_OPTIONS: Final = frozenset(("--inspectable", "--must-be-confined"))


async def _serve(link: socket.socket) -> None:
    await GatewayLoop(link).run()


def main(arguments: list[str]) -> int:
    """Serve the link on the descriptor from the node until that is gone."""
    *options, option, number = arguments if len(arguments) > 1 else ("", "")
    if option != "--link-fd" or not _OPTIONS.issuperset(options):
        print("local gateways are started by `guesthouse run --gateways N`: run that", file=sys.stderr)
        return 2
    privileges.end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the node ends it, once clients were told
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    link_fd = int(number)
    privileges.close_inherited(link_fd)
    privileges.give_up_privileges()
    privileges.volunteer_for_oom(_AFTER_WORKERS)
    if "--inspectable" not in options:
        privileges.hide_from_others()
    lacks = _confine()
    if lacks and "--must-be-confined" in options:
        print(
            f"{'; '.join(lacks)}. Use a kernel that has it, or set worker_confinement to best-effort",
            file=sys.stderr,
        )
        return 1
    link = socket.socket(fileno=link_fd)
    link.set_inheritable(False)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(link))
    return 0


def _confine() -> tuple[str, ...]:
    """Give up all but the sockets that the node passes, for a client may find a fault in OpenSSL or zlib. Before the
    loop, which would use io_uring, past the filter. Returns what this kernel cannot restrict; workers report it.
    """
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # has OpenSSL read its settings
    return (*landlock.restrict(None), *seccomp.restrict(FOR_SOCKETS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
