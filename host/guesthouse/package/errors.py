"""Errors in packages: one line that names the file, the reason and the remedy."""

from __future__ import annotations

from guesthouse.core.errors import GuesthouseError


class PackageError(GuesthouseError):
    """A package, its manifest or its archive cannot be used."""


class CompileError(GuesthouseError):
    """A file is not a component, or cannot be compiled within the limits."""


class CompileUnfinished(CompileError):
    """The compiler was killed or timed out: the component may be fine."""


class BuildError(GuesthouseError):
    """A package's sources could not be built. `output` has the tool chain's messages."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output
