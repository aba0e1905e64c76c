"""File names of compiled components. Imports nothing that is slow to load."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from guesthouse.core.json_text import read_json

PLAN_SUFFIX: Final = ".plan"
"""Of a plan's file: JSON."""

SHARED_SUFFIX: Final = ".shared"
"""Of a file beside the plan, if core modules of it are shared with other components: JSON that maps their numbers to
the names of the compiled modules' files in the same folder.
"""
MODULE_SUFFIX: Final = ".module"
"""Of a compiled core module that components share."""

PLAN_VERSION: Final = 14
"""Increase it when plans or compiled modules change in form or content: the compile cache then ignores old
ones.
"""


def core_path(plan: Path, number: int) -> Path:
    """The path of a compiled core module by its number, beside its plan."""
    return plan.with_suffix(f".{number}.core")


def module_paths(plan: Path, count: int) -> list[Path]:
    """The paths of a plan's `count` compiled core modules.

    Raises:
        OSError, ValueError: the list of shared modules is damaged.
    """
    shared = shared_names(plan)
    paths = [core_path(plan, number) for number in range(count)]
    for number, name in shared.items():
        if not 0 <= number < count:
            raise ValueError(f"a plan of {count} modules shares the number {number}")
        paths[number] = plan.with_name(name)
    return paths


def shared_names(plan: Path) -> dict[int, str]:
    """The file names of shared modules, by their numbers in the plan.

    Raises:
        OSError, ValueError: the list cannot be read.
    """
    try:
        return names_in(plan.with_suffix(SHARED_SUFFIX).read_bytes())
    except FileNotFoundError:
        return {}


def names_in(text: bytes) -> dict[int, str]:
    """Decode a file that ends in `SHARED_SUFFIX`.

    Raises:
        ValueError: it is invalid.
    """
    written: Any = read_json(text)
    if not isinstance(written, dict) or not all(_is_name(name) for name in written.values()):
        raise ValueError("it is not said which modules are shared")
    return {int(number): name for number, name in written.items()}


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name.endswith(MODULE_SUFFIX) and name == Path(name).name
