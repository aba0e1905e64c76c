"""Restores a backup into a home on which no node runs. Blocking I/O.

The archive is read twice: once to compare every digest, with nothing written, and once to unpack it into a folder of
the home. Only then does anything take the place of what was there; if that is cut off, no node starts on the home until
it was restored again.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, cast

import guesthouse
from guesthouse.core import private, toml
from guesthouse.core.atomic_file import sync_folder
from guesthouse.core.files.regular_file import open_regular
from guesthouse.core.home import STAGING, Home, is_of_a_node
from guesthouse.kernel.storage.tables import SCHEMA_VERSION
from guesthouse.node.backup.backup_manifest import (
    DATABASE,
    MANIFEST_NAME,
    MOST_BYTES,
    SETTINGS,
    BackedUp,
    BackupError,
    BackupManifest,
    check_named,
    read_manifest,
)
from guesthouse.node.backup.tape import DAMAGE, Damaged, read_end, read_member, read_small

_IGNORED: Final = frozenset(("lock", "lost+found"))
_LEFT: Final = ("lock", "logs", "control.sock", "compiled")
"""Prefixes of what a node keeps and no backup has: it stays."""
_SPARE_BYTES: Final = 16 * 1024 * 1024
"""Left free beside what is unpacked."""


def restore_backup(home: Home, archive: Path, *, replace: bool) -> BackupManifest:
    """Restore a backup.

    Args:
        home: the node's folder; created if it does not exist.
        archive: what `make_backup` wrote.
        replace: whether the node's files in a home that is not empty are replaced. The user's own stay.

    Raises:
        BackupError: the archive is damaged, hostile or of a later version; the home is not empty; the disk is full.
            Nothing has changed, unless the text says otherwise.
        HomeError: a node runs there, or the folder cannot be used.
    """
    try:
        manifest = checked(archive)
        home.prepare()
        with home.locked(restoring=True):
            _clear_staging(home)
            if not replace and not home.is_unfinished() and (there := _content(home)):
                raise BackupError(
                    f"{home.path} is not empty ({there[0]!a}): give another --home, or --force to replace it"
                )
            _check_room(home, manifest)
            staged = Path(tempfile.mkdtemp(prefix=STAGING, dir=home.path))
            try:
                _unpack(archive, manifest, staged)
                _check_database(staged / DATABASE, archive)
                _put_in_place(home, staged)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        raise BackupError(
            f"{archive} cannot be restored to {home.path}: {error.strerror or error}: fix that, and restore again"
        ) from None
    return manifest


def checked(archive: Path) -> BackupManifest:
    """Read a backup to its end, and compare every digest. Writes nothing.

    Raises:
        BackupError: it is damaged, or of a later version.
    """
    settings = io.BytesIO()
    manifest = _read(
        archive,
        lambda file: contextlib.nullcontext(settings) if _is_settings(file) else _Nowhere(),
    )
    check_named(manifest, settings.getvalue(), archive)
    return manifest


def _is_settings(file: BackedUp) -> bool:
    return file.name == SETTINGS and file.bytes <= toml.MOST_BYTES


def _read(archive: Path, into: Callable[[BackedUp], Any]) -> BackupManifest:
    """Read a whole backup, each file into what `into` opens for it."""
    with _opened(archive) as tar:
        text = read_small(tar, MANIFEST_NAME, MOST_BYTES)
        manifest = read_manifest(text, archive, guesthouse.__version__, SCHEMA_VERSION)
        for file in manifest.files:
            with into(file) as target:
                read_member(tar, file, target.write)
        read_end(tar)
    return manifest


@contextmanager
def _opened(archive: Path) -> Iterator[IO[bytes]]:
    try:
        if archive.exists() and not archive.is_file() and not archive.is_dir():
            raise BackupError(f"{archive} is no plain file, and is read twice: copy it to one")
        file = open_regular(archive)
    except OSError as error:
        raise BackupError(f"{archive} cannot be read: {error.strerror}: name a backup") from None
    with file, gzip.GzipFile(fileobj=file) as tar:
        try:
            yield cast(IO[bytes], _Source(tar))
        except Damaged as error:
            raise BackupError(f"{archive} is damaged, or no backup: {error}: take another") from None


class _Source:
    """What is read of an archive: its faults are not taken for those of the disk that is written to."""

    def __init__(self, tar: gzip.GzipFile) -> None:
        self._tar = tar

    def read(self, size: int) -> bytes:
        try:
            return self._tar.read(size)
        except DAMAGE as error:
            raise Damaged(str(error)) from None


class _Nowhere:
    """Takes what is only compared."""

    def __enter__(self) -> _Nowhere:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, data: bytes) -> int:
        return len(data)


def _unpack(archive: Path, manifest: BackupManifest, staged: Path) -> None:
    """Unpack an archive that was checked: if it is another by now, that is noticed."""

    @contextmanager
    def into(file: BackedUp) -> Iterator[IO[bytes]]:
        path = staged / file.name
        for parent in reversed(Path(file.name).parents):
            (staged / parent).mkdir(mode=0o700, exist_ok=True)
        with open(path, "xb", opener=private.opener) as target:
            yield target
            target.flush()
            os.fsync(target.fileno())

    if _read(archive, into) != manifest:
        raise BackupError(f"{archive} changed while it was restored: try again")
    for folder, _, _ in os.walk(staged):
        sync_folder(Path(folder))


def _check_database(path: Path, archive: Path) -> None:
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as database:
            database.execute("PRAGMA trusted_schema=OFF")
            (fault,) = database.execute("PRAGMA quick_check(1)").fetchone()
            (schema,) = database.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        raise BackupError(f"the database in {archive} cannot be opened ({error}): take another") from None
    if fault != "ok":
        raise BackupError(f"the database in {archive} is damaged ({str(fault)[:200]}): take another")
    if schema > SCHEMA_VERSION:
        raise BackupError(
            f"the database in {archive} has schema {schema}, but this Guesthouse supports {SCHEMA_VERSION}: "
            "restore it with the version that made it"
        )


def _put_in_place(home: Home, staged: Path) -> None:
    """Replace the node's files by those that were unpacked. From here to the end no node starts on the home."""
    home.begin_restore()
    for entry in list(home.path.iterdir()):
        if is_of_a_node(entry.name) and not entry.name.startswith(_LEFT) and entry != staged:
            _remove(entry)
    for entry in sorted(staged.iterdir()):
        _move(entry, home.path / entry.name)
    sync_folder(home.path)
    home.finish_restore()


def _move(entry: Path, to: Path) -> None:
    """Rename into the home. A folder of the user's keeps what else is in it."""
    if entry.is_dir() and to.is_dir() and not to.is_symlink():
        for inner in entry.iterdir():
            _move(inner, to / inner.name)
        sync_folder(to)
    else:
        entry.replace(to)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _content(home: Home) -> list[str]:
    return sorted(entry.name for entry in home.path.iterdir() if entry.name not in _IGNORED)


def _clear_staging(home: Home) -> None:
    """Remove what a restore that was killed has left."""
    for entry in home.path.glob(f"{STAGING}*"):
        with suppress(OSError):
            _remove(entry)


def _check_room(home: Home, manifest: BackupManifest) -> None:
    free = shutil.disk_usage(home.path).free
    if manifest.total_bytes + _SPARE_BYTES > free:
        raise BackupError(
            f"the backup has {manifest.total_bytes} bytes, but {home.path} has room for {free}: free some, or give "
            "another --home"
        )
