"""Compiled components on disk. They are native code, so what a worker maps is checked first.

A name is the SHA-256 of the component and the engine's key. The folder belongs to this user and to nobody
else, and so does each file. Beside each stands a JSON file with the component's description and a MAC over
name, code and description, whose key lies outside of the folder: a file that was cut off, mixed up or
written by anyone without the key is deleted and compiled anew.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from guesthouse.config import MIB
from guesthouse.package.description import Description
from guesthouse.package.errors import CompileError

MAX_CACHE_BYTES: Final = 4096 * MIB
"""What the folder may hold; the longest unused go first."""
MAX_NOTE_BYTES: Final = 4 * MIB
"""A description's JSON."""

_KEY_BYTES: Final = 32
_HALF_MADE_SECONDS: Final = 3600.0
"""Longer than any compile takes."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled component that was checked."""

    path: Path
    description: Description


class Tampered(Exception):
    """A cached file is not what was stored."""


class CompileCache:
    """The folder of compiled components of one node. Blocks on the file system."""

    def __init__(self, folder: Path, engine_key: str) -> None:
        self.folder = folder
        self._engine_key = engine_key
        self._key_path = folder.with_name(folder.name + ".key")
        self._in_use: set[Path] = set()

    def prepare(self) -> Path:
        """Make the folder, check that it is ours alone, and return it.

        Raises:
            CompileError: another user owns it or may enter it.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self.folder.stat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise CompileError(
                f"{self.folder}, the compile cache, is open to other users and may hold their code: remove it"
            )
        return self.folder

    def find(self, digest: str) -> Artifact | None:
        """The artifact of a component, or None.

        Raises:
            Tampered: it is not what was stored; it is deleted.
        """
        path, note_path = self._paths(digest)
        try:
            note = json.loads(_read_own(note_path, MAX_NOTE_BYTES))
            code = _digest_own(path)
            if not hmac.compare_digest(note["mac"], self._mac(path.name, code, note["description"])):
                raise Tampered(f"{path} is not what was stored")
            description = Description.from_json(note["description"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError, Tampered) as error:
            self._delete(path)
            raise Tampered(f"{path} was not what was stored ({error}) and is deleted") from None
        os.utime(path)
        self._in_use.add(path)
        return Artifact(path, description)

    def store(self, digest: str, code: Path, description: Description) -> Artifact:
        """Take a finished file from the folder into the cache, in one step."""
        path, note_path = self._paths(digest)
        plain = description.to_json()
        note = {"mac": self._mac(path.name, _digest_own(code), plain), "description": plain}
        partial = self.folder / f".new-{secrets.token_hex(8)}"
        try:
            partial.touch(mode=0o600, exist_ok=False)
            partial.write_text(json.dumps(note), encoding="utf-8")
            code.rename(path)
            partial.rename(note_path)
        finally:
            partial.unlink(missing_ok=True)
        self._in_use.add(path)
        self._prune()
        return Artifact(path, description)

    def _paths(self, digest: str) -> tuple[Path, Path]:
        path = self.folder / f"{digest}-{self._engine_key}.cwasm"
        return path, path.with_suffix(".json")

    def _delete(self, path: Path) -> None:
        for each in (path, path.with_suffix(".json")):
            with suppress(FileNotFoundError):
                each.unlink()

    def _prune(self) -> None:
        """Delete what a killed node left half made, and the longest unused until the rest fits; nothing
        that this node uses.
        """
        for left in self.folder.glob(".new-*"):
            with suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > _HALF_MADE_SECONDS:
                    left.unlink()
        found = [(path.stat(), path) for path in self.folder.glob("*.cwasm")]
        total = sum(status.st_size for status, _ in found)
        for status, path in sorted(found, key=lambda each: each[0].st_mtime):
            if total <= MAX_CACHE_BYTES:
                return
            if path not in self._in_use:
                self._delete(path)
                total -= status.st_size

    def _mac(self, name: str, code_digest: str, description: object) -> str:
        text = json.dumps([name, code_digest, description], sort_keys=True)
        return hmac.new(self._key(), text.encode(), hashlib.sha256).hexdigest()

    def _key(self) -> bytes:
        if not self._key_path.exists():
            self._make_key()
        key = _read_own(self._key_path, _KEY_BYTES)
        if len(key) != _KEY_BYTES:
            raise CompileError(f"{self._key_path}, the compile cache's key, is damaged: remove it")
        return key

    def _make_key(self) -> None:
        """Whole or not at all, whatever ends this node meanwhile; another node's that came first stays."""
        partial = self._key_path.with_name(f".new-{secrets.token_hex(8)}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
                file.flush()
                os.fsync(descriptor)
            with suppress(FileExistsError):
                self._key_path.hardlink_to(partial)
        finally:
            partial.unlink()


def _open_own(path: Path) -> int:
    """Open a regular file that this user alone can read and write, not through a link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    status = os.fstat(descriptor)
    if (
        not stat.S_ISREG(status.st_mode)
        or status.st_uid != os.geteuid()
        or status.st_mode & 0o077
        or status.st_nlink != 1
    ):
        os.close(descriptor)
        raise Tampered(f"{path} is not a file of this user alone")
    return descriptor


def _read_own(path: Path, limit: int) -> bytes:
    with open(_open_own(path), "rb") as file:
        return file.read(limit)


def _digest_own(path: Path) -> str:
    with open(_open_own(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
