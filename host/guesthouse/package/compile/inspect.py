"""What a component imports and exports, and whether this host can run it, and why not."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from guesthouse.core.config import PackageLimits
from guesthouse.package.compile.compiler import Compiler
from guesthouse.package.compile.description import Item


class Inspection(Struct, frozen=True):
    """A component, for people."""

    file: Path
    imports: tuple[Item, ...]
    exports: tuple[Item, ...]
    problems: tuple[str, ...]
    """Why this host cannot run it, a line each."""

    @property
    def runnable(self) -> bool:
        """Whether this host can run it."""
        return not self.problems


async def inspect_component(file: Path, limits: PackageLimits, cache_dir: Path) -> Inspection:
    """Inspect a component. It is parsed and compiled in a subprocess with limits, never here.

    Raises:
        CompileError: the file is no component, or cannot be compiled; one line with the remedy.
    """
    description = await Compiler(cache_dir, limits).described(file)
    return Inspection(file, description.imports, description.exports, description.problems)
