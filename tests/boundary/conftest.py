"""Each test of the boundary is made for components that run as a whole and for those that are taken apart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .lanes import Lane


@pytest.fixture(scope="module", autouse=True, params=["whole", "apart"])
def lane(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which of the two, while the module's tests run."""
    Lane.apart = request.param == "apart"
    yield request.param
    Lane.apart = False
