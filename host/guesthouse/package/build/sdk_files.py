"""Locates the contract and the guest SDKs: in an installed Guesthouse, or in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from guesthouse.package.errors import BuildError

_PACKAGE: Final = Path(__file__).resolve().parents[2]
_PLACES: Final = (_PACKAGE, _PACKAGE.parent.parent)


def wit_folder() -> Path:
    """The folder of the contract's WIT files.

    Raises:
        BuildError: this installation lacks it.
    """
    return _folder("wit", "world.wit")


def sdk_folder(language: str) -> Path:
    """The folder of a language's guest SDK.

    Raises:
        BuildError: this installation lacks it.
    """
    return _folder(f"guest_sdk/{language}", "")


def _folder(name: str, member: str) -> Path:
    for place in _PLACES:
        if (place / name / member).exists():
            return place / name
    raise BuildError(f"this Guesthouse was installed without its {name} folder: install it again")
