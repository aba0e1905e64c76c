"""The test kit without an event loop, and its pytest plugin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from guesthouse.testing import BlockingTestNode

from .packages import package


def test_without_an_event_loop() -> None:
    with BlockingTestNode(package("echo-c"), settings={"connections.message_bytes": 1000}) as node:
        channel = node.connect()
        channel.send_json([1])
        assert channel.receive_json() == [1]
        node.advance(60)
        channel.send(bytes(1001))
        assert channel.closed()[0] == 1009
        assert node.http("GET", "/nothing").status == 404
        assert node.run(node.node.settle()) is not None


PLUGIN_TEST = """
import pytest
from guesthouse.testing import BlockingTestNode

@pytest.fixture(scope="module")
def node():
    with BlockingTestNode({package!r}) as node:
        yield node

def test_that_fails(node):
    channel = node.connect()
    channel.send("hi")
    assert channel.receive() == "ho"
"""


def test_the_plugin_shows_the_log_of_the_node_when_a_test_fails(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(PLUGIN_TEST.format(package=str(package("echo-c"))))
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "guesthouse.pytest_plugin",
        "-p",
        "no:cacheprovider",
        "test_it.py",
    ]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "1 failed" in ran.stdout, ran.stdout + ran.stderr
    assert "Log of the node with echo-c:echo-c:guesthouse.os" in ran.stdout
    assert "runs on worker-0" in ran.stdout
