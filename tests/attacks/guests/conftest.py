from __future__ import annotations

import pytest

from guesthouse.config import MIB

CPU_SECONDS = 1.0
MEMORY_BYTES = 64 * MIB


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    """Small limits, so that attackers come up against them soon."""
    return {
        "process_cpu_seconds_per_message": CPU_SECONDS,
        "process_memory_bytes": MEMORY_BYTES,
        "restart_first_delay": 0.1,
    }
