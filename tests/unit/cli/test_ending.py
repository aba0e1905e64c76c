"""A node that is told to end does so, whatever a thread of it waits for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.patience import PATIENCE

_NODE = """
import sys
from pathlib import Path
from guesthouse.node import base_node
base_node.load_package = lambda path, *_: Path(path).read_bytes()
from guesthouse.cli.main import main
main()
"""
"""A node whose packages are on a file system that does not answer: to read one waits for whoever opened a FIFO."""


def opened_by_reader(path: Path) -> int:
    """A FIFO's other end, once somebody opens it to read."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < end, "nobody reads"
            time.sleep(0.01)


@pytest.mark.slow
def test_a_thread_that_hangs_does_not_keep_a_node_from_ending(tmp_path: Path) -> None:
    hung = tmp_path / "hung"
    os.mkfifo(hung)
    arguments = ["run", str(hung), "--home", str(tmp_path / "home"), "--port", "0", "--workers", "0"]
    node = subprocess.Popen([sys.executable, "-c", _NODE, *arguments], stderr=subprocess.PIPE, text=True)
    try:
        other_end = opened_by_reader(hung)
        node.send_signal(signal.SIGTERM)
        _, said = node.communicate(timeout=PATIENCE)
        os.close(other_end)
    finally:
        node.kill()
        node.wait()
    assert node.returncode == 0, said
    assert "does not answer" in said
