"""What a node loads until it is ready, told by its interpreter: a time would say how busy the machine is."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from .daemon import environment

NOT_NEEDED: Final = (
    *("argon2", "difflib", "jwt", "logging.config", "multiprocessing", "rich", "tomllib", "uvicorn.main"),
    *("wasmtime", "watchfiles", "guesthouse.cli.development.dev", "guesthouse.package.build.build_package"),
    *(
        "guesthouse.kernel.cluster",
        "guesthouse.cluster",
        "nats",
        "guesthouse.package.compile.compile",
        "guesthouse.worker.loop",
    ),
)
"""Loaded by the nodes that need them, when they do: with TLS or other nodes, with a file of settings, when somebody
logs in.
"""
PUT_OFF: Final = ("csv", "email.message", "html.entities", "logging.handlers")
"""Of what is put off (`cli/main.py`, `cli/run.py`): what those modules would load."""


def test_a_node_is_ready_without_what_it_does_not_need(tmp_path: Path) -> None:
    home, log = tmp_path / "home", tmp_path / "stderr"
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "guesthouse",
        "run",
        "--home",
        str(home),
        "--port",
        "0",
    ]
    with log.open("wb") as stderr:
        node = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=environment(home))
        assert node.stdout is not None
        with node, node.stdout:
            try:
                ready = node.stdout.readline()
                modules = set(re.findall(r"^import time:.*\| +(\S+)$", log.read_text(), re.MULTILINE))
            finally:
                node.send_signal(signal.SIGTERM)
    assert ready.startswith(b"ready "), log.read_text()
    assert {
        "guesthouse.node.node",
        "guesthouse.package.compile.read_ahead",
        "uvicorn.server",
        "websockets.http11",
    } <= modules
    assert modules.intersection((*NOT_NEEDED, *PUT_OFF)) == set()
