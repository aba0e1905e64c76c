"""Keys of the HTTP API: who may ask for what. Only their hashes are stored. Blocking I/O.

A key has 256 random bits, so one round of SHA-256 is enough: there is nothing to guess, unlike with passwords.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from msgspec import MsgspecError, Struct
from msgspec.json import decode, encode
from msgspec.json import format as pretty
from msgspec.structs import asdict

from guesthouse.core import atomic_file
from guesthouse.core.address import ProcessId, canonical
from guesthouse.core.disk import disk_errors
from guesthouse.core.errors import GuesthouseError

KEYS_FILE: Final = "api.keys"
MOST_KEYS: Final = 256
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY: Final = re.compile(r"ghk_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_NO_HASH: Final = "0" * 64
"""In the file, of a key that was revoked when the disk was full."""
_BEFORE_HASH: Final = b'"hash": "'


class Role(StrEnum):
    """What a key may do. Each role may do what those before it may."""

    READ = "read"
    """See: processes, channels, packages, the log."""
    PUSH = "push"
    """What the service of an application does: issue and revoke tokens, push to channels and close them."""
    ADMIN = "admin"
    """Restart and stop processes."""

    def covers(self, needed: Role) -> bool:
        """Whether it may do what another role may."""
        ranks = tuple(Role)
        return ranks.index(self) >= ranks.index(needed)


class BadApiKey(GuesthouseError):
    """A key cannot be made as asked for, or there is none of that name."""


class KeysUnreadable(GuesthouseError):
    """The file of keys cannot be read or written."""


class ApiKey(Struct, frozen=True, forbid_unknown_fields=True):
    """A key as it is stored."""

    id: str
    """Also the beginning of the key itself."""
    name: str
    role: Role
    hash: str
    """SHA-256 of the whole key, in hexadecimal."""
    created: int
    """Unix seconds."""
    expires: int | None = None
    process: str | None = None
    """The only process that it is for; None for all."""

    def is_valid(self, now: float) -> bool:
        """Whether it has not expired."""
        return self.expires is None or self.expires > now


class ApiKeys:
    """The keys of one node.

    Args:
        home: the node's folder.

    Raises:
        KeysUnreadable: the file cannot be read.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / KEYS_FILE
        self._keys: dict[str, ApiKey] = {}
        self.revoked: Callable[[str], None] = lambda _: None
        """Called with the id of a key that was revoked."""
        self.unwritten: Callable[[KeysUnreadable], None] = lambda _: None
        """Called when a revocation could not be written: `write` tries again."""
        self._writing = threading.Lock()
        self._unwritten: dict[str, ApiKey] = {}
        """Revoked, and still in the file."""
        try:
            keys = decode(self._path.read_bytes(), type=list[ApiKey])
        except FileNotFoundError:
            keys = []
        except (OSError, MsgspecError) as error:
            raise KeysUnreadable(
                f"{self._path}: {error}: fix it, or remove it to start without keys"
            ) from None
        self._keys = {key.id: key for key in keys if key.hash != _NO_HASH}

    def listed(self) -> Sequence[ApiKey]:
        """All keys, oldest first, those that have expired included."""
        return tuple(self._keys.values())

    def find(self, text: str, now: float) -> ApiKey | None:
        """The key that somebody shows, unless it is unknown, revoked or expired. The hashes are compared in constant
        time, also for an id that does not exist.
        """
        shown = _KEY.fullmatch(text)
        key = None if shown is None else self._keys.get(shown[1])
        same = hmac.compare_digest(_hash(text), _NO_HASH if key is None else key.hash)
        return key if key is not None and same and key.is_valid(now) else None

    def has(self, made: str, now: float) -> bool:
        """Whether the key of that id is still valid."""
        key = self._keys.get(made)
        return key is not None and key.is_valid(now)

    def create(
        self, name: str, role: str, now: float, *, seconds: int | None = None, process: str | None = None
    ) -> tuple[str, ApiKey]:
        """Make a key; durable on return.

        Args:
            name: for the log and for revoking it.
            role: a `Role`.
            now: Unix seconds.
            seconds: how long it is valid; None for ever.
            process: the only process that it is for.

        Returns:
            The key, which is stored nowhere, and what is stored of it.

        Raises:
            BadApiKey: the name or role is not valid, the name is taken, or there are too many keys.
            BadProcessId: `process` is not a process id.
            KeysUnreadable: the file cannot be written; there is no new key.
        """
        if _NAME.fullmatch(name) is None:
            raise BadApiKey(
                "a key's name has 1 to 64 letters, digits, '.', '_' and '-', not first: choose another"
            )
        if role not in tuple(Role):
            raise BadApiKey(f"a key's role is one of {', '.join(Role)}")
        if any(name in (key.name, key.id) for key in self._keys.values()):
            raise BadApiKey(f"there is a key {name} already: choose another name, or revoke it first")
        if len(self._keys) >= MOST_KEYS:
            raise BadApiKey(f"there are {MOST_KEYS} keys, the most that a node has: revoke one first")
        named = None if process is None else str(canonical(ProcessId.parse(process)))
        made = secrets.token_hex(6)
        text = f"ghk_{made}_{secrets.token_urlsafe(32)}"
        expires = None if seconds is None else int(now) + seconds
        key = ApiKey(made, name, Role(role), _hash(text), int(now), expires, named)
        with self._writing:
            self._store({**self._keys, made: key})
            self._keys[made] = key
        return text, key

    def revoke(self, name: str) -> ApiKey:
        """Remove a key by its name or id; durable on return.

        Raises:
            BadApiKey: there is none.
            KeysUnreadable: the file cannot be written; the key is refused in this program, and what is written next
                leaves it out.
        """
        known = (*self._keys.values(), *tuple(self._unwritten.values()))
        found = next((key for key in known if name in (key.name, key.id)), None)
        if found is None:
            raise BadApiKey(f"there is no API key {name!a}: `guesthouse api-key list` shows them")
        self._unwritten[found.id] = found
        self._keys.pop(found.id, None)
        try:
            self._write_without(found)
        except KeysUnreadable as error:
            self.unwritten(error)
            raise
        finally:
            self.revoked(found.id)
        return found

    def write(self) -> None:
        """Write the keys that there are, without those that were revoked.

        Raises:
            KeysUnreadable: the file cannot be written.
        """
        with self._writing:
            self._store(dict(self._keys))

    def _write_without(self, key: ApiKey) -> None:
        """Write what there is without a key; where the disk has no room for it, overwrite what the key is known by."""
        try:
            self.write()
        except KeysUnreadable:
            with self._writing:
                if not self._overwritten(key):
                    raise
                self._unwritten.pop(key.id, None)

    def _overwritten(self, key: ApiKey) -> bool:
        try:
            content, shown = self._path.read_bytes(), key.hash.encode()
            at = content.find(_BEFORE_HASH + shown)
            if at < 0:
                return shown not in content
            atomic_file.overwrite(self._path, _NO_HASH.encode(), at + len(_BEFORE_HASH))
        except OSError:
            return False
        return True

    def forget_expired(self, prefix: str, now: float) -> None:
        """Drop keys whose names begin so and that have expired, when the file is next written."""
        over = [
            key.id for key in self._keys.values() if key.name.startswith(prefix) and not key.is_valid(now)
        ]
        for made in over:
            del self._keys[made]

    def _store(self, keys: dict[str, ApiKey]) -> None:
        left_out = tuple(self._unwritten)
        try:
            atomic_file.replace(self._path, pretty(encode(list(keys.values()))) + b"\n")
        except OSError as error:
            raise KeysUnreadable(disk_errors.unwritten(self._path, error)) from None
        for made in left_out:
            self._unwritten.pop(made, None)


def key_row(key: ApiKey) -> dict[str, Any]:
    """A key for a list: all but its hash."""
    return {name: value for name, value in asdict(key).items() if name != "hash"}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
