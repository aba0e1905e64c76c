"""Revoked token families, kept until their last token has expired. Blocking I/O."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from guesthouse.core import atomic_file
from guesthouse.core.disk import disk_errors
from guesthouse.core.disk.line_file import LineFile, read_lines
from guesthouse.http_server.auth.credentials import CredentialsError

REVOKED_FILE: Final = "tokens.revoked"
_COMPACT_AT: Final = 4096
_RESERVED_BYTES: Final = 16 * 1024
_FAMILY: Final = 16
"""Characters of a family's name; twice as many of one that is made from a token."""
_LONGEST_SECONDS: Final = 10 * 366 * 24 * 3600
"""How long a family is kept whose end is not known."""


class RevocationList:
    """The revoked families. Lines of the file are `<family> <end>`, `end` in Unix seconds. It is append-only and is
    compacted when it has `_COMPACT_AT` lines.

    Args:
        home: the node's folder.
        now: Unix seconds.

    Raises:
        CredentialsError: the file cannot be read.
    """

    def __init__(self, home: Path, now: float) -> None:
        self._path = home / REVOKED_FILE
        self._ends: dict[str, int] = {}
        self._unwritten: dict[str, int] = {}
        self._lines = 0
        self._compact_at = _COMPACT_AT
        self._writing = threading.Lock()  # logging out writes in a thread
        self.reload(now)

    def __contains__(self, family: object) -> bool:
        return family in self._ends

    def reload(self, now: float) -> None:
        """Read the file again: another process may have appended to it. What may be meant by a line that is damaged is
        revoked.
        """
        try:
            lines, torn = read_lines(self._path)
        except FileNotFoundError:
            lines, torn = [], ""
        except OSError as error:
            raise CredentialsError(
                f"{self._path}: {error.strerror}: make it readable for this user"
            ) from None
        self._lines = len(lines)
        read = [_read(line, now) for line in lines]
        self.damaged = sum(not whole for _, whole in read) + bool(torn)
        """Lines that a full disk or a power cut has left."""
        for families, whole in read:
            meant = {family: ends for family, ends in families if ends > now}
            self._ends.update(meant)
            if not whole:
                self._unwritten.update(meant)
        if torn:  # its end may be, too; the next line would make it look whole
            family = torn.partition(" ")[0]
            self._ends[family] = self._unwritten[family] = int(now) + _LONGEST_SECONDS

    def is_stored(self, family: str) -> bool:
        """Whether a family is revoked for good: by a line of its own, which is whole."""
        return family in self._ends and family not in self._unwritten

    def reserve(self) -> None:
        """See that some hundred revocations find room when the disk is full. Where that cannot be, nothing happens."""
        with suppress(OSError), self._writing, LineFile(self._path) as file:
            file.reserve(_RESERVED_BYTES)

    def add(self, family: str, ends: int, now: float) -> None:
        """Revoke a family, and write what could not be written before. Durable on return.

        Raises:
            CredentialsError: the file cannot be written; the revocation holds in this program, and is written with the
                next one.
        """
        if self.is_stored(family):
            return
        self._unwritten[family] = ends
        self._ends[family] = ends
        self.write(now)

    def write(self, now: float) -> None:
        """Write what could not be written before. Durable on return.

        Raises:
            CredentialsError: the file cannot be written.
        """
        with self._writing:
            unwritten = tuple(self._unwritten.items())
            try:
                if self._lines < self._compact_at or not self._compact(now):
                    self._append(unwritten)
            except OSError as error:
                raise CredentialsError(disk_errors.unwritten(self._path, error)) from None
            for family, _ in unwritten:
                self._unwritten.pop(family, None)

    def _append(self, families: Sequence[tuple[str, int]]) -> None:
        if not families:
            return
        with LineFile(self._path) as file:
            file.append("".join(f"{family} {ends}\n" for family, ends in families).encode())
            file.sync()
            file.reserve(_RESERVED_BYTES)
        self._lines += len(families)

    def _compact(self, now: float) -> bool:
        """Write the file anew. Where there is no room for that, it goes on to grow."""
        for family, ends in tuple(self._ends.items()):
            if ends <= now:
                self._ends.pop(family, None)
        lines = [f"{family} {ends}\n" for family, ends in tuple(self._ends.items())]
        try:
            atomic_file.replace(self._path, "".join(lines).encode())
        except OSError:
            self._compact_at = self._lines + _COMPACT_AT
            return False
        self._lines = len(lines)
        self._compact_at = max(_COMPACT_AT, 2 * self._lines)
        with suppress(OSError), LineFile(self._path) as file:
            file.reserve(_RESERVED_BYTES)
        return True


def _read(line: str, now: float) -> tuple[list[tuple[str, int]], bool]:
    """What a line revokes, and whether it is whole. Guesthouse 0.1.0 appended to lines that a full disk had cut off."""
    before, _, ends = line.rpartition(" ")
    torn, glued, rest = before.partition(" ")
    if not before:  # cut off before its end: a whole family, or nothing to go by
        whole_name = len(ends) in (_FAMILY, 2 * _FAMILY)
        return [(ends, int(now) + _LONGEST_SECONDS)] if whole_name else [], not line
    if not (ends.isascii() and ends.isdecimal()):
        return [(torn, int(now) + _LONGEST_SECONDS)] if torn else [], not line
    if glued:
        glued_to = [(rest[-size:], int(ends)) for size in (_FAMILY, 2 * _FAMILY)]
        return [(torn, int(now) + _LONGEST_SECONDS), *glued_to], False
    if len(before) > _FAMILY:
        meant = [(before, int(ends)), (before[-_FAMILY:], int(ends)), (before[-2 * _FAMILY :], int(ends))]
        return meant, len(before) == 2 * _FAMILY
    return [(before, int(ends))], True
