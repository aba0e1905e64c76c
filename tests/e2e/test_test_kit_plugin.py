"""The test kit without an event loop, and its pytest plugin."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from guesthouse.control.control_client import ask
from guesthouse.testing import BlockingChannel, BlockingTestNode, TestChannel, TestNode

from .packages import package
from .waiting import all_gone, command_line, descendants


@pytest.mark.thorough
def test_without_an_event_loop() -> None:
    with BlockingTestNode(package("echo-c"), settings={"connections.message_bytes": 1000}) as node:
        channel = node.connect()
        channel.send_json([1])
        assert channel.receive_json() == [1]
        node.advance(60)
        channel.send(bytes(1001))
        assert channel.closed()[0] == 1009
        assert node.http("GET", "/nothing").status == 404
        assert isinstance(node.settle(), Mapping)
        assert node.processes == (channel.process,)
        assert node.token in node.cookie
        assert node.home.is_dir()
        assert node.http("GET", "/nothing", logged_in=False).status == 404
        assert any("runs on" in line for line in node.log_of(channel.process))
        assert node.url in node.output()
        with node.connect() as second:
            ends = [second.left]
        assert [*ends, second.left] == [False, True]
    assert (channel.subprotocol, channel.controls) == (None, [])


@pytest.mark.parametrize(
    ("waiting", "blocking"), [(TestNode, BlockingTestNode), (TestChannel, BlockingChannel)]
)
def test_what_blocks_has_all_that_what_is_awaited_has(waiting: type, blocking: type) -> None:
    source = inspect.getsource(waiting)
    set_by_it = {
        name for name in re.findall(r"self\.(\w+)(?:: [^=\n]+)? = ", source) if not name.startswith("_")
    }
    public = {name for name in vars(waiting) if not name.startswith("_")} | set_by_it
    assert {"close"} <= public or {"processes", "request", "now"} <= public
    assert public - {"client", "sent"} <= set(vars(blocking))  # how the node tells clients apart


HOLDER = """
import sys, time
from guesthouse.testing import BlockingTestNode
with BlockingTestNode(sys.argv[1]) as node:
    print(node.node.home, flush=True)
    time.sleep(600)
"""


@pytest.mark.thorough
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
from guesthouse.testing import BlockingChannel, BlockingTestNode, TestChannel, TestNode

@pytest.fixture(scope="module")
def node():
    with BlockingTestNode({package!r}) as node:
        yield node

def test_that_fails(node):
    channel = node.connect()
    channel.send("hi")
    assert channel.receive() == "ho"
"""


@pytest.mark.thorough
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
