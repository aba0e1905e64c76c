"""The tests of `tests/unit/http_server`, to be run again where processes are at another node than their clients."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def of_module(name: str, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a module of `tests/unit/http_server` defines, but for some of its tests."""
    found = vars(import_module(f"tests.unit.http_server.{name}"))
    missing = [test for test in without if test not in found]
    assert not missing, f"{name} has no {missing}"
    return {key: value for key, value in found.items() if key[:2] != "__" and key not in without}
