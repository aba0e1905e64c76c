"""Levels of single sources of the log, changed while the node runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from guesthouse.core.errors import GuesthouseError
from guesthouse.node.log_filter import LEVELS

MOST_SOURCES: Final = 1024
DEFAULT: Final = "default"
"""What has no level of its own: all lines are kept, those of info and above shown on standard error."""
_SHOWN: Final = LEVELS.index("info")


class BadLevel(GuesthouseError):
    """There is no such level, or too many sources have one."""


class LogLevels:
    """The least severe level of each source that has one: of a process, of a package, which stands for its processes
    without one, or of a part such as `http-server`.
    """

    def __init__(self) -> None:
        self._levels: dict[str, int] = {}

    def set(self, source: str, level: str) -> None:
        """Set a source's level.

        Args:
            source: a process, package or part.
            level: one of `LEVELS`, or `DEFAULT`.

        Raises:
            BadLevel: there is no such level, or too many sources have one.
        """
        if level == DEFAULT:
            self._levels.pop(source, None)
            return
        if level not in LEVELS:
            raise BadLevel(f"there is no level {level[:40]!a}: use {', '.join(LEVELS)} or {DEFAULT}")
        if source not in self._levels and len(self._levels) >= MOST_SOURCES:
            raise BadLevel(f"{MOST_SOURCES} sources have a level of their own: set some of them to {DEFAULT}")
        self._levels[source] = LEVELS.index(level)

    def all(self) -> Mapping[str, str]:
        """The levels that were set, by source."""
        return {source: LEVELS[level] for source, level in sorted(self._levels.items())}

    def keeps(self, source: str, level: str) -> bool:
        """Whether a line is kept."""
        if not self._levels:
            return True
        least = self._of(source)
        return least is None or LEVELS.index(level) <= least

    def shows(self, source: str, level: str) -> bool:
        """Whether a line that is kept is shown on standard error."""
        least = self._of(source) if self._levels else None
        return LEVELS.index(level) <= (_SHOWN if least is None else least)

    def _of(self, source: str) -> int | None:
        level = self._levels.get(source)
        return self._levels.get(source.partition(":")[2]) if level is None else level
