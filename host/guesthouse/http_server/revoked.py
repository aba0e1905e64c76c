"""Tokens that were taken back, kept until they would have expired anyway. Blocking I/O in `load` and `add`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from guesthouse.http_server.credentials import CredentialsError, replace_file

REVOKED_FILE: Final = "tokens.revoked"
_COMPACT_AT: Final = 4096


class Revoked:
    """The ids of revoked tokens. One line of the file is `<id> <expiration>`; it is only appended to, and
    written anew without what has expired when it grew.

    Args:
        home: the node's folder.
        now: Unix seconds.

    Raises:
        CredentialsError: the file cannot be read.
    """

    def __init__(self, home: Path, now: float) -> None:
        self._path = home / REVOKED_FILE
        self._expirations: dict[str, int] = {}
        self._lines = 0
        self.reload(now)

    def __contains__(self, token_id: object) -> bool:
        return token_id in self._expirations

    def reload(self, now: float) -> None:
        """Read the file, which another process may have appended to."""
        try:
            lines = self._path.read_text().splitlines() if self._path.exists() else []
        except (OSError, UnicodeError) as error:
            raise CredentialsError(f"{self._path}: {error}: make it readable for this user") from None
        self._lines = len(lines)
        for line in lines:
            token_id, _, expiration = line.partition(" ")
            if expiration.isdigit() and int(expiration) > now:
                self._expirations[token_id] = int(expiration)

    def add(self, token_id: str, expiration: int, now: float) -> None:
        """Revoke a token; durable once it returns.

        Raises:
            CredentialsError: it could not be written. The token is refused by this node until it ends.
        """
        self._expirations[token_id] = expiration
        try:
            if self._lines >= _COMPACT_AT:
                self._compact(now)
                return
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "a") as file:
                file.write(f"{token_id} {expiration}\n")
                file.flush()
                os.fsync(file.fileno())
            self._lines += 1
        except OSError as error:
            raise CredentialsError(f"{self._path}: {error.strerror}: make it writable") from None

    def _compact(self, now: float) -> None:
        self._expirations = {token: until for token, until in self._expirations.items() if until > now}
        lines = [f"{token} {until}\n" for token, until in self._expirations.items()]
        replace_file(self._path, "".join(lines).encode())
        self._lines = len(lines)
