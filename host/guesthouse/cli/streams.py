"""Standard input, output and error, whatever their state when the program starts: closed, full, or fine."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING

from guesthouse.core.errors import GuesthouseError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class OutputFailed(GuesthouseError):
    """Output cannot be written."""


class _Output(io.FileIO):
    """Standard output. The first write that fails raises; after that nothing is written."""

    _failed = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write. (A closed pipe ends the command silently; click sees to that.)

        Raises:
            OutputFailed: the write failed, as on a full disk.
        """
        if self._failed:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.EAGAIN):
                raise
            self._failed = True
            raise OutputFailed(
                f"standard output cannot be written ({error.strerror}): make room, or redirect it"
            ) from None


def prepare() -> None:
    """Open closed standard streams, before other files get their numbers; make a failed write one line of error."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            os.set_inheritable(number, True)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - open while the program runs
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - open while the program runs
    known = sys.stdout
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(1, "w", closefd=False)),
        encoding=None if known is None else known.encoding,
        errors=None if known is None else known.errors,
        line_buffering=known is not None and known.isatty(),
    )


def discard_errors() -> None:
    """Drop standard error, which cannot be written: the interpreter would replace the exit code when it flushes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
