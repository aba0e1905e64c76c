"""What one run of a process uses, as its worker reports it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Usage:
    """The fields of USAGE in their order. Totals are of the run, rates of the second before the report."""

    cpu_seconds: float = 0.0
    memory_bytes: int = 0
    """0: not known."""
    message_seconds: float = 0.0
    """CPU seconds charged to the message in hand, or to the last one."""
    cpu_share: float = 0.0
    """CPU seconds a second."""
    calls: int = 0
    """Host calls."""
    calls_per_second: int = 0
    held_seconds: float = 0.0
    """How long it was held back for using more than it may each second."""
    lines_dropped: int = 0
    """Log lines over its rate."""

    def after(self, earlier: Usage) -> Usage:
        """The same with the totals of earlier runs added."""
        return replace(
            self,
            cpu_seconds=self.cpu_seconds + earlier.cpu_seconds,
            calls=self.calls + earlier.calls,
            held_seconds=self.held_seconds + earlier.held_seconds,
            lines_dropped=self.lines_dropped + earlier.lines_dropped,
        )


NOTHING: Final = Usage()
"""Of a process that does not run and never did."""
