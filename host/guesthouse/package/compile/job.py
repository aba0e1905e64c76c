"""What a compiler subprocess is told to do. Imports nothing that is slow to load."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import asdict

REFUSED: Final = 3
"""The exit code of a refusal."""
NO_ROOM: Final = 4
"""The exit code when the result cannot be written for want of room on the disk."""
NO_MEMORY: Final = 5
"""The exit code when memory is wanting, or addresses for it."""

SHARED_BYTES: Final = 128 * 1024
"""Of code in a core module that components share. To compile as much takes 0.1 s, half as long as to start the
subprocess that each of them gets: modules with less would cost more, when they are new, than they ever save.
"""


class Task(StrEnum):
    """What to make of what is read."""

    COMPONENT = "component"
    """A component is taken apart, and those of its modules are handed back that others may share."""
    FAULT = "fault"
    """A component that has a fault is compiled as one, so that the engine says what it is. Makes nothing."""
    MODULE = "module"
    """A core module is compiled, and nothing else seen."""


class Job(Struct, frozen=True):
    """What the subprocess is told on its command line."""

    task: Task
    parent: int
    """The OS process id of whoever started it."""
    reply_fd: int
    component_bytes: int
    memory_bytes: int
    output_bytes: int
    """What it may write."""
    cpu_seconds: int

    def to_argument(self) -> str:
        """The job as one argument."""
        return json.dumps(asdict(self))

    @classmethod
    def from_argument(cls, text: str) -> Job:
        """Read what `to_argument` gave."""
        job = json.loads(text)
        return cls(**{**job, "task": Task(job["task"])})
