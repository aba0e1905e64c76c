"""Compiled components on disk. They are native code, so what a worker maps is checked first.

A name is the SHA-256 of the component and the engine's key. A component is one file, or a plan and a file
for each of its core modules (`canonical/files.py`). The folder belongs to this user and to nobody else, and so
does each file. Beside them stands a JSON file with the component's description and a MAC over the names and the
content of all files and the description, whose key lies outside of the folder: a component of which a file was
cut off, mixed up, left out, added or written by anyone without the key is deleted and compiled anew.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from guesthouse.canonical.files import PLAN_SUFFIX, core_path
from guesthouse.config import MIB
from guesthouse.package.description import Description
from guesthouse.package.errors import CompileError

MAX_CACHE_BYTES: Final = 4096 * MIB
"""What the folder may hold; the longest unused go first."""
MAX_NOTE_BYTES: Final = 4 * MIB
"""A description's JSON."""

MAX_MODULES: Final = 1024
"""Files of one component beside its plan."""

_WHOLE_SUFFIX: Final = ".cwasm"
_NOTE_SUFFIX: Final = ".json"
_KEY_BYTES: Final = 32
_HALF_MADE_SECONDS: Final = 3600.0
"""Longer than any compile takes."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled component that was checked."""

    path: Path
    """Its plan, if it ends in `PLAN_SUFFIX`; the modules' files stand beside it. Else all of its code."""
    description: Description


@dataclass(frozen=True, slots=True)
class Made:
    """What a compiler subprocess left in one file."""

    file: Path
    sizes: tuple[int, ...]
    """Of its parts, one after the other."""
    planned: bool
    """Whether the first is a plan and the others are core modules."""
    description: Description


class Tampered(Exception):
    """A cached file is not what was stored."""


class CompileCache:
    """The folder of compiled components of one node. Blocks on the file system."""

    def __init__(self, folder: Path, engine_key: str) -> None:
        self.folder = folder
        self._engine_key = engine_key
        self._key_path = folder.with_name(folder.name + ".key")
        self._in_use: set[str] = set()
        """By the names that their files have in common."""

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
        stem = f"{digest}-{self._engine_key}"
        try:
            note = json.loads(_read_own(self._note(stem), MAX_NOTE_BYTES))
            paths = self._paths(stem, note["modules"])
            if set(self._all_of(stem)) - {*paths, self._note(stem)}:
                raise Tampered("there are more files than were stored")
            digests = {path.name: _digest_own(path) for path in paths}
            if not hmac.compare_digest(note["mac"], self._mac(digests, note["description"])):
                raise Tampered("the content is another")
            description = Description.from_json(note["description"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError, Tampered) as error:
            self._delete(stem)
            raise Tampered(f"{self.folder / stem} was not what was stored ({error}) and is deleted") from None
        os.utime(paths[0])
        self._in_use.add(stem)
        return Artifact(paths[0], description)

    def store(self, digest: str, made: Made) -> Artifact:
        """Take what was made, in a file of the folder, into the cache: in one step, as nothing is without its note."""
        stem = f"{digest}-{self._engine_key}"
        modules = len(made.sizes) - 1 if made.planned else None
        paths = self._paths(stem, modules)
        with ExitStack() as unfinished:
            parts = self._split(made, unfinished) if made.planned else [made.file]
            digests = {path.name: _digest_own(part) for path, part in zip(paths, parts, strict=True)}
            plain = made.description.to_json()
            note = {"mac": self._mac(digests, plain), "modules": modules, "description": plain}
            written = self._new_file(unfinished)
            written.write_text(json.dumps(note), encoding="utf-8")
            self._delete(stem)
            for part, path in zip(parts, paths, strict=True):
                part.rename(path)
            written.rename(self._note(stem))
        self._in_use.add(stem)
        self._prune()
        return Artifact(paths[0], made.description)

    def _split(self, made: Made, unfinished: ExitStack) -> list[Path]:
        """The parts of what was made as files of their own."""
        files = [self._new_file(unfinished) for _ in made.sizes]
        at = 0
        with made.file.open("rb") as source:
            for size, path in zip(made.sizes, files, strict=True):
                with path.open("wb") as part:
                    _copy(source.fileno(), at, size, part.fileno())
                at += size
        return files

    def _new_file(self, unfinished: ExitStack) -> Path:
        """An empty file of this user alone, deleted in the end unless it was renamed."""
        path = self.folder / f".new-{secrets.token_hex(8)}"
        unfinished.callback(path.unlink, missing_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        return path

    def _note(self, stem: str) -> Path:
        return self.folder / f"{stem}{_NOTE_SUFFIX}"

    def _paths(self, stem: str, modules: object) -> list[Path]:
        """What a component is stored in beside its note: the file that stands for all of it comes first."""
        if modules is None:
            return [self.folder / f"{stem}{_WHOLE_SUFFIX}"]
        if type(modules) is not int or not 0 <= modules <= MAX_MODULES:
            raise ValueError("no component has so many modules")
        plan = self.folder / f"{stem}{PLAN_SUFFIX}"
        return [plan, *(core_path(plan, number) for number in range(modules))]

    def _all_of(self, stem: str) -> Iterator[Path]:
        return self.folder.glob(f"{stem}.*")

    def _delete(self, stem: str) -> None:
        for each in self._all_of(stem):
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
        found: dict[str, list[os.stat_result]] = {}
        for path in self.folder.glob("[!.]*.*"):
            found.setdefault(path.name.partition(".")[0], []).append(path.stat())
        sizes = {stem: sum(status.st_size for status in files) for stem, files in found.items()}
        total = sum(sizes.values())
        for stem in sorted(found, key=lambda stem: max(status.st_mtime for status in found[stem])):
            if total <= MAX_CACHE_BYTES:
                return
            if stem not in self._in_use:
                self._delete(stem)
                total -= sizes[stem]

    def _mac(self, digests: Mapping[str, str], description: object) -> str:
        """Over the name and the SHA-256 of each file, and the description."""
        text = json.dumps([digests, description], sort_keys=True)
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


def _copy(source: int, at: int, size: int, to: int) -> None:
    """Copy part of a file, without its content passing through this program."""
    end = at + size
    while at < end:
        sent = os.sendfile(to, source, at, end - at)
        if not sent:
            raise OSError(errno.EIO, "a compiled component became shorter")
        at += sent
