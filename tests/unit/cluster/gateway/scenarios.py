"""The tests of `tests/unit/http_server`, to be run again where clients' sockets are at a gateway: a local one, or
another node than that of their processes.

What a gateway has to do with runs again in each run of tests (`of_module`): upgrades, frames, compression, encryption,
hostile bytes, back-pressure, limits, keeping alive, closing. What is decided behind it, by the request that it passed
on, runs again in the whole run (`again`).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest


def of_module(name: str, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a module of `tests/unit/http_server` defines, but for some of its tests."""
    found = vars(import_module(f"tests.unit.http_server.{name}"))
    missing = [test for test in without if test not in found]
    assert not missing, f"{name} has no {missing}"
    return {key: value for key, value in found.items() if key[:2] != "__" and key not in without}


def again(name: str, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The same, all marked `thorough`."""
    found = of_module(name, without)
    marks = found.get("pytestmark", [])
    return {**found, "pytestmark": [*(marks if isinstance(marks, list) else [marks]), pytest.mark.thorough]}
