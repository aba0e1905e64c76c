"""Real NATS servers and real nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.e2e.conftest import compiled, new_home, nothing_left_over

from .servers import Server, running

__all__ = ["compiled", "new_home", "nothing_left_over"]


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[Server]:
    """A NATS server with JetStream."""
    async with running(tmp_path / "nats", 1) as servers:
        yield servers[0]
