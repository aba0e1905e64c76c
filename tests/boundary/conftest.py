"""Each test of the boundary is made for components that run as a whole and for those that are taken apart. Where guests
call the host, it is made once more with host calls that are compiled as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from guesthouse.wasm.binary import unused_exports

from .lanes import Lane

_CALL_THE_HOST: Final = (
    "test_allocators",
    "test_canonical_handles",
    "test_canonical_resources",
    "test_canonical_traps",
    "test_conversions",
    "test_deaths",
    "test_fibers",
    "test_round_trips",
)

_EACH_LANE: Final = ("test_conversions", "test_deaths")
"""What runs in each lane in every run of tests; the others run there when all tests do."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    name = metafunc.module.__name__.rpartition(".")[2]
    lanes = ["apart"] if name.startswith("test_canonical") else ["whole", "apart"]
    lanes += ["frequent"] if name in _CALL_THE_HOST else []
    always = lanes if name in _EACH_LANE else ["apart"]
    chosen = [lane if lane in always else pytest.param(lane, marks=pytest.mark.thorough) for lane in lanes]
    metafunc.parametrize("lane", chosen, indirect=True, scope="module")


@pytest.fixture(scope="module", autouse=True)
def _slim() -> Iterator[None]:
    """What is taken apart keeps the exports that it uses, and no others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unused_exports, "LEAST_UNUSED", 1)
        yield


@pytest.fixture(scope="module", autouse=True)
def lane(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which of these, while the module's tests run."""
    Lane.apart, Lane.frequent = request.param != "whole", request.param == "frequent"
    yield request.param
    Lane.apart = Lane.frequent = False
