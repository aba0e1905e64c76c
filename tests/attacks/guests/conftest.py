"""The scene that those of the modules share which need no settings of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from guesthouse.core.config import MIB

from ...e2e.conftest import home_in
from ..figures import Row
from ..harness import NEIGHBOURS, Effort, Packed, Scene, node_with_neighbours

CPU_SECONDS = 1.0
MEMORY_BYTES = 64 * MIB


def small_limits() -> dict[str, object]:
    """Attackers come up against them soon."""
    return {
        "process_cpu_seconds_per_message": CPU_SECONDS,
        "process_memory_bytes": MEMORY_BYTES,
        "restart_first_delay": 0.1,
    }


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    return small_limits()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_scene(
    tmp_path_factory: pytest.TempPathFactory, compiled: Path, packed: Packed, effort: Effort, rows: list[Row]
) -> AsyncIterator[Scene]:
    """A scene with small limits. Tests on it need `pytest.mark.asyncio(loop_scope="session")`."""
    home = home_in(tmp_path_factory.mktemp("attacks"), compiled)
    async with node_with_neighbours(home, packed, effort, rows, small_limits(), NEIGHBOURS, {}) as scene:
        yield scene
