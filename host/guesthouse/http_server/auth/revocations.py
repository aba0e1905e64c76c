"""Revoked token families, kept until their last token has expired. Blocking I/O."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from guesthouse.core import atomic_file
from guesthouse.core.disk.line_file import LineFile, read_lines
from guesthouse.http_server.auth.credentials import CredentialsError

REVOKED_FILE: Final = "tokens.revoked"
_COMPACT_AT: Final = 4096
_FAMILY: Final = 16
"""Characters of a family's name."""
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
        self._lines = 0
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
        for families, _ in read:
            self._ends.update((family, ends) for family, ends in families if ends > now)
        if torn:
            self._ends[torn.partition(" ")[0]] = int(now) + _LONGEST_SECONDS

    def add(self, family: str, ends: int, now: float) -> None:
        """Revoke a family. Durable on return.

        Raises:
            CredentialsError: the file cannot be written; the revocation holds until the node exits.
        """
        with self._writing:
            self._add(family, ends, now)

    def _add(self, family: str, ends: int, now: float) -> None:
        self._ends[family] = ends
        try:
            if self._lines >= _COMPACT_AT:
                self._compact(now)
                return
            with LineFile(self._path) as file:
                file.append(f"{family} {ends}\n".encode())
                file.sync()
            self._lines += 1
        except OSError as error:
            raise CredentialsError(f"{self._path}: {error.strerror}: make it writable") from None

    def _compact(self, now: float) -> None:
        self._ends = {family: ends for family, ends in self._ends.items() if ends > now}
        lines = [f"{family} {ends}\n" for family, ends in self._ends.items()]
        atomic_file.replace(self._path, "".join(lines).encode())
        self._lines = len(lines)


def _read(line: str, now: float) -> tuple[list[tuple[str, int]], bool]:
    """What a line revokes, and whether it is whole. Guesthouse 0.1.0 appended to lines that a full disk had cut off."""
    before, _, ends = line.rpartition(" ")
    torn, glued, rest = before.partition(" ")
    if not (ends.isascii() and ends.isdecimal()):
        return [(torn, int(now) + _LONGEST_SECONDS)] if torn else [], not line
    if glued:
        return [(torn, int(now) + _LONGEST_SECONDS), (rest[-_FAMILY:], int(ends))], False
    if len(before) > _FAMILY:
        return [(before, int(ends)), (before[-_FAMILY:], int(ends))], False
    return [(before, int(ends))], True
