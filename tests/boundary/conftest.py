"""Each test of the boundary is made for components that run as a whole and for those that are taken apart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .lanes import Lane


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    alone = metafunc.module.__name__.rpartition(".")[2].startswith("test_canonical")
    metafunc.parametrize("lane", ["apart"] if alone else ["whole", "apart"], indirect=True, scope="module")


@pytest.fixture(scope="module", autouse=True)
def lane(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which of the two, while the module's tests run."""
    Lane.apart = request.param == "apart"
    yield request.param
    Lane.apart = False
