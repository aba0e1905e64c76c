"""The test's hold on the attacking OS process."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from tests.patience import PATIENCE, tried_again

from ..figures import Allowance
from ..harness import Scene
from .wire import Tally

SUITE: Final = "Hostile clients"
TARGET: Final = "target:target:test.os"
_ROOT: Final = Path(__file__).parents[3]
_SECONDS: Final = 60.0


class Attacker:
    """An OS process that attacks as it is told. An async context manager."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        url = f"{self.scene.daemon.ws_url}/{TARGET}/public"
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.attacks.clients", url),
            stdin=PIPE,
            stdout=PIPE,
            limit=2**22,
            cwd=_ROOT,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), PATIENCE)
        finally:
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()

    async def attack(self, name: str, **arguments: Any) -> Tally:
        """Carry out an attack once; what came of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"attack": name, **arguments}).encode() + b"\n")
        async with asyncio.timeout(_SECONDS):
            line = await self._process.stdout.readline()
        assert line, "the attacker ended"
        return {shape: Counter(outcomes) for shape, outcomes in json.loads(line).items()}

    async def carry_out(
        self,
        title: str,
        name: str,
        expected: Mapping[str, str | set[str]],
        *,
        log: str = "",
        allowed: Allowance | None = None,
        **arguments: Any,
    ) -> None:
        """Attack for as long as is measured, and judge it.

        Args:
            title: of the row.
            name: of the attack.
            expected: the one outcome that each shape must have, or those that it may have.
            log: what a person is told; nothing when there is nothing to tell.
            allowed: what may be left behind, and how high the node's memory may rise.
            arguments: of the attack.
        """
        await tried_again(self._measure)(title, name, expected, log, allowed, arguments)

    async def _measure(
        self,
        title: str,
        name: str,
        expected: Mapping[str, str | set[str]],
        log: str,
        allowed: Allowance | None,
        arguments: Mapping[str, Any],
    ) -> None:
        before = len(await self.scene.ask("logs", lines=100_000))
        tally: Tally = {}
        rounds = 0
        async with self.scene.attack(SUITE, title, TARGET, allowed) as attack:
            began = asyncio.get_running_loop().time()
            while not attack.measured or not rounds:
                for shape, outcomes in (await self.attack(name, **arguments)).items():
                    tally.setdefault(shape, Counter()).update(outcomes)
                rounds += 1
            lasted = asyncio.get_running_loop().time() - began
            attack.gets = shown(tally)
            if log:
                attack.log = await self.scene.log_line("http-server", log)
        _judge(tally, expected)
        lines = len(await self.scene.ask("logs", lines=100_000)) - before
        most = 20 + 20 * (lasted + 1)
        assert lines <= most, f"{title}: the attack filled the log with {lines} lines"


def _judge(tally: Tally, expected: Mapping[str, str | set[str]]) -> None:
    may_be = {
        shape: {outcome} if isinstance(outcome, str) else outcome for shape, outcome in expected.items()
    }
    wrong = {
        shape: dict(tally[shape]) for shape in tally if not set(tally[shape]) <= may_be.get(shape, set())
    }
    assert not wrong, f"not what was expected: {wrong}"
    assert set(tally) == set(may_be), f"not tried: {set(may_be) - set(tally)}"


def shown(tally: Tally) -> str:
    """All outcomes, the most frequent first."""
    total: Counter[str] = Counter()
    for outcomes in tally.values():
        total.update(outcomes)
    return "\n".join(f"{count:,} x {outcome}" for outcome, count in total.most_common(8))
