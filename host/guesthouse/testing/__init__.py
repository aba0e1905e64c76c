"""Tests of packages, whatever language they are written in: runs the built components in a real node.

    async with TestNode("path/to/package") as node:
        channel = await node.connect()
        await channel.send("hi")
        assert await channel.receive() == "hi"

Install it by `pip install guesthouse[testing]`. See docs/testing.md.
"""

from guesthouse.testing.blocking import BlockingChannel, BlockingTestNode
from guesthouse.testing.channel_under_test import TestChannel
from guesthouse.testing.http_answer import HttpAnswer
from guesthouse.testing.kit_errors import ChannelClosed, NodeFailed, NothingCame, Refused
from guesthouse.testing.node_under_test import TestNode

__all__ = [
    "BlockingChannel",
    "BlockingTestNode",
    "ChannelClosed",
    "HttpAnswer",
    "NodeFailed",
    "NothingCame",
    "Refused",
    "TestChannel",
    "TestNode",
]
