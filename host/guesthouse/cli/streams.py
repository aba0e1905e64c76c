"""Standard input, output and error as whoever started the program left them: closed, full, or in order."""

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
    """What was to be shown cannot be written."""


class _Output(io.FileIO):
    """Standard output. The first write that fails says so; after it nothing more is written."""

    _failed = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write; of a pipe that nobody reads click makes a quiet end.

        Raises:
            OutputFailed: the disk is full, or the like.
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
                f"standard output cannot be written ({error.strerror}): make room, or send it elsewhere"
            ) from None


def prepare() -> None:
    """Open what is closed, before anything else gets its number; and let a failed write be one line of error."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            os.set_inheritable(number, True)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as long as the program runs
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - as long as the program runs
    known = sys.stdout
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(1, "w", closefd=False)),
        encoding=None if known is None else known.encoding,
        errors=None if known is None else known.errors,
        line_buffering=known is not None and known.isatty(),
    )


def discard_errors() -> None:
    """Standard error cannot be written either: the exit code has to say it, so the interpreter tries no more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
