"""Unpacks package archives, which are untrusted: every number in a zip may be false.

An archive is copied into the unpack folder while it is hashed, checked by its directory, unpacked
into a temporary folder, and renamed to its hash atomically. So a folder named by a hash is
complete.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
import struct
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO, Final

from guesthouse.core.atomic_file import sync_folder
from guesthouse.core.config import PackageLimits
from guesthouse.core.files.regular_file import open_regular
from guesthouse.package.errors import PackageError
from guesthouse.package.format.manifest import MAX_PATH, MAX_SEGMENT, relative_path

GONE: Final = ".gone-"
"""Prefix of folders that are being removed."""

_CHUNK: Final = 256 * 1024
_END: Final = struct.Struct("<4s4H2LH")
_END_SIGNATURE: Final = b"PK\x05\x06"
_ZIP64_LOCATOR: Final = b"PK\x06\x07"
_ZIP64_LOCATOR_BYTES: Final = 20
_DIRECTORY_BYTES_PER_FILE: Final = 1024
"""The fixed part of a directory entry, the longest path, and room for the usual extra fields."""
_ENCRYPTED: Final = 0x1
_DAMAGE: Final = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, ValueError)
"""Exceptions of reading a damaged zip."""
_TOP: Final = PurePosixPath()
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def unpack(archive: Path, limits: PackageLimits, unpack_dir: Path) -> Path:
    """Unpack a package archive and return its folder: `unpack_dir/<sha256 of the archive>`.

    The same archive is unpacked once. Nothing is left behind when it is refused.

    Raises:
        PackageError: it is not a zip, has an invalid name, a link or another kind of entry, or exceeds
            a limit.
    """
    return unpacked(archive, limits, unpack_dir)[0]


def unpacked(archive: Path, limits: PackageLimits, unpack_dir: Path) -> tuple[Path, bool]:
    """`unpack`, and whether the folder was created."""
    unpack_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=unpack_dir) as copy:
        digest = copy_hashed(archive, copy, limits)
        return unpack_copy(copy, digest, archive, limits, unpack_dir)


def unpack_copy(
    copy: IO[bytes], digest: str, archive: Path, limits: PackageLimits, unpack_dir: Path
) -> tuple[Path, bool]:
    """`unpacked` of what `copy_hashed` copied; `archive` is what errors name."""
    folder = unpack_dir / digest
    new = not folder.is_dir()
    if new:
        try:
            _unpack_copy(copy, archive, folder, limits)
        except _DAMAGE as error:
            raise PackageError(
                f"{archive} is a damaged zip: {error}; build it again with 'guesthouse build DIR -o FILE'"
            ) from None
    return folder, new


def remove_unpacked(folder: Path) -> None:
    """Remove the folder of a package. If that fails halfway, the rest is left under a name that no package has."""
    gone = folder.with_name(f"{GONE}{secrets.token_hex(8)}")
    with suppress(OSError):
        folder.rename(gone)
        shutil.rmtree(gone)


def copy_hashed(archive: Path, copy: IO[bytes], limits: PackageLimits) -> str:
    """Copy an archive to an open file. Returns its SHA-256.

    Raises:
        PackageError: it is larger than allowed.
        OSError: it cannot be read or copied.
    """
    digest = hashlib.sha256()
    size = 0
    with open_regular(archive) as source:
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            if size > limits.zip_bytes:
                raise _over(archive, "is", limits.zip_bytes, "bytes", "zip_bytes")
            digest.update(chunk)
            copy.write(chunk)
    copy.flush()
    return digest.hexdigest()


def _unpack_copy(copy: IO[bytes], archive: Path, folder: Path, limits: PackageLimits) -> None:
    _check_end(copy, archive, limits)
    with zipfile.ZipFile(copy) as opened:
        paths = check_entries(opened.infolist(), archive, limits)
        partial = folder.with_name(f".partial-{secrets.token_hex(8)}")
        partial.mkdir(mode=0o700)
        try:
            _write_all(opened, paths, partial, archive, copy.seek(0, os.SEEK_END), limits)
            _put_in_place(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _put_in_place(partial: Path, folder: Path) -> None:
    sync_folder(partial)
    try:
        partial.rename(folder)
    except OSError:
        if not folder.is_dir():  # otherwise it was unpacked concurrently
            raise
    sync_folder(folder.parent)


def _check_end(copy: IO[bytes], archive: Path, limits: PackageLimits) -> None:
    """Bound the size of the directory before it is parsed.

    Searches the end record exactly as `zipfile` does (at the very end, else the last one within the
    length of a comment), so that both find the same record.
    """
    size = copy.seek(0, os.SEEK_END)
    farthest = _ZIP64_LOCATOR_BYTES + _END.size + 0xFFFF  # of the record's locator, too
    copy.seek(max(0, size - farthest))
    tail = copy.read()
    at = len(tail) - _END.size
    if not (at >= 0 and tail[at:].startswith(_END_SIGNATURE) and tail.endswith(b"\x00\x00")):
        at = tail.rfind(_END_SIGNATURE)
    if at < 0 or len(tail) - at < _END.size:
        raise PackageError(f"{archive} is not a zip archive: build one with 'guesthouse build DIR -o FILE'")
    _, disk, first_disk, here, count, directory_bytes, _, _ = _END.unpack_from(tail, at)
    if disk or first_disk or here != count or _ZIP64_LOCATOR in tail[max(0, at - _ZIP64_LOCATOR_BYTES) : at]:
        raise PackageError(f"{archive} is a split or zip64 archive: packages are plain zips")
    if count > limits.files or directory_bytes > limits.files * _DIRECTORY_BYTES_PER_FILE:
        raise _over(archive, "has", limits.files, "files", "files")


def check_entries(
    entries: Sequence[zipfile.ZipInfo], archive: Path, limits: PackageLimits
) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """Return the files to unpack with their paths, folders left out.

    Raises:
        PackageError: an entry has a name or kind that no package has, or two cannot stand side by side.
        BadZipFile: an entry lies outside of the archive.
    """
    if len(entries) > limits.files:
        raise _over(archive, "has", limits.files, "files", "files")
    folders: set[str] = set()
    names: set[str] = set()
    files = []
    for entry in entries:
        path = _checked_path(entry, archive, limits)
        is_folder = entry.orig_filename.endswith("/")
        _add_folders(folders, (path, *path.parents) if is_folder else path.parents)
        if len(folders) > limits.files:
            raise _over(archive, "has", limits.files, "folders", "files")
        if is_folder:
            continue
        if _key(path) in names:
            raise PackageError(f"{archive} has {_shown(entry)} twice, or in two spellings: keep one of them")
        names.add(_key(path))
        files.append((entry, path))
    for clash in sorted(names & folders)[:1]:
        raise PackageError(f"{archive} has {clash!a} as a file and as a folder: keep one of them")
    return files


def _add_folders(folders: set[str], nearest_first: Iterable[PurePosixPath]) -> None:
    """A known folder was added with its parents."""
    for folder in nearest_first:
        key = _key(folder)
        if folder == _TOP or key in folders:
            return
        folders.add(key)


def _key(path: PurePosixPath) -> str:
    """Equal for names that some file system does not tell apart."""
    return unicodedata.normalize("NFKC", str(path).casefold()).casefold()


def _checked_path(entry: zipfile.ZipInfo, archive: Path, limits: PackageLimits) -> PurePosixPath:
    name = entry.orig_filename
    path = relative_path(name.removesuffix("/"))
    if path is None:
        raise PackageError(f"{archive} has an entry named {_shown(entry)}: {_why_no_path(name)}")
    if not 0 <= entry.header_offset < limits.zip_bytes:  # `zipfile` would seek there
        raise zipfile.BadZipFile(f"the content of {_shown(entry)} lies outside of the archive")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR if name.endswith("/") else stat.S_IFREG):
        raise PackageError(f"{archive}: {_shown(entry)} is a link or a device: packages hold files only")
    if entry.flag_bits & _ENCRYPTED or entry.compress_type not in _METHODS:
        raise PackageError(
            f"{archive}: {_shown(entry)} is encrypted or not compressed by deflate: zip it without"
        )
    return path


def _write_all(
    opened: zipfile.ZipFile,
    files: Sequence[tuple[zipfile.ZipInfo, PurePosixPath]],
    folder: Path,
    archive: Path,
    packed_bytes: int,
    limits: PackageLimits,
) -> None:
    """Unpack, limiting the bytes that actually come out."""
    by_ratio = packed_bytes * limits.unpack_ratio
    total = 0
    for entry, path in files:
        target = folder.joinpath(*path.parts)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with target.open("xb") as file:
            for chunk in _chunks(opened, entry):
                total += len(chunk)
                if total > limits.unpacked_bytes:
                    raise _over(archive, "unpacks to", limits.unpacked_bytes, "bytes", "unpacked_bytes")
                if total > by_ratio:
                    raise _over(archive, "unpacks to", limits.unpack_ratio, "times its size", "unpack_ratio")
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        target.chmod(0o600)


def _chunks(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    with opened.open(entry) as source:
        while chunk := source.read(_CHUNK):
            yield chunk


def _why_no_path(name: str) -> str:
    if not name.isprintable():
        return "names have to be printable"
    parts = name.encode("utf-8", "surrogatepass").split(b"/")
    if sum(map(len, parts)) + len(parts) > MAX_PATH or max(map(len, parts)) > MAX_SEGMENT:
        return f"names have at most {MAX_PATH} bytes, and each part of one {MAX_SEGMENT}"
    return "names have to be relative, without backslashes and colons, and no part may start with a dot"


def _shown(entry: zipfile.ZipInfo) -> str:
    name = entry.orig_filename
    return ascii(name if len(name) <= 80 else name[:77] + "...")


def _over(archive: Path, verb: str, limit: int, unit: str, setting: str) -> PackageError:
    return PackageError(
        f"{archive} {verb} over {limit} {unit}: make it smaller, "
        f"or raise package.{setting} in guesthouse.toml"
    )
