"""The OS process of a node for tests."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from guesthouse.package.compile.mac import MacKey
from guesthouse.testing.kit_errors import NodeFailed

START_SECONDS: Final = 300.0
"""A component that was never compiled before takes up to a minute, on a busy machine."""
STOP_SECONDS: Final = 30.0
_READY: Final = re.compile(r"ready (http\S+) node=(\S+)\n")
_NEVER: Final = 10_000_000
"""Seconds: a test that is stopped in a debugger loses no channel."""
_KEY: Final = "compiled.key"
_LAST_LINES: Final = 40


def cache_folder() -> Path:
    """Where compiled components are kept between tests."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "guesthouse" / "testing"


def make_home(folder: Path) -> Path:
    """A home below a folder, with the components compiled that were compiled before."""
    home = folder / "home"
    home.mkdir(mode=0o700)
    try:
        kept = cache_folder()
        (kept / "compiled").mkdir(mode=0o700, parents=True, exist_ok=True)
        MacKey(kept / _KEY).mac("nothing")  # makes the key, once for all nodes
        shutil.copy(kept / _KEY, home / _KEY)
        (home / "compiled").symlink_to(kept / "compiled")
    except OSError:
        (home / _KEY).unlink(missing_ok=True)  # nothing is kept
    return home


class NodeSubprocess:
    """A node that runs on a home. Its standard error goes to a file beside it."""

    def __init__(self, home: Path, packages: Sequence[str], settings: Mapping[str, object]) -> None:
        self._home = home
        self._packages = packages
        self._settings = settings
        self._process: Process | None = None

    async def start(self, now: float) -> str:
        """Start it; returns its URL.

        Raises:
            NodeFailed: it did not start.
        """
        command = [
            *(sys.executable, "-m", "guesthouse.controlled_node", "--home", str(self._home)),
            *("--now", repr(now), *self._packages),
        ]
        with self._stderr.open("ab") as stderr:
            process = self._process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, stderr=stderr, env=self._environment()
            )
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            async with asyncio.timeout(START_SECONDS):
                line = (await process.stdout.readline()).decode()
        except BaseException:
            await self.kill()
            raise
        match = _READY.fullmatch(line)
        if match is None:
            await self.kill()
            lines = self.stderr().splitlines()[-_LAST_LINES:]
            raise NodeFailed("\n".join(("the node did not start:", *lines)))
        return match[1]

    async def stop(self) -> None:
        """End it in order."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """End it as a crash of the machine would."""
        await self._end(signal.SIGKILL)

    def stderr(self) -> str:
        """All that it wrote on standard error: its log, as `guesthouse run` shows it."""
        return self._stderr.read_text(errors="replace")

    async def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(number)
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise NodeFailed(f"the node did not stop within {STOP_SECONDS:g} s:\n{self.stderr()}") from None

    @property
    def _stderr(self) -> Path:
        return self._home.with_name("node.stderr")

    def _environment(self) -> dict[str, str]:
        """The one here without settings of other nodes, and with those given."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GUESTHOUSE_")}
        settings = {"connections.ping_seconds": _NEVER, **self._settings}
        given = {name.upper().replace(".", "_"): str(value) for name, value in settings.items()}
        return {**kept, **{f"GUESTHOUSE_{name}": value for name, value in given.items()}}
