"""A node that is told to stop finishes what was begun, as long as its deadline allows."""

from __future__ import annotations

import asyncio
from typing import Final

from guesthouse.core.printable import number_of
from guesthouse.node.base_node import BaseNode

_STEP_SECONDS: Final = 0.01


async def drain(node: BaseNode, seconds: float) -> None:
    """Take nothing more from clients, and let processes handle what waits for them. The node is closed next.

    Args:
        node: the node.
        seconds: the deadline. What is not finished by then is cut off.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    node.http.take_no_more()
    while _is_busy(node) and loop.time() < end:  # noqa: ASYNC110 - nobody tells when all are done
        await asyncio.sleep(_STEP_SECONDS)
    left = end - loop.time()
    if left > 0:
        await node.supervisor.finish(left)
    else:
        waiting = sum(len(process.mailbox) for process in node.router.processes())
        lost = number_of(waiting, "message is", "messages are")
        text = f"did not finish within {seconds:g} s (drain_seconds): {lost} lost"
        node.log.write("node", "warning", text)


def _is_busy(node: BaseNode) -> bool:
    """Whether messages wait, clients for answers to their requests, or processes for each other's."""
    waits = any(len(process.mailbox) for process in node.router.processes())
    return waits or node.router.anyone_blocks or node.http.awaited_responses > 0
