"""Paths in drives: `/package:publisher/drive/folder/file`. Pure.

A path is read once, strictly: no empty, `.` or `..` segment and nothing that means something else elsewhere. What
it names is a key in a table, or lies in the package's folder; either way it cannot name another package's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from guesthouse.runtime.forms import BadRequest, encodable

MAX_PATH: Final = 1024
PACKAGE_DRIVE: Final = "pkg"
"""The drive that shows what came with the package; it can only be read."""


@dataclass(frozen=True, slots=True)
class DrivePath:
    """A path in one of a package's drives."""

    package: str
    segments: tuple[str, ...]
    """The drive first."""

    def __str__(self) -> str:
        return "/" + "/".join((self.package, *self.segments))

    @property
    def key(self) -> str:
        """The path without the package."""
        return "/".join(self.segments)

    @property
    def in_package(self) -> bool:
        """Whether it names what came with the package."""
        return self.segments[0] == PACKAGE_DRIVE


def drive_path(text: str, package: str) -> DrivePath | None:
    """Read a path; None when it is in another package's drives.

    Raises:
        BadRequest: it is no path, or names no drive.
    """
    if len(text) > MAX_PATH or not text.isprintable():
        raise BadRequest(f"a path is of printable characters, at most {MAX_PATH}")
    first, *segments = encodable(text).strip("/").split("/")
    if not segments or any(_odd(segment) for segment in segments):
        raise BadRequest("a path is /package:publisher/drive/…, without empty, '.' or '..' parts")
    return DrivePath(package, tuple(segments)) if first == package else None


def _odd(segment: str) -> bool:
    return segment in ("", ".", "..") or "\\" in segment
