"""Storage of drives: the node's database, or the package's folder for the drive `pkg`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

from guesthouse.kernel.storage.tables import Table, usage_of
from guesthouse.package.drive_path import DrivePath, is_nameable

FILE_OVERHEAD: Final = 128
"""Bytes counted for a file besides its name and content."""
MOST_ENTRIES: Final = 10_000
"""Maximum names in a listing."""


FILES: Final = Table(
    "files",
    "(package TEXT, path TEXT, folder INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (package, path))",
    "package",
    f"LENGTH({{row}}.path) + LENGTH({{row}}.bytes) + {FILE_OVERHEAD}",
)


class DriveRefused(Exception):
    """The operation is refused; the text is the name of the error."""


class Absent(DriveRefused):
    """There is no such file or folder."""

    def __init__(self) -> None:
        super().__init__("NotFound")


class Drive(Protocol):
    """Files and folders. All methods may raise `DriveRefused`."""

    def read(self, path: DrivePath) -> bytes:
        """A file's content."""

    def length(self, path: DrivePath) -> int | None:
        """A file's length; None for a folder."""

    def entries(self, path: DrivePath) -> Iterable[tuple[str, bool]]:
        """Entries of a folder: names, and whether each is a folder."""

    def write(self, path: DrivePath, content: bytes) -> None:
        """Replace or create a file, and its parent folders."""

    def check_room(self, path: DrivePath, length: int) -> None:
        """Check that a file of this length fits the quota, in place of the current one."""

    def make_folder(self, path: DrivePath) -> None:
        """Create a folder and its parents."""

    def remove(self, path: DrivePath, *, folder: bool, whole: bool) -> None:
        """Remove a file, or a folder; one that is not empty only with `whole`."""


class StoredDrives:
    """Drives of one package in the database."""

    def __init__(self, connection: sqlite3.Connection, package: str, quota: int) -> None:
        self._connection = connection
        self._package = package
        self._quota = quota

    def read(self, path: DrivePath) -> bytes:
        """See `Drive`."""
        folder, content = self._row(path.key) or (1, b"")
        if folder:
            raise Absent
        return bytes(content)

    def length(self, path: DrivePath) -> int | None:
        """See `Drive`."""
        row = self._row(path.key)
        if row is None:
            raise Absent
        folder, content = row
        return None if folder else len(content)

    def entries(self, path: DrivePath) -> Iterable[tuple[str, bool]]:
        """See `Drive`."""
        if self.length(path) is not None:
            raise Absent
        prefix = path.key + "/"
        rows = self._connection.execute(
            "SELECT substr(path, ?), folder FROM files WHERE package = ? AND path > ? AND path < ? "
            "AND instr(substr(path, ?), '/') = 0 ORDER BY path LIMIT ?",
            (len(prefix) + 1, self._package, prefix, f"{path.key}0", len(prefix) + 1, MOST_ENTRIES),
        )
        return [(name, bool(folder)) for name, folder in rows]

    def write(self, path: DrivePath, content: bytes) -> None:
        """See `Drive`."""
        if len(path.segments) < 2 or path.in_package:
            raise DriveRefused("ReadOnly" if path.in_package else "AlreadyExists")
        row = self._row(path.key)
        if row is not None and row[0]:
            raise DriveRefused("AlreadyExists")
        self.check_room(path, len(content))
        self._make_folders(path.segments[:-1])
        self._connection.execute(
            "INSERT INTO files VALUES (?, ?, 0, ?) ON CONFLICT (package, path) DO UPDATE SET bytes = excluded.bytes",
            (self._package, path.key, content),
        )

    def check_room(self, path: DrivePath, length: int) -> None:
        """See `Drive`."""
        row = self._row(path.key)
        before = 0 if row is None else len(path.key) + len(row[1]) + FILE_OVERHEAD
        used = usage_of(self._connection, self._package, "files") - before
        folders = sum(len(part) + FILE_OVERHEAD for part in path.segments) * len(path.segments)
        if used + length + folders > self._quota:
            raise DriveRefused("QuotaExceeded")

    def make_folder(self, path: DrivePath) -> None:
        """See `Drive`."""
        row = self._row(path.key)
        if row is not None and not row[0]:
            raise DriveRefused("AlreadyExists")
        self.check_room(path, 0)
        self._make_folders(path.segments)

    def remove(self, path: DrivePath, *, folder: bool, whole: bool) -> None:
        """See `Drive`."""
        if (self.length(path) is None) is not folder:
            raise Absent
        if folder and not whole and self.entries(path):
            raise DriveRefused("NotEmpty")
        self._connection.execute(
            "DELETE FROM files WHERE package = ? AND (path = ? OR (path > ? AND path < ?))",
            (self._package, path.key, f"{path.key}/", f"{path.key}0"),  # "0" is the character after "/"
        )

    def _row(self, key: str) -> tuple[int, bytes] | None:
        row: tuple[int, bytes] | None = self._connection.execute(
            "SELECT folder, bytes FROM files WHERE package = ? AND path = ?", (self._package, key)
        ).fetchone()
        return row

    def _make_folders(self, segments: tuple[str, ...]) -> None:
        for count in range(1, len(segments) + 1):
            key = "/".join(segments[:count])
            row = self._row(key)
            if row is not None and not row[0]:
                raise DriveRefused("AlreadyExists")
            if row is None:
                self._connection.execute("INSERT INTO files VALUES (?, ?, 1, x'')", (self._package, key))


class Folder:
    """Read-only files of a package, from its folder. Symbolic links out of it are not followed."""

    def __init__(self, folder: Path | None, most: int) -> None:
        self._folder = folder
        self._most = most

    def read(self, path: DrivePath) -> bytes:
        """See `Drive`."""
        place = self._place(path)
        try:
            if place.stat().st_size > self._most:
                raise DriveRefused("QuotaExceeded")
            return place.read_bytes()
        except OSError:
            raise Absent from None

    def length(self, path: DrivePath) -> int | None:
        """See `Drive`."""
        place = self._place(path)
        return None if place.is_dir() else place.stat().st_size

    def entries(self, path: DrivePath) -> Iterable[tuple[str, bool]]:
        """See `Drive`. Names that a request could not use are left out."""
        try:
            inside = sorted(self._place(path).iterdir())[:MOST_ENTRIES]
        except OSError:
            raise Absent from None
        shown = [entry for entry in inside if not entry.name.startswith(".") and is_nameable(entry.name)]
        return [(entry.name, entry.is_dir()) for entry in shown]

    def write(self, path: DrivePath, content: bytes) -> None:
        """See `Drive`."""
        raise DriveRefused("ReadOnly")

    def check_room(self, path: DrivePath, length: int) -> None:
        """See `Drive`."""
        raise DriveRefused("ReadOnly")

    def make_folder(self, path: DrivePath) -> None:
        """See `Drive`. The drive itself exists."""
        if len(path.segments) > 1:
            raise DriveRefused("ReadOnly")

    def remove(self, path: DrivePath, *, folder: bool, whole: bool) -> None:
        """See `Drive`."""
        raise DriveRefused("ReadOnly")

    def _place(self, path: DrivePath) -> Path:
        if self._folder is None:
            raise Absent
        root = self._folder.resolve()
        try:
            place = root.joinpath(*path.segments[1:]).resolve()
            inside = place.is_relative_to(root) and not any(part.startswith(".") for part in path.segments)
            if inside and (place.is_file() or place.is_dir()):
                return place
        except (OSError, ValueError, RuntimeError):
            pass
        raise Absent
