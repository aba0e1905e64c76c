"""Members of a tar archive, read strictly: plain files whose names and sizes are known before.

`tarfile` reads what a header announces, links, sparse maps and comments of any size, into memory. Of what it can, a
backup uses the header of a plain file alone, and that of GNU tar for a name of over 100 bytes.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Final

from guesthouse.node.backup.backup_manifest import BackedUp, BackupError

_BLOCK: Final = tarfile.BLOCKSIZE
_END: Final = bytes(2 * _BLOCK)
_LONGEST_NAME: Final = 4096
_CHUNK: Final = 256 * 1024
DAMAGE: Final = (OSError, EOFError, zlib.error)
"""What reading a damaged gzip raises."""


class Damaged(Exception):
    """The archive is not what a backup looks like; the text says how."""


def write_member(tar: IO[bytes], name: str, size: int, content: Iterator[bytes], mtime: int) -> str:
    """Append a file. Returns the SHA-256 of its content.

    Raises:
        BackupError: the content does not have that size.
    """
    header = tarfile.TarInfo(name)
    header.size, header.mode, header.mtime = size, 0o600, mtime
    tar.write(header.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict"))
    digest, count = hashlib.sha256(), 0
    for chunk in content:
        tar.write(chunk)
        digest.update(chunk)
        count += len(chunk)
    if count != size:
        raise BackupError(f"{name} changed while it was copied: try again")
    tar.write(bytes(-size % _BLOCK))
    return digest.hexdigest()


def write_end(tar: IO[bytes]) -> None:
    """Close the archive."""
    tar.write(_END)


def read_small(tar: IO[bytes], name: str, most: int) -> bytes:
    """The next member, which has to have that name and at most so many bytes.

    Raises:
        Damaged: it is another, or larger.
    """
    size = _next(tar, name)
    if size > most:
        raise Damaged(f"{name} has over {most} bytes")
    return b"".join(_content(tar, size))


def read_member(tar: IO[bytes], file: BackedUp, write: Callable[[bytes], object]) -> None:
    """Read the next member, which has to be that file.

    Args:
        tar: the archive, uncompressed.
        file: its name, size and digest.
        write: takes its content, which may turn out to be false.

    Raises:
        Damaged: it is another.
    """
    size = _next(tar, file.name)
    if size != file.bytes:
        raise Damaged(f"{file.name[:80]!a} has {size} bytes, not {file.bytes}")
    digest = hashlib.sha256()
    for chunk in _content(tar, size):
        digest.update(chunk)
        write(chunk)
    if digest.hexdigest() != file.sha256:
        raise Damaged(f"{file.name[:80]!a} is not what it was")


def read_end(tar: IO[bytes]) -> None:
    """Read the end of the archive, and see that nothing follows.

    Raises:
        Damaged: something does.
    """
    if tar.read(len(_END) + 1) != _END:
        raise Damaged("it has more files than it says, or no end")


def _next(tar: IO[bytes], name: str) -> int:
    """Read the header of a plain file of that name. Returns the file's size."""
    header = _header(tar)
    found = header.name
    if header.type == tarfile.GNUTYPE_LONGNAME:
        if not 0 < header.size <= _LONGEST_NAME:
            raise Damaged("it has a name that is too long")
        found = b"".join(_content(tar, header.size)).rstrip(b"\0").decode("utf-8", "surrogateescape")
        header = _header(tar)
    if header.type != tarfile.REGTYPE:
        raise Damaged(f"{found[:80]!a} is no plain file")
    if found != name:
        raise Damaged(f"{found[:80]!a} is where {name[:80]!a} should be")
    return header.size


def _header(tar: IO[bytes]) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(_exactly(tar, _BLOCK), "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError) as error:
        raise Damaged(f"it is no tar archive there: {error}") from None
    if header.size < 0:
        raise Damaged("it has a file of a negative size")
    return header


def _content(tar: IO[bytes], size: int) -> Iterator[bytes]:
    left = size
    while left:
        chunk = _exactly(tar, min(left, _CHUNK))
        left -= len(chunk)
        yield chunk
    _exactly(tar, -size % _BLOCK)


def _exactly(tar: IO[bytes], size: int) -> bytes:
    data = tar.read(size)
    if len(data) != size:
        raise Damaged("it is cut off")
    return data
