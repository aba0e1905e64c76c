"""What a start costs, told by what is loaded: modules that a command, a node or a worker can start without."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from guesthouse.kernel.workers.worker_process import spawn, worker_command
from guesthouse.link.frames import encode
from guesthouse.link.schema import PROTOCOL_VERSION, Message
from guesthouse.link.to_node import Ready
from guesthouse.link.to_worker import Configure
from guesthouse.link.usage import Usage

HOST: Final = Path(__file__).parents[2] / "host/guesthouse"


def test_nothing_is_a_dataclass() -> None:
    """Each takes over a millisecond to make, at every start: a struct of msgspec takes a thirtieth of that."""
    makers = [
        str(path.relative_to(HOST))
        for path in HOST.rglob("*.py")
        if re.search(r"^\s*(from|import) dataclasses\b", path.read_text(), re.MULTILINE)
    ]
    assert makers == []


IN_NO_WORKER: Final = (
    *(
        "asyncio",
        "dataclasses",
        "email",
        "hashlib",
        "http",
        "importlib.metadata",
        "inspect",
        "ipaddress",
        "logging",
        "platform",
        "sqlite3",
    ),
    *("ssl", "subprocess", "tempfile", "textwrap", "wasmtime"),
    *(
        "guesthouse.http_server",
        "guesthouse.kernel",
        "guesthouse.modules",
        "guesthouse.node",
        "guesthouse.package",
    ),
)
"""`wasmtime` is the package of that name; the library a worker calls by itself."""
IN_NO_COMMAND: Final = (
    *(
        "asyncio",
        "cryptography",
        "dataclasses",
        "difflib",
        "email",
        "importlib.metadata",
        "jwt",
        "msgspec",
        "rich",
    ),
    *("ssl", "subprocess", "tomllib", "uvloop", "wasmtime"),
    *("guesthouse.core.config", "guesthouse.http_server", "guesthouse.kernel", "guesthouse.node"),
)
"""Of commands that ask a node."""


def loaded(said: str) -> set[str]:
    """The modules that an interpreter started with `-X importtime` loaded."""
    return set(re.findall(r"^import time:.*\| +(\S+)$", said, re.MULTILINE))


def test_a_worker_is_ready_without_what_it_does_not_need() -> None:
    python, *arguments = worker_command()
    worker = spawn([python, "-X", "importtime", *arguments])
    try:
        worker.link.sendall(encode([Configure(PROTOCOL_VERSION)]))
        assert worker.link.recv(1024)
    finally:
        worker.link.close()
        stderr = worker._popen.stderr
        assert stderr is not None
        with stderr:
            modules = loaded(stderr.read().decode())
        worker.wait_blocking()
    assert "guesthouse.worker.loop" in modules
    assert modules.intersection(IN_NO_WORKER) == set()


def test_the_collector_goes_through_nothing_that_a_node_has_loaded() -> None:
    script = """
import gc
from guesthouse.cli.run import _no_passes
with _no_passes():
    import guesthouse.node.node
    loaded, during = len(gc.get_objects()), gc.isenabled()
print(loaded > 10_000, during, len(gc.get_objects()) < 100, gc.isenabled())
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "True False True True\n"


def test_the_fields_of_messages_have_types_that_nobody_has_to_evaluate() -> None:
    """msgspec compiles each that is written as a string to make a decoder, as each node and worker does: 8 ms of two
    hundred. So their modules do not import `annotations`.
    """
    kinds, seen = [Message], list[type[Message]]()
    while kinds:
        kinds += (each := kinds.pop()).__subclasses__()
        if each.__module__.startswith("guesthouse.link."):
            seen.append(each)
    assert {Configure, Usage, Ready} <= set(seen)
    named = {
        each.__name__
        for each in seen
        if any(isinstance(a, str) for a in inspect.get_annotations(each).values())
    }
    assert named == set()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["ps", "channels", "explain", "restart"])
def test_a_command_asks_a_node_without_what_it_does_not_need(command: str, tmp_path: Path) -> None:
    process = ["a:b:c.os"] if command in ("explain", "restart") else []
    arguments = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "guesthouse",
        command,
        "--home",
        str(tmp_path),
        *process,
    ]
    said = subprocess.run(arguments, capture_output=True, text=True, check=False).stderr
    modules = loaded(said)
    assert f"no node runs on {tmp_path}" in said
    assert modules.intersection(IN_NO_COMMAND) == set()
    assert modules.intersection(("guesthouse.cli.run", "guesthouse.cli.build", "click")) == {"click"}
