"""Makes a backup of a home, also while a node runs on it. Blocking I/O.

The database is copied within one read transaction, which holds up nobody. Packages do not change once they are
unpacked; what may change is which of them are installed, so the copy is made again if that changed meanwhile.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, cast

from msgspec import Struct

import guesthouse
from guesthouse.core import atomic_file
from guesthouse.core.errors import BadSetting
from guesthouse.core.files.regular_file import open_regular
from guesthouse.core.home import SECRETS, Home, is_of_a_node
from guesthouse.core.toml import NotToml, parse_toml
from guesthouse.kernel.storage.tables import SCHEMA_VERSION
from guesthouse.node.backup.backup_manifest import (
    DATABASE,
    FORMAT,
    MANIFEST_NAME,
    SETTINGS,
    BackedUp,
    BackupError,
    BackupManifest,
    path_in_home,
    written,
)
from guesthouse.node.backup.tape import write_end, write_member
from guesthouse.package.store.installed import INSTALLED_NAME, read_installed

_ATTEMPTS: Final = 5
_LEVEL: Final = 6
_CHUNK: Final = 256 * 1024
_SMALL_BYTES: Final = 16 * 1024 * 1024
"""Of a file that is read at once: settings, secrets, certificates."""
_SCRATCH: Final = ".guesthouse-backup-"
_LOCK_SECONDS: Final = 30.0


class Backup(Struct, frozen=True):
    """A backup that was made."""

    archive: Path
    manifest: BackupManifest
    bytes: int
    left_out: tuple[str, ...]
    """Names in the home that are neither in the backup nor the node's own."""

    def as_json(self) -> dict[str, Any]:
        """As `guesthouse backup --json` shows it."""
        return {
            "file": str(self.archive),
            "bytes": self.bytes,
            "node": self.manifest.node,
            "files": len(self.manifest.files),
            "content_bytes": self.manifest.total_bytes,
            "schema": self.manifest.schema,
            "secrets": self.manifest.secrets,
            "left_out": self.left_out,
        }


class _Changed(Exception):
    """Packages were installed or removed while they were copied."""


class _Source(Struct, frozen=True):
    """A file to back up: its content if it is small, else where it is."""

    name: str
    content: bytes | None
    path: Path | None = None


def make_backup(home: Home, archive: Path, *, secrets: bool, replace: bool) -> Backup:
    """Back up a home, whether a node runs on it or not.

    Args:
        home: the node's folder.
        archive: the file to write, readable for this user only. It is there whole or not at all.
        secrets: whether the node's secrets are included.
        replace: whether an existing file is replaced.

    Raises:
        BackupError: there is nothing to back up; the home is damaged; or the file cannot be written.
        HomeError: an unfinished restore left the home incomplete.
    """
    try:
        home.refuse_unfinished()
        if not home.path.is_dir() or not any(is_of_a_node(entry.name) for entry in home.path.iterdir()):
            raise BackupError(f"{home.path} is not the home of a node: name it with --home")
        _check_place(archive, replace=replace)
        with _scratch(archive.parent) as scratch:
            return _made(home, archive, scratch, secrets=secrets)
    except OSError as error:
        raise BackupError(
            f"{archive} cannot be written from {home.path}: {error.strerror or error}: check both, and the disk's space"
        ) from None


