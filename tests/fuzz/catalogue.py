"""Every parser of bytes from outside, given bytes that nobody meant for it.

A *target* is a function of some bytes that raises when a promise is broken: an error that is not the documented
one, something accepted that should not be, a round trip that changes. `test_fuzz.py` runs each on its seeds and on
some hundreds of mutations, always the same; `make fuzz` goes on for as long as it is told, guided by coverage.
An input that broke something stays in `seeds/TARGET/` for good.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SEEDS: Final = Path(__file__).parent / "seeds"
MODULES: Final = (
    "dashboard_messages",
    "words",
    "http_pieces",
    "json_forms",
    "packages",
    "link",
    "secrets",
    "guests",
    "sockets",
    "gateways",
)


@dataclass(frozen=True, slots=True)
class Target:
    """One parser. `runs` is how many mutations a bounded run gives it."""

    name: str
    run: Callable[[bytes], None]
    runs: int

    def seeds(self) -> list[bytes]:
        """What it has been given before, and what it understands."""
        return [path.read_bytes() for path in sorted((SEEDS / self.name).iterdir())]


_TARGETS: Final[dict[str, Target]] = {}


def target(runs: int = 300) -> Callable[[Callable[[bytes], None]], Callable[[bytes], None]]:
    """Register a function as the target of its name."""

    def register(function: Callable[[bytes], None]) -> Callable[[bytes], None]:
        name = function.__name__
        assert name not in _TARGETS
        _TARGETS[name] = Target(name, function, runs)
        return function

    return register


def in_a_line(error: Exception, *parts: str) -> None:
    """Assert that an error is one line, of a length that a person reads, with these parts in it."""
    text = str(error)
    assert "\n" not in text
    assert len(text) < 2000
    assert all(part in text for part in parts)


def targets() -> dict[str, Target]:
    """All of them."""
    for module in MODULES:
        importlib.import_module(f"tests.fuzz.{module}")
    return dict(sorted(_TARGETS.items()))
