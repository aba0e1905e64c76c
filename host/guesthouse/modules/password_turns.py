"""Whose password is next: the packages take turns, and each rests after its own. Pure: the caller passes the time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

JobT = TypeVar("JobT")

MOST_WAITING: Final = 16
"""Jobs of one package that wait."""
REST: Final = 3.0
"""How long a package rests, as a multiple of what its job took: no package has more than a quarter of a CPU."""


class PasswordTurns(Generic[JobT]):
    """Jobs that wait, by package.

    Args:
        wanted: whether somebody still waits for a job.
    """

    def __init__(self, wanted: Callable[[JobT], bool]) -> None:
        self._wanted = wanted
        self._waiting: dict[str, deque[JobT]] = {}  # whose turn is next comes first
        self._rests_until: dict[str, float] = {}

    def add(self, package: str, job: JobT) -> bool:
        """Add a job; returns False if too many of the package wait."""
        jobs = self._waiting.setdefault(package, deque())
        if len(jobs) >= MOST_WAITING:
            jobs = self._waiting[package] = deque(filter(self._wanted, jobs))
        if len(jobs) >= MOST_WAITING:
            return False
        jobs.append(job)
        return True

    def take(self, now: float) -> tuple[str, JobT] | None:
        """The next job of a package that does not rest, and the package."""
        for package in [name for name, until in self._rests_until.items() if until <= now]:
            del self._rests_until[package]
        for package in [name for name in self._waiting if name not in self._rests_until]:
            jobs = self._waiting.pop(package)
            while jobs:
                job = jobs.popleft()
                if self._wanted(job):
                    if jobs:
                        self._waiting[package] = jobs  # behind the others
                    return package, job
        return None

    def done(self, package: str, now: float, seconds: float) -> None:
        """A job of the package took so long."""
        self._rests_until[package] = now + REST * seconds

    def next_at(self) -> float | None:
        """When to look again, if jobs wait while their packages rest."""
        return min((self._rests_until.get(package, 0.0) for package in self._waiting), default=None)

    def forget(self, package: str) -> None:
        """Drop what waits of a package."""
        self._waiting.pop(package, None)
