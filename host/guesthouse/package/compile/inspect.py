"""What a component imports and exports, and whether and why not this host can run it."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from guesthouse.core.config import PackageLimits, ProcessLimits
from guesthouse.package.compile.compiler import Compiler
from guesthouse.package.compile.description import Item


class Inspection(Struct, frozen=True):
    """The result of inspecting a component."""

    file: Path
    imports: tuple[Item, ...]
    exports: tuple[Item, ...]
    problems: tuple[str, ...]
    """Why this host cannot run it, a line each."""

    @property
    def runnable(self) -> bool:
        """Whether this host can run it."""
        return not self.problems


async def inspect_component(
    file: Path, limits: PackageLimits, cache_dir: Path, process: ProcessLimits | None = None
) -> Inspection:
    """Inspect a component. It is parsed and compiled in a limited subprocess only.

    Args:
        file: the component.
        limits: of compiling.
        cache_dir: of the compile cache.
        process: the limits under which it would run; the settings' defaults by default.

    Raises:
        CompileError: the file is not a component, or cannot be compiled; one line with the remedy.
    """
    description = await Compiler(cache_dir, limits).described(file)
    problems = description.all_problems(process or ProcessLimits())
    return Inspection(file, description.imports, description.exports, problems)
