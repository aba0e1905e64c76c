"""Files to which lines are appended, each of them whole or not at all. Blocking I/O."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from guesthouse.core import atomic_file

_KEEP_SIZE: Final = 1
"""FALLOC_FL_KEEP_SIZE"""


class LineFile:
    """A private file that is open for lines to be appended; created if there is none. A context manager.

    What a full disk or the end of a program has left of a line never becomes the beginning of the next one: it is taken
    back at once, and what an earlier program has left is ended first.

    Args:
        path: of the file.

    Raises:
        OSError: on creation: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(self._descriptor).st_size
            self._is_new = size == 0
            self._torn = size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, lines: bytes) -> int:
        """Append lines, which end with a line feed. Not durable before `sync`.

        Returns:
            How many bytes the file has.

        Raises:
            OSError: nothing was appended.
        """
        data = b"\n" * self._torn + lines
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError:
            if written:
                self._take_back(written)
            raise
        self._torn = False
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)

    def sync(self) -> None:
        """See that what was appended outlasts a power cut, with the file's name.

        Raises:
            OSError: it may be lost.
        """
        os.fsync(self._descriptor)
        if self._is_new:
            atomic_file.sync_folder(self._path.parent)
            self._is_new = False

    def reserve(self, room: int) -> None:
        """Have the disk keep room for so many more bytes, so that they can be appended when it is full. The file's size
        stays. Where that cannot be, nothing happens.
        """
        import ctypes  # most programs do without

        allocate = ctypes.CDLL(None).fallocate
        allocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        allocate(self._descriptor, _KEEP_SIZE, os.fstat(self._descriptor).st_size, room)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _take_back(self, written: int) -> None:
        try:
            os.ftruncate(self._descriptor, os.lseek(self._descriptor, 0, os.SEEK_CUR) - written)
        except OSError:
            self._torn = True


def read_lines(path: Path) -> tuple[list[str], str]:
    """The lines of such a file without their ends, and what is left of one that was not written to its end. Bytes that
    are not UTF-8 are replaced.

    Raises:
        OSError: it cannot be read.
    """
    *lines, torn = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return lines, torn
