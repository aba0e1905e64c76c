"""The task of a compiler subprocess. Imports nothing that is slow to load."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import asdict

REFUSED: Final = 3
"""The exit code of a refusal."""
NO_ROOM: Final = 4
"""The exit code when the disk is full."""
NO_MEMORY: Final = 5
"""The exit code when memory or address space runs out."""
WRONG_ENGINE: Final = 6
"""The exit code when the installed engine is not the one that this host was written for."""

SHARED_BYTES: Final = 128 * 1024
"""Of code in a shared core module. Compiling this much takes 0.1 s, half as long as starting the
subprocess that each of them gets, so sharing smaller ones would not pay.
"""


class Task(StrEnum):
    """What to do with the input."""

    COMPONENT = "component"
    """Plan and compile a component, leaving modules uncompiled that components may share."""
    FAULT = "fault"
    """Compile an invalid component as a whole, for the engine's error message. Has no result."""
    MODULE = "module"
    """Compile a core module without anything else."""
    CHECK = "check"
    """Check the engine, as before each of the others. The input is empty, and so is the result."""


class Job(Struct, frozen=True):
    """The subprocess's command line."""

    task: Task
    parent: int
    """The pid of its parent."""
    reply_fd: int
    component_bytes: int
    memory_bytes: int
    output_bytes: int
    """Bytes of output."""
    cpu_seconds: int

    def to_argument(self) -> str:
        """The job as one argument."""
        return json.dumps(asdict(self))

    @classmethod
    def from_argument(cls, text: str) -> Job:
        """Decode `to_argument`'s result."""
        job = json.loads(text)
        return cls(**{**job, "task": Task(job["task"])})
