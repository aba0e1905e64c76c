"""A real node with the echo process, for the suite to be run against."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).parents[2] / "sample_processes/echo-c"
_PATH: Final = "/echo-c:echo-c:guesthouse.os/public"
_BUILD_SECONDS: Final = 120
_READY_SECONDS: Final = 300
_STOP_SECONDS: Final = 20


def build_echo() -> None:
    """Build the echo process; quick when nothing changed."""
    subprocess.run(
        [sys.executable, "-m", "guesthouse", "build", str(_PACKAGE)], check=True, timeout=_BUILD_SECONDS
    )


@asynccontextmanager
async def echo_node(home: Path) -> AsyncIterator[str]:
    """A node in that folder; gives the URL of the channel that echoes. It is stopped at the end of the block."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("GUESTHOUSE_", "PYTEST"))
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "guesthouse", "run", "--home", str(home), "--port", "0", str(_PACKAGE)),
        stdin=DEVNULL,
        stdout=PIPE,
        env={**kept, "HOME": str(home.parent)},
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_READY_SECONDS):
            ready = (await process.stdout.readline()).decode().split()
        assert ready[:1] == ["ready"], f"the node did not start: {ready}"
        yield ready[1].replace("http://", "ws://") + _PATH
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(_STOP_SECONDS):
            assert await process.wait() == 0, "the node did not stop in order"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
