"""Credentials in the node's home: token secret, node key, local secret and password. Blocking I/O.

Files are readable by the node's user only and are replaced atomically.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guesthouse.core import atomic_file
from guesthouse.core.disk import disk_errors
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.json_text import is_text

SECRET_FILE: Final = "token.secret"  # noqa: S105 - a file name
NODE_KEY_FILE: Final = "node.ed25519"
LOCAL_SECRET_FILE: Final = "local.secret"  # noqa: S105 - a file name
PASSWORD_FILE: Final = "password.argon2"  # noqa: S105 - a file name
_SECRET_BYTES: Final = 32
_HEX_SHA256 = re.compile(r"[0-9a-f]{64}")


class CredentialsError(GuesthouseError):
    """A credentials file cannot be read or written, or is invalid."""


def load_secret(home: Path) -> bytes:
    """The key that signs the node's tokens; created on first use.

    Raises:
        CredentialsError: the file cannot be read or created, or does not have 32 bytes.
    """
    return _load(home / SECRET_FILE, "users have to log in again")


def load_node_key(home: Path) -> Ed25519PrivateKey:
    """The key that identifies the node to clients; created on first use.

    Raises:
        CredentialsError: the file cannot be read or created, or does not have 32 bytes.
    """
    return Ed25519PrivateKey.from_private_bytes(_load(home / NODE_KEY_FILE, "clients see a new node"))


def load_local_secret(home: Path) -> str:
    """The secret by which programs of the node's user authenticate, in hexadecimal; created on first use.

    Raises:
        CredentialsError: the file cannot be read or created, or does not have 64 hexadecimal digits.
    """
    path = home / LOCAL_SECRET_FILE
    try:
        if not path.exists():
            atomic_file.create(path, f"{secrets.token_hex(_SECRET_BYTES)}\n".encode())
        secret = path.read_text(errors="replace").strip()
    except OSError as error:
        raise CredentialsError(disk_errors.unwritten(path, error, "make it readable for this user")) from None
    if _HEX_SHA256.fullmatch(secret) is None:
        raise CredentialsError(
            f"{path} does not have 64 hexadecimal digits: remove it, and the node creates a new one"
        )
    return secret


def _load(path: Path, consequence: str) -> bytes:
    try:
        if not path.exists():
            atomic_file.create(path, secrets.token_bytes(_SECRET_BYTES))
        secret = path.read_bytes()
    except OSError as error:
        otherwise = f"make {path.parent} readable and writable for this user"
        raise CredentialsError(disk_errors.unwritten(path, error, otherwise)) from None
    if len(secret) != _SECRET_BYTES:
        raise CredentialsError(
            f"{path} has {len(secret)} bytes, not {_SECRET_BYTES}: remove it; {consequence}"
        )
    return secret


def replace_secret(home: Path) -> bytes:
    """Replace the key that signs tokens, which invalidates all tokens.

    Raises:
        CredentialsError: the file cannot be written.
    """
    secret, path = secrets.token_bytes(_SECRET_BYTES), home / SECRET_FILE
    try:
        try:
            atomic_file.replace(path, secret)
        except OSError as error:
            if not disk_errors.is_full(error):
                raise
            atomic_file.overwrite(path, secret)
    except OSError as error:
        text = disk_errors.unwritten(path, error, f"make {home} writable")
        raise CredentialsError(f"{text}; no token was revoked") from None
    return secret


class LoginKey:
    """Calling it returns an identifier of the current password that reveals nothing about it. Logins carry it, and
    become invalid when the password is changed.

    Args:
        home: the node's folder.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / PASSWORD_FILE
        self._seen: tuple[int, int, int] | None = None
        self._key = ""

    def __call__(self) -> str:
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen != self._seen:
                self._key = hashlib.sha256(b"login" + self._path.read_bytes()).hexdigest()[:32]
                self._seen = seen
        except FileNotFoundError:
            self._seen, self._key = None, ""
        except OSError:
            self._seen, self._key = None, secrets.token_hex(16)  # unreadable: matches no login
        return self._key


def set_password(home: Path, password: str) -> None:
    """Set or replace the password.

    Raises:
        CredentialsError: the password is empty or not valid Unicode, or the file cannot be written.
    """
    from argon2 import PasswordHasher  # slow to import, and most nodes never need it

    if not password:
        raise CredentialsError("the password is empty: choose another")
    if not is_text(password):
        raise CredentialsError("the password is not valid UTF-8: choose another")
    try:
        atomic_file.replace(home / PASSWORD_FILE, PasswordHasher().hash(password_hash(password)).encode())
    except OSError as error:
        text = disk_errors.unwritten(home / PASSWORD_FILE, error, f"make {home} writable")
        raise CredentialsError(f"{text}; the password is as it was") from None


def password_hash(password: str) -> str:
    """SHA-256 of the password in hexadecimal, which clients send instead of it."""
    return hashlib.sha256(password.encode()).hexdigest()


def has_password(home: Path) -> bool:
    """Whether a password is set."""
    return (home / PASSWORD_FILE).exists()


def check_password(home: Path, given_hash: str) -> bool:
    """Whether `given_hash` (see `password_hash`) is that of the node's password. Takes about 0.1 s and 64 MiB, on
    purpose.
    """
    from argon2 import PasswordHasher
    from argon2.exceptions import InvalidHashError, VerificationError

    given = given_hash.lower()
    if _HEX_SHA256.fullmatch(given) is None:
        return False
    try:
        stored = (home / PASSWORD_FILE).read_text()
        return PasswordHasher().verify(stored, given)
    except (OSError, VerificationError, InvalidHashError, UnicodeError):
        return False
