"""What the tests of one function show once more with other parameters, and `make test` leaves to `make test ALL=1`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def thorough_but(values: Iterable[Any], *first: Any) -> list[Any]:
    """Parameters, all marked `thorough` but the first ones, which are enough to show what the test is about."""
    values = list(values)
    missing = [value for value in first if value not in values]
    assert not missing, f"{missing} are none of the parameters"
    return [value if value in first else pytest.param(value, marks=pytest.mark.thorough) for value in values]


def thorough_after(count: int, values: Iterable[Any], *, names: int = 1) -> list[Any]:
    """Parameters, all marked `thorough` but so many at the beginning.

    Args:
        count: of those that are not.
        values: of one name each, or tuples of as many as there are `names`.
        names: of the parameters.
    """
    values = list(values)
    assert 0 < count < len(values), f"there are {len(values)} parameters"
    return [*values[:count], *(_thorough(value, names) for value in values[count:])]


def _thorough(value: Any, names: int) -> Any:
    if hasattr(value, "marks"):  # it is of `pytest.param`
        return pytest.param(*value.values, marks=[*value.marks, pytest.mark.thorough], id=value.id)
    return pytest.param(*(value if names > 1 else (value,)), marks=pytest.mark.thorough)
