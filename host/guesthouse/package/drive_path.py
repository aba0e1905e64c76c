"""Paths in drives: `/package:publisher/drive/folder/file`. Pure.

Empty and `.` segments are removed, and `..` removes the segment before it, lexically:
no link is followed, and nothing leads out of the package's drives. The result is a key in a table, or a path in the
package's folder; either way it cannot name another package's.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from guesthouse.core.json_forms import BadRequest

MAX_PATH: Final = 1024
PACKAGE_DRIVE: Final = "pkg"
"""The read-only drive of files that came with the package."""


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
        """Whether it names a file that came with the package."""
        return self.segments[0] == PACKAGE_DRIVE


def is_nameable(text: str) -> bool:
    """Whether a path may contain that text. File names that are not UTF-8 are not printable."""
    return text.isprintable() and "\\" not in text


def drive_path(text: str, package: str) -> DrivePath | None:
    """Parse a path; None when it is in another package's drives.

    Raises:
        BadRequest: it is not a path, names no drive, or leaves the package's drives.
    """
    if len(text) > MAX_PATH or not is_nameable(text):
        raise BadRequest(f"a path has at most {MAX_PATH} characters, printable and no backslashes")
    first, *given = [segment for segment in text.split("/") if segment not in ("", ".")] or [""]
    segments: list[str] = []
    for segment in given:
        if segment != "..":
            segments.append(segment)
        elif not segments:
            raise BadRequest("a path must not leave the drives of its package")
        else:
            segments.pop()
    if not segments or first == "..":
        raise BadRequest("a path has the form /package:publisher/drive/…")
    return DrivePath(package, tuple(segments)) if first == package else None
