from __future__ import annotations

import asyncio

from guesthouse.package.compile.compile_turns import CompileTurns


class Asked:
    """Callers of some turns, whose blocks end when a test says so."""

    def __init__(self) -> None:
        self.turns = CompileTurns()
        self.order: list[str] = []
        self.began = asyncio.Queue[str]()
        self.end = asyncio.Semaphore(0)

    async def one(self, name: str) -> None:
        async with self.turns.turn(name[0]):
            self.order.append(name)
            self.began.put_nowait(name)
            await self.end.acquire()

    async def all(self, *names: str) -> list[asyncio.Task[None]]:
        """Have them ask one after the other; returns once the first has its turn."""
        tasks = [asyncio.create_task(self.one(name)) for name in names]
        await self.began.get()
        return tasks


async def test_packages_take_turns_and_each_keeps_its_order() -> None:
    asked = Asked()
    tasks = await asked.all("a1", "a2", "a3", "a4", "b1", "b2", "c1")
    for _ in tasks:
        asked.end.release()
    await asyncio.gather(*tasks)
    assert asked.order == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


async def test_one_that_comes_late_waits_for_one_of_each_other_package() -> None:
    asked = Asked()
    tasks = await asked.all(*(f"a{number}" for number in range(50)))
    tasks += [asyncio.create_task(asked.one(name)) for name in ("b1", "b2")]
    await asyncio.sleep(0)
    for _ in tasks:
        asked.end.release()
    await asyncio.gather(*tasks)
    assert (asked.order.index("b1"), asked.order.index("b2")) == (2, 4)


async def test_who_is_cancelled_while_waiting_or_with_the_turn_given_holds_up_nobody() -> None:
    asked = Asked()
    async with asked.turns.turn("a"):
        waits, given, last = [asyncio.create_task(asked.one(name)) for name in ("b1", "c1", "d1")]
        await asyncio.sleep(0)
        waits.cancel()
        await asyncio.gather(waits, return_exceptions=True)
    given.cancel()  # the turn is its own by now, and it has not run since
    asked.end.release()
    await last
    await asyncio.gather(given, return_exceptions=True)
    assert asked.order == ["d1"]
    async with asked.turns.turn("e"):
        pass
    assert not asked.turns._busy
    assert not asked.turns._waiting
