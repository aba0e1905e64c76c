"""A loop whose time is driven, not waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

Value = TypeVar("Value")

SECONDS: Final = 80.0
"""A limit in seconds; one more or less is `MOMENT`. Sums of them, and a fifth, are exact."""

MOMENT: Final = 2.0**-10

_STEP: Final = 1.0
_TURNS: Final = 20


class DrivenLoop(asyncio.SelectorEventLoop):
    """A loop whose clock stands still until it is told to go on."""

    now = 1024.0

    def time(self) -> float:
        return self.now

    async def pass_by(self, seconds: float) -> None:
        """Let time pass at once, and then everything happen that is due."""
        await settled()
        self.now += seconds
        await settled()

    async def go_through(self, seconds: float) -> None:
        """Let time pass a second at a time: whoever looks at the clock in between finds it on time."""
        while seconds >= 2 * _STEP:
            await self.pass_by(_STEP)
            seconds -= _STEP
        await self.pass_by(seconds)


async def settled() -> None:
    """Let everything happen that can without more time."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


async def in_driven_time(play: Callable[[DrivenLoop], Coroutine[Any, Any, Value]]) -> Value:
    """What comes of a coroutine in a loop of its own, in a thread of its own."""

    async def of_loop() -> Value:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, DrivenLoop)
        return await play(loop)

    def run() -> Value:
        with asyncio.Runner(loop_factory=DrivenLoop) as runner:
            return runner.run(of_loop())

    return await asyncio.to_thread(run)
