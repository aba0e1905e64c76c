"""Resource usage of a run, as reported by its worker."""

from typing import Final, Self

from msgspec.structs import replace

from guesthouse.link.schema import U64, Message, Seconds


class Usage(Message, frozen=True):
    """Totals are of the run; rates are of the second before the report."""

    cpu_seconds: Seconds = 0.0
    memory_bytes: U64 = 0
    """0 if unknown."""
    message_seconds: Seconds = 0.0
    """CPU seconds of the current message, or of the last one."""
    cpu_share: Seconds = 0.0
    """CPU seconds per second."""
    calls: U64 = 0
    """Host calls."""
    calls_per_second: U64 = 0
    held_seconds: Seconds = 0.0
    """Time that it was throttled for exceeding its rates."""
    lines_dropped: U64 = 0
    """Log lines dropped for exceeding its rate."""

    def after(self, earlier: Self) -> Self:
        """Add the totals of earlier runs."""
        return replace(
            self,
            cpu_seconds=self.cpu_seconds + earlier.cpu_seconds,
            calls=self.calls + earlier.calls,
            held_seconds=self.held_seconds + earlier.held_seconds,
            lines_dropped=self.lines_dropped + earlier.lines_dropped,
        )


NOTHING: Final = Usage()
"""Usage of a process without runs."""
