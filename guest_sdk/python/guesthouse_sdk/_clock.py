"""The clock that timers go by: Python's own in a component, and the fake host's in tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guesthouse_sdk._native.clock import monotonic
else:
    try:
        from time import monotonic

        import wit_world.imports  # noqa: F401 - only whether this is a component
    except ModuleNotFoundError as missing:
        if missing.name != "wit_world":
            raise
        from guesthouse_sdk._native.clock import monotonic

__all__ = ["monotonic"]
