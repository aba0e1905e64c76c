"""Faults are put into real nodes: their fixtures are those of `tests/e2e`."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.e2e.conftest import compiled, new_home, nothing_left_over, start

__all__ = ("compiled", "new_home", "nothing_left_over", "start")

TEST_SECONDS = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that takes too long fails as any other does, so that what it started is stopped."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS, method="signal"))
