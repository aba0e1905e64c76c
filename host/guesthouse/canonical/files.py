"""What the files of a component that was taken apart are called. Imports nothing that is slow to load."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PLAN_SUFFIX: Final = ".plan"
"""Of the plan's file: its JSON."""

PLAN_VERSION: Final = 2
"""To be raised when plans change, in their form or in what they make of a component: the compile cache then
holds none of the old ones.
"""


def core_path(plan: Path, number: int) -> Path:
    """Where the compiled core module of that number stands, beside its plan."""
    return plan.with_suffix(f".{number}.core")
