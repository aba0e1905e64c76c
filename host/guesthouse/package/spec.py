"""A package as the node uses it."""

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
    """Its `.wasm`, an existing regular file."""
    on_exit: OnExit
    public: bool
    """Whether any process may message it."""
    ui: Path | None
    """A folder served at `/<process-id>/` to logged-in clients."""
    requests: tuple[Right, ...] = ()
    """Capabilities that its manifest requests: issuer and params."""
    grants: tuple[Right, ...] = ()
    """Capabilities of its own that its manifest grants: receiver and params."""
    handover: bool = False
    """Whether it gets a handover request before another version replaces it."""
    version: str = "0"
    """Its package's version."""
    named: bool = True
    """Whether it gets what others grant to a process of its name. Not a child process, whose parent chose the name."""
    of_package: tuple[Right, ...] = ()
    """Capabilities that the manifest requests for any process of the package."""


class Package(Struct, frozen=True):
    """A loaded package: every path in it exists and is inside its folder."""

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
