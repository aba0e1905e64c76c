"""A package as the node uses it: what to run, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from msgspec import Struct

from guesthouse.core.address import ProcessId

Right: TypeAlias = tuple[ProcessId, str]
"""A process and the JSON params of a capability."""

OnExit = Literal["none", "restart"]


class ProcessSpec(Struct, frozen=True):
    """One process of a package."""

    id: ProcessId
    component: Path
    """Its `.wasm`, a regular file that exists."""
    on_exit: OnExit
    public: bool
    """Whether any process may message it."""
    ui: Path | None
    """A folder served at `/<process-id>/` to logged-in clients."""
    requests: tuple[Right, ...] = ()
    """Capabilities that its manifest asks for: who issues each, and its params."""
    grants: tuple[Right, ...] = ()
    """Capabilities of its own that its manifest grants: to whom, and the params of each."""
    handover: bool = False
    """Whether it is asked to hand over before another version takes its place."""
    version: str = "0"
    """Its package's version."""
    named: bool = True
    """Whether what others grant to a process of its name is for it. Not for a child: its parent chose the name."""


class Package(Struct, frozen=True):
    """A package that was loaded: every path in it exists and lies inside its folder."""

    name: str
    publisher: str
    version: str
    description: str
    source: Path
    """What the user named: the folder, the archive or the `.wasm`."""
    processes: tuple[ProcessSpec, ...]

    @property
    def id(self) -> str:
        """`package:publisher`."""
        return f"{self.name}:{self.publisher}"