def _check_place(archive: Path, *, replace: bool) -> None:
    """Refuse what is there already, and without exception what is no plain file, such as /dev/stdout."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(archive.lstat().st_mode):
            raise BackupError(f"{archive} is there and no plain file: give another name")
        if not replace:
            raise BackupError(f"{archive} exists: give another name, or --force to replace it")


def _made(home: Home, archive: Path, scratch: Path, *, secrets: bool) -> Backup:
    for _ in range(_ATTEMPTS):
        with suppress(_Changed):
            return _attempt(home, archive, scratch, secrets=secrets)
    raise BackupError(f"packages of {home.path} changed at each of {_ATTEMPTS} attempts: try again later")


def _attempt(home: Home, archive: Path, scratch: Path, *, secrets: bool) -> Backup:
    before = _identity(home.path / INSTALLED_NAME)
    sources, left_out = _small_files(home, secrets=secrets)
    schema = 0
    if home.state.exists():
        copy = scratch / DATABASE
        copy.unlink(missing_ok=True)
        schema = _copy_database(home.state, copy)
        sources.append(_Source(DATABASE, None, copy))
    hashes = sorted(read_installed(home.path).hashes())
    sources += [source for digest in hashes for source in _package_files(home, digest)]
    files = tuple(map(_hashed, sources))
    if _identity(home.path / INSTALLED_NAME) != before:
        raise _Changed
    now = time.time()
    manifest = BackupManifest(
        FORMAT,
        guesthouse.__version__,
        schema,
        home.remembered_node(),
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
        secrets,
        files,
    )
    with atomic_file.replacing(archive) as file:
        with gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as tar:
            _write(cast(IO[bytes], tar), manifest, sources, int(now))
        size = file.tell()
    return Backup(archive, manifest, size, tuple(left_out))


def _write(tar: IO[bytes], manifest: BackupManifest, sources: list[_Source], now: int) -> None:
    text = written(manifest)
    write_member(tar, MANIFEST_NAME, len(text), iter((text,)), now)
    for file, source in zip(manifest.files, sources, strict=True):
        if write_member(tar, file.name, file.bytes, _chunks(source), now) != file.sha256:
            raise BackupError(f"{file.name} changed while it was copied: try again")
    write_end(tar)


def _small_files(home: Home, *, secrets: bool) -> tuple[list[_Source], list[str]]:
    """The node's own files and those that its settings name, and the names of the user's that are left out."""
    names = [SETTINGS, INSTALLED_NAME, "node.name", *(SECRETS if secrets else ())]
    found = {name: content for name in names if (content := _read(home.path / name)) is not None}
    certificate, key = _named_files(home, found.get(SETTINGS, b""))
    for name in (certificate, key if secrets else None):
        if name is not None and (content := _read(home.path / name)) is not None:
            found[name] = content
    tops = {name.partition("/")[0] for name in found}
    own = (
        entry.name
        for entry in home.path.iterdir()
        if not is_of_a_node(entry.name) and not entry.name.startswith(_SCRATCH)
    )
    return [_Source(name, content) for name, content in found.items()], sorted(set(own) - tops)


def _named_files(home: Home, settings: bytes) -> list[str | None]:
    """Certificate and key that the settings name, as paths in the home; None for those that are elsewhere."""
    try:
        http = parse_toml(settings).get("http")
    except NotToml as error:
        raise BadSetting(f"{home.path / SETTINGS} {error}") from None
    given = [http.get(key) if isinstance(http, dict) else None for key in ("tls_cert", "tls_key")]
    names: list[str | None] = []
    for path in given:
        name = None
        if isinstance(path, str) and Path(path).is_relative_to(home.path):
            name = Path(path).relative_to(home.path).as_posix()
        names.append(name if name is not None and path_in_home(name) is not None else None)
    return names


def _read(path: Path) -> bytes | None:
    with suppress(FileNotFoundError), open_regular(path) as file:
        content = file.read(_SMALL_BYTES + 1)
        if len(content) > _SMALL_BYTES:
            raise BackupError(f"{path} has over {_SMALL_BYTES} bytes: move it elsewhere")
        return content
    return None


def _package_files(home: Home, digest: str) -> Iterator[_Source]:
    folder = home.unpacked / digest
    if not folder.is_dir():
        if _gone(home, digest):
            raise _Changed
        raise BackupError(f"{folder}, an installed package, is gone: install it again")
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            member = path.relative_to(home.unpacked.parent).as_posix()
            if path.is_symlink() or path_in_home(member) is None:
                raise BackupError(f"{path} is nothing that a package has: remove it, or install it again")
            yield _Source(member, None, path)


def _gone(home: Home, digest: str) -> bool:
    return digest not in read_installed(home.path).hashes()


def _hashed(source: _Source) -> BackedUp:
    digest, size = hashlib.sha256(), 0
    for chunk in _chunks(source):
        digest.update(chunk)
        size += len(chunk)
    return BackedUp(source.name, size, digest.hexdigest())


def _chunks(source: _Source) -> Iterator[bytes]:
    if source.path is None:
        yield source.content or b""
        return
    try:
        with open_regular(source.path) as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except FileNotFoundError:
        raise _Changed from None


def _copy_database(path: Path, copy: Path) -> int:
    """Copy the database as it is at one moment, without what was deleted from it. Returns its schema's version."""
    try:
        with closing(
            sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=_LOCK_SECONDS)
        ) as database:
            database.execute("VACUUM INTO ?", (str(copy),))
        with closing(sqlite3.connect(copy)) as copied:
            (fault,) = copied.execute("PRAGMA quick_check(1)").fetchone()
            (schema,) = copied.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        raise BackupError(
            f"{path} cannot be copied: {error}: see 'guesthouse doctor', and that the disk has space"
        ) from None
    if fault != "ok":
        raise BackupError(f"{path} is damaged ({fault[:200]}): restore an earlier backup")
    if schema > SCHEMA_VERSION:
        raise BackupError(f"{path} is of a later version of Guesthouse: back it up with that version")
    return int(schema)


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Differs whenever the file was replaced."""
    with suppress(FileNotFoundError):
        status = path.stat()
        return status.st_ino, status.st_mtime_ns, status.st_size
    return None


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder for the copy of the database, beside the archive, where there is room. Those that killed commands left
    are removed.
    """
    for left in folder.glob(f"{_SCRATCH}*"):
        with suppress(OSError), _locked(left):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder) as name, _locked(Path(name)):
        yield Path(name)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
