"""Paths in drives: `/package:publisher/drive/folder/file`. Pure.

A path is read once. Empty and `.` segments are left out, and `..` takes back the segment before it, by the text alone:
no link is followed, and nothing leads out of the package's drives. What is left is a key in a table, or lies in the
package's folder; either way it cannot name another package's.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from guesthouse.core.json_forms import BadRequest

MAX_PATH: Final = 1024
PACKAGE_DRIVE: Final = "pkg"
"""The drive that shows what came with the package; it can only be read."""


class DrivePath(Struct, frozen=True):
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


def is_nameable(text: str) -> bool:
    """Whether a path can have that text in it. A file name that is not UTF-8 is not printable."""
    return text.isprintable() and "\\" not in text


def drive_path(text: str, package: str) -> DrivePath | None:
    """Read a path; None when it is in another package's drives.

    Raises:
        BadRequest: it is no path, names no drive, or leaves the package's drives.
    """
    if len(text) > MAX_PATH or not is_nameable(text):
        raise BadRequest(f"a path is of printable characters and no backslashes, at most {MAX_PATH}")
    first, *given = [segment for segment in text.split("/") if segment not in ("", ".")] or [""]
    segments: list[str] = []
    for segment in given:
        if segment != "..":
            segments.append(segment)
        elif not segments:
            raise BadRequest("a path stays in the drives of its package")
        else:
            segments.pop()
    if not segments or first == "..":
        raise BadRequest("a path is /package:publisher/drive/…")
    return DrivePath(package, tuple(segments)) if first == package else None
