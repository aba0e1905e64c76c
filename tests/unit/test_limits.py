"""No limit without a test at its edge."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from guesthouse.core.config import Settings

from .http_server import test_limits as of_connections
from .kernel import test_limits as of_kernel
from .kernel import test_worker_limits as of_workers
from .package import test_limits as of_packages
from .worker import test_limits as of_guests

LIMITLESS: Final = frozenset(("http", "monitoring", "api", "tracing", "cluster", "workers", "gateways"))
"""Sections and two numbers that limit nothing; what is no number limits nothing either."""

EDGES: Final = frozenset(
    (
        *of_workers.EDGES,
        "drain_seconds",  # tests/e2e/test_draining.py
        *(f"connections.{name}" for name in of_connections.EDGES),
        *(f"process.{name}" for name in of_guests.OF_SETTINGS),
        *(f"process.{name}" for name in of_kernel.OF_PROCESSES),
        *(f"restart.{name}" for name in of_kernel.OF_RESTARTS),
        *(f"package.{name}" for name in (*of_kernel.OF_PACKAGES, *of_packages.EDGES)),
    )
)


def test_every_limit_of_the_settings_is_tested_at_its_edge() -> None:
    limits: set[str] = set()
    for name in Settings.__struct_fields__:
        value = getattr(Settings(), name)
        if name in LIMITLESS:
            continue
        if isinstance(value, Struct):
            limits |= {f"{name}.{inner}" for inner in value.__struct_fields__}
        elif type(value) in (int, float):
            limits.add(name)
    assert limits == EDGES
