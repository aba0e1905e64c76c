"""What the files of a component that was taken apart are called. Imports nothing that is slow to load."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from guesthouse.core.json_text import read_json

PLAN_SUFFIX: Final = ".plan"
"""Of the plan's file: its JSON."""

SHARED_SUFFIX: Final = ".shared"
"""Of a file beside the plan, if core modules of it are shared with other components: JSON, which has the name of
the compiled module's file in the same folder for each of their numbers.
"""
MODULE_SUFFIX: Final = ".module"
"""Of a compiled core module that components share."""

PLAN_VERSION: Final = 8
"""To be raised when plans or modules change, in their form or in what they make of a component: the compile cache then
holds none of the old ones.
"""


def core_path(plan: Path, number: int) -> Path:
    """Where the compiled core module of that number stands, beside its plan."""
    return plan.with_suffix(f".{number}.core")


def module_paths(plan: Path, count: int) -> list[Path]:
    """Where each compiled core module of a plan stands, of which there are so many.

    Raises:
        OSError, ValueError: what says which are shared is damaged.
    """
    shared = shared_names(plan)
    paths = [core_path(plan, number) for number in range(count)]
    for number, name in shared.items():
        if not 0 <= number < count:
            raise ValueError(f"a plan of {count} modules shares the number {number}")
        paths[number] = plan.with_name(name)
    return paths


def shared_names(plan: Path) -> dict[int, str]:
    """The names of the files of shared modules, by the number that each has in the plan.

    Raises:
        OSError, ValueError: they cannot be read.
    """
    try:
        return names_in(plan.with_suffix(SHARED_SUFFIX).read_bytes())
    except FileNotFoundError:
        return {}


def names_in(text: bytes) -> dict[int, str]:
    """What a file that ends in `SHARED_SUFFIX` says.

    Raises:
        ValueError: nothing of the kind.
    """
    written: Any = read_json(text)
    if not isinstance(written, dict) or not all(_is_name(name) for name in written.values()):
        raise ValueError("it is not said which modules are shared")
    return {int(number): name for number, name in written.items()}


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name.endswith(MODULE_SUFFIX) and name == Path(name).name
