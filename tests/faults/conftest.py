"""Faults are put into real nodes: their fixtures are those of `tests/e2e`."""

from __future__ import annotations

from tests.e2e.conftest import compiled, new_home, nothing_left_over, start

__all__ = ("compiled", "new_home", "nothing_left_over", "start")
