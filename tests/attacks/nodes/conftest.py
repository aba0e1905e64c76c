"""A node that is joined to others, one of which lies."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.patience import PATIENCE

from ...e2e.packages import package
from ...faults.liar import joined_node, lying_peer
from ..harness import Scene, package_folder

TARGET: Final = "target:target:test.os"
NETWORK: Final = {"process": "kernel:distro:sys", "params": "network"}
KEYS: Final = {name: Ed25519PrivateKey.generate() for name in (lying_peer.LIAR, lying_peer.HONEST)}
SECONDS: Final = 120.0


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    """A node keeps a little of what others wait for, so that its bound is met."""
    return {"process_outstanding_bytes": 2**16}


@pytest.fixture(scope="module")
def options(home: Path) -> dict[str, Any]:
    """See `Daemon`."""
    keys = {name: key.public_key().public_bytes_raw().hex() for name, key in KEYS.items()}
    variables = {"NODES_SOCKET": str(home.with_name("nodes")), "NODES_KEYS": json.dumps(keys)}
    return {"module": Path(joined_node.__file__), "variables": variables}


class Peer:
    """The test's hold on the OS process that lies."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def tell(self, tale: str) -> None:
        """Have a tale told once, and heard."""
        await self._ask({"tale": tale})

    async def ask_honestly(self) -> None:
        """Have the honest node ask something, and wait for its answer."""
        await self._ask({"ask": True})

    async def _ask(self, asked: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        async with asyncio.timeout(SECONDS):
            assert await self._process.stdout.readline() == b"{}\n", "the liar ended"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def peer(scene: Scene, options: dict[str, Any]) -> AsyncIterator[Peer]:
    wasm = package("echo-c") / "build/echo-c.wasm"
    rights = [NETWORK]
    await scene.install(
        package_folder(scene.folder, "target", wasm, on_exit="restart", request_capabilities=rights)
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, lying_peer.__file__, options["variables"]["NODES_SOCKET"]),
        *(scene.daemon.node, TARGET, *(key.private_bytes_raw().hex() for key in KEYS.values())),
        stdin=PIPE,
        stdout=PIPE,
    )
    peer = Peer(process)
    await peer.ask_honestly()  # it is connected
    yield peer
    assert process.stdin is not None
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), PATIENCE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
