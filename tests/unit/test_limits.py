"""No limit without a test at its edge."""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from guesthouse.config import Settings

from .http_server import test_limits as of_connections
from .kernel import test_limits as of_kernel
from .package import test_limits as of_packages
from .worker import test_limits as of_guests

LIMITLESS: Final = frozenset(("http",))
"""Sections that limit nothing."""

EDGES: Final = frozenset(
    (
        *(f"connections.{name}" for name in of_connections.EDGES),
        *(f"process.{name}" for name in of_guests.OF_SETTINGS),
        *(f"process.{name}" for name in of_kernel.OF_PROCESSES),
        *(f"restart.{name}" for name in of_kernel.OF_RESTARTS),
        *(f"package.{name}" for name in (*of_kernel.OF_PACKAGES, *of_packages.EDGES)),
    )
)


def test_every_limit_of_the_settings_is_tested_at_its_edge() -> None:
    sections = {each.name: getattr(Settings(), each.name) for each in fields(Settings)}
    limits = {
        f"{section}.{each.name}"
        for section, settings in sections.items()
        if hasattr(settings, "__dataclass_fields__") and section not in LIMITLESS
        for each in fields(settings)
    }
    assert limits == EDGES
