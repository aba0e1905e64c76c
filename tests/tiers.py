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
