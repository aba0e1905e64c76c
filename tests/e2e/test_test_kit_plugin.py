"""The test kit without an event loop, and its pytest plugin."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

from guesthouse.control.control_client import ask
from guesthouse.testing import BlockingTestNode

from .packages import package
from .waiting import all_gone, command_line, descendants


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


HOLDER = """
import sys, time
from guesthouse.testing import BlockingTestNode
with BlockingTestNode(sys.argv[1]) as node:
    print(node.node.home, flush=True)
    time.sleep(600)
"""


def test_a_node_ends_with_the_test_that_was_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(package("echo-c"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as holder:
        assert holder.stdout is not None
        home = Path(holder.stdout.readline().strip())
        assert list(ask(home, "ps"))
        node = {child for child in descendants(holder.pid) if b"controlled_node" in command_line(child.pid)}
        assert node
        holder.kill()
    asyncio.run(all_gone(node))
    shutil.rmtree(home.parent)


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
