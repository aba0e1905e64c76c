"""Which lines of the log somebody asks for. Pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from guesthouse.core.messages import LogLine

LEVELS: Final = ("error", "warning", "info", "debug")
"""The most severe first."""


class LogFilter(Struct, frozen=True):
    """Lines that meet all of this."""

    source: str = ""
    """A process, a part such as `node` or `worker-0`, or a package, which stands for its processes; empty for all."""
    level: str = "debug"
    """The least severe level."""
    since: float = 0.0
    """Unix seconds."""
    text: str = ""
    """What the text has in it, whatever the case."""

    def takes(self, line: LogLine) -> bool:
        """Whether a line meets it."""
        return (
            line.time >= self.since
            and LEVELS.index(line.level) <= LEVELS.index(self.level)
            and (not self.source or line.source == self.source or line.source.endswith(f":{self.source}"))
            and (not self.text or self.text.lower() in line.text.lower())
        )


EVERYTHING: Final = LogFilter()
