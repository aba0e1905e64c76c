"""The built component, on a real node: what a client of it sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from guesthouse.testing import BlockingTestNode, Refused

PACKAGE = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def node() -> Iterator[BlockingTestNode]:
    with BlockingTestNode(PACKAGE) as node:
        yield node


@pytest.mark.parametrize("message", ["hello", "", "grüße \U0001f426", "x" * 65_536, b"", b"\0\xff" * 500])
def test_a_message_comes_back_with_its_type(node: BlockingTestNode, message: str | bytes) -> None:
    client = node.connect("/public", logged_in=False)
    client.send(message)
    assert client.receive() == message


def test_messages_come_back_in_order(node: BlockingTestNode) -> None:
    client = node.connect()
    for number in range(500):
        client.send(str(number))
    assert client.receive_all() == [str(number) for number in range(500)]


def test_only_one_path_is_for_everybody(node: BlockingTestNode) -> None:
    with pytest.raises(Refused, match="401"):
        node.connect("/", logged_in=False)


def test_a_restart_loses_nobody(node: BlockingTestNode) -> None:
    client = node.connect()
    node.restart()
    client.send("still here")
    assert client.receive() == "still here"
