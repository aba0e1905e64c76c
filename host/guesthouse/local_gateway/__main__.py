"""`python -m guesthouse.local_gateway --link-fd N`: started by the node only."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys

import uvloop

from guesthouse.linux import privileges
from guesthouse.local_gateway.gateway_loop import GatewayLoop


async def _serve(link: socket.socket) -> None:
    await GatewayLoop(link).run()


def main(arguments: list[str]) -> int:
    """Serve the link on the descriptor from the node until that is gone."""
    if len(arguments) not in (2, 3) or arguments[-2] != "--link-fd":
        print("local gateways are started by `guesthouse run --gateways N`: run that", file=sys.stderr)
        return 2
    privileges.end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the node ends it, once clients were told
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    link_fd = int(arguments[-1])
    privileges.close_inherited(link_fd)
    privileges.give_up_privileges()
    if "--inspectable" not in arguments:
        privileges.hide_from_others()
    link = socket.socket(fileno=link_fd)
    link.set_inheritable(False)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(link))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
