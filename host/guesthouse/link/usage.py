"""What one run of a process uses, as its worker reports it."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from guesthouse.link.schema import U64, Message, Seconds


class Usage(Message, frozen=True):
    """Totals are of the run, rates of the second before the report."""

    cpu_seconds: Seconds = 0.0
    memory_bytes: U64 = 0
    """0: not known."""
    message_seconds: Seconds = 0.0
    """CPU seconds charged to the message in hand, or to the last one."""
    cpu_share: Seconds = 0.0
    """CPU seconds a second."""
    calls: U64 = 0
    """Host calls."""
    calls_per_second: U64 = 0
    held_seconds: Seconds = 0.0
    """How long it was held back for using more than it may each second."""
    lines_dropped: U64 = 0
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
