"""Revoked token families, kept until their last token has expired. Blocking I/O."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

from guesthouse.core import atomic_file
from guesthouse.http_server.auth.credentials import CredentialsError

REVOKED_FILE: Final = "tokens.revoked"
_COMPACT_AT: Final = 4096


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
        """Read the file again: another process may have appended to it."""
        try:
            lines = self._path.read_text().splitlines()
        except FileNotFoundError:
            lines = []
        except (OSError, UnicodeError) as error:
            raise CredentialsError(f"{self._path}: {error}: make it readable for this user") from None
        self._lines = len(lines)
        for line in lines:
            family, _, ends = line.partition(" ")
            if ends.isdigit() and int(ends) > now:
                self._ends[family] = int(ends)

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
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "a") as file:
                file.write(f"{family} {ends}\n")
                file.flush()
                os.fsync(file.fileno())
            self._lines += 1
        except OSError as error:
            raise CredentialsError(f"{self._path}: {error.strerror}: make it writable") from None

    def _compact(self, now: float) -> None:
        self._ends = {family: ends for family, ends in self._ends.items() if ends > now}
        lines = [f"{family} {ends}\n" for family, ends in self._ends.items()]
        atomic_file.replace(self._path, "".join(lines).encode())
        self._lines = len(lines)
