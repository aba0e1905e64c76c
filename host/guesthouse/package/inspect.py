"""What a component imports and exports, and whether this host can run it, and why not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from guesthouse.config import PackageLimits
from guesthouse.package.compiler import Compiler
from guesthouse.package.description import Description, Item
from guesthouse.worker.calls import ENTRIES, RUN, offered

_ANY_NAMESPACE: Final = "guesthouse:process/"


@dataclass(frozen=True, slots=True)
class Inspection:
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
    problems = (*_import_problems(description), *_export_problems(description))
    return Inspection(file, description.imports, description.exports, problems)


def _import_problems(description: Description) -> tuple[str, ...]:
    problems = []
    for item in description.imports:
        if item.kind == "type":
            continue
        if item.kind != "interface":
            problems.append(f"imports the {item.kind} {item.name}, which this host does not offer")
            continue
        missing = [name for name in item.functions if not offered(item.name, name)]
        if missing:
            problems.append(f"imports {', '.join(missing)} of {item.name}, which this host does not offer")
    return tuple(problems)


def _export_problems(description: Description) -> tuple[str, ...]:
    if any(_has(description, *entry) for entry in ENTRIES):
        return ()
    interface, function = RUN
    older = [item.name for item in description.exports if item.name.startswith(_ANY_NAMESPACE)]
    instead = f", but {', '.join(older)}" if older else ""
    return (f"exports no {interface} with {function!r}{instead}: build it for the world `process`",)


def _has(description: Description, interface: str | None, function: str) -> bool:
    """Whether a component has this entry; its types are looked at when it is linked."""
    if interface is None:
        return any(item.name == function and item.kind == "function" for item in description.exports)
    return any(item.name == interface and function in item.functions for item in description.exports)
