"""A guest in Python that does harm in the ways that Python has. The interpreter in it is as little trusted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import pytest
import pytest_asyncio
from tests.patience import tried_again
from tests.tiers import thorough_but

from guesthouse.control.control_client import CommandRefused

from ...e2e.packages import package
from ..harness import Scene
from .attackers import SUITE, begin, gone, installed

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def scene(shared_scene: Scene) -> Scene:
    return shared_scene


ENDED: Final = "ended alone; it starts again"
HARMS: Final = {
    "small_allocations": ("its limit of memory, or 1 s of CPU", "is not delivered again"),
    "recursion": (ENDED, "overflowed its stack"),
    "exits": ("its own end", "exited with code"),
    "raises": ("its own end", "returned"),
    "sleeps": ("its sleep", ""),
    "spins": ("1 s of CPU, in slices; then it is ended", "ran out of time"),
    "prints": ("200 lines a second, and 1 s of CPU", "ran out of time"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hydra(scene: Scene) -> AsyncIterator[str]:
    """The process id of a hydra, which is not started again by itself."""
    wasm = package("hydra") / "build/hydra.wasm"
    async with installed(scene, "hydra", wasm.read_bytes()) as process_id:
        yield process_id


async def _stands_ready(scene: Scene, process_id: str) -> None:
    """Give it a new run, whatever its last one does."""
    with suppress(CommandRefused):
        await scene.ask("stop", process=process_id)
    await scene.ask("restart", process=process_id)


FIRST: Final = (
    "small_allocations",
    "recursion",
    "exits",
    "prints",
)
"""The others show what these do once more."""


@pytest.mark.parametrize("harm", thorough_but(HARMS, *FIRST))
@tried_again
async def test_a_python_guest_that_does_harm_harms_itself_alone(scene: Scene, hydra: str, harm: str) -> None:
    gets, told = HARMS[harm]
    await _stands_ready(scene, hydra)
    async with scene.attack(SUITE, f"Python: {harm.replace('_', ' ')}", hydra) as attack:
        attack.gets = gets
        await begin(scene, hydra, harm)
        if told:
            attack.log = await scene.log_line(hydra, told)
            await gone(scene, hydra)
        while not attack.measured:
            await _stands_ready(scene, hydra)
            await begin(scene, hydra, harm)
            if told:
                await gone(scene, hydra)


@tried_again
async def test_a_python_guest_finds_no_environment_files_or_network(scene: Scene, hydra: str) -> None:
    await _stands_ready(scene, hydra)
    async with scene.attack(SUITE, "Python: files, sockets, environment", hydra) as attack:
        attack.gets = "nothing is there"
        while True:
            (answer,) = await scene.ask("send", address=hydra, body="reaches_out", seconds=20)
            assert answer["body"] == ""
            if attack.measured:
                break


async def test_a_python_guest_that_is_gone_answers_nobody(scene: Scene, hydra: str) -> None:
    await _stands_ready(scene, hydra)
    await begin(scene, hydra, "exits")
    await gone(scene, hydra)
    with pytest.raises(CommandRefused, match="no-such-process"):
        await begin(scene, hydra, "sleeps")
