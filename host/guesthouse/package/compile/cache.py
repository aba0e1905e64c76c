"""The cache of compiled components. They are native code, so files are verified before a worker maps them.

The key is the SHA-256 of the component and of the engine's version and settings. An entry is a plan and a file
for each core module, except shared ones (`wasm/artifact_files.py`, `shared_modules.py`). Folder
and files are accessible to this user only. With each entry is a JSON file with the component's description, the digests
of its shared modules, and a MAC over these and the names and content of all files. Its key is outside of the folder: an
entry with a file truncated, swapped, missing or written without the key, or with one more that a worker would read,
is deleted and compiled again.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from guesthouse.core.config import MIB
from guesthouse.core.json_text import read_json
from guesthouse.package.compile.description import Description
from guesthouse.package.compile.digest_cache import DigestCache
from guesthouse.package.compile.mac import MacKey
from guesthouse.package.compile.private_files import Digests, UntrustedFile, copy, new_file, read_private
from guesthouse.package.compile.shared_modules import MAC_SUFFIX, SharedModules
from guesthouse.package.errors import CompileError
from guesthouse.wasm.artifact_files import MODULE_SUFFIX, PLAN_SUFFIX, SHARED_SUFFIX, core_path, names_in

MAX_CACHE_BYTES: Final = 4096 * MIB
"""Maximum size of the folder; the least recently used entries are deleted."""
MAX_NOTE_BYTES: Final = 4 * MIB
MOST_NOTE_COMMAS: Final = MAX_NOTE_BYTES // 16
"""Of a description's JSON."""

MAX_MODULES: Final = 1024
"""Core modules per component."""

_DIGESTS_SUFFIX: Final = ".digests"
"""Beside the folder, which workers can read: it contains paths of components."""

_NOTE_SUFFIX: Final = ".json"
_WHOLE_SUFFIX: Final = ".cwasm"
"""Of a component that was compiled as a whole, which earlier workers read."""
_KIND: Final = "component"
_DIGEST: Final = re.compile("[0-9a-f]{64}")
_HALF_MADE_SECONDS: Final = 3600.0
"""Longer than any compile takes."""


class Artifact(Struct, frozen=True):
    """A verified compiled component."""

    path: Path
    """Its plan; the modules' files are beside it."""
    description: Description


class Made(Struct, frozen=True):
    """A compiler subprocess's output file."""

    file: Path
    sizes: tuple[int, ...]
    """Sizes of its parts, in order: a plan and core modules; or the single core module that was to be compiled."""
    description: Description
    handed_back: frozenset[int] = frozenset()
    """The numbers of core modules that are left uncompiled, because others may share them."""


class _Layout(Struct, frozen=True):
    """The parts of an entry, from its note."""

    modules: int
    """The number of core modules."""
    shared: Mapping[int, str]
    """The digests of shared modules, by number."""

    @classmethod
    def from_note(cls, note: Any) -> _Layout:
        """Decode `to_note`'s result.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: it is invalid.
        """
        modules = note["modules"]
        shared = {int(number): digest for number, digest in note["shared"].items()}
        if type(modules) is not int or not 0 <= modules <= MAX_MODULES:
            raise ValueError("too many modules")
        if not set(shared) <= set(range(modules)) or not all(map(_DIGEST.fullmatch, shared.values())):
            raise ValueError("invalid shared modules")
        return cls(modules, shared)

    def to_note(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "modules": self.modules,
            "shared": {str(number): digest for number, digest in self.shared.items()},
        }


class CompileCache:
    """The cache folder of one node. Blocks on the file system."""

    def __init__(self, folder: Path, engine_key: str) -> None:
        self.folder = folder
        self._engine_key = engine_key
        self.key = MacKey(folder.with_name(folder.name + ".key"))
        self.digests: Final = Digests()
        """Of its files."""
        self.components: Final = DigestCache(folder.with_name(folder.name + _DIGESTS_SUFFIX), self.key)
        """Digests of the components that were compiled."""
        self.modules: Final = SharedModules(folder, engine_key, self.key, self.digests)
        """Shared modules."""
        self._in_use: set[str] = set()
        """Entries in use, by their files' common stem."""

    def prepare(self) -> Path:
        """Create the folder, check that it is private, and return it.

        Raises:
            CompileError: another user owns it or may enter it.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self.folder.stat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise CompileError(
                f"{self.folder}, the compile cache, is accessible to other users and may contain their code: remove it"
            )
        return self.folder

    def find(self, digest: str) -> Artifact | None:
        """The artifact of a component, or None if it is not cached, or a shared module of it is gone.

        Raises:
            UntrustedFile: it, or a shared module, is not what was stored; it was deleted.
        """
        stem = f"{digest}-{self._engine_key}"
        try:
            found = self._checked(stem)
        except FileNotFoundError:
            return None
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
            UntrustedFile,
        ) as error:
            self._delete(stem)
            raise UntrustedFile(
                f"{self.folder / stem} was not what was stored ({error}) and is deleted"
            ) from None
        artifact, layout = found
        if not all(self.modules.find(shared) for shared in layout.shared.values()):
            return None
        # The note's time, because a file whose times change is hashed again.
        with suppress(FileNotFoundError):  # another node is storing it just now
            os.utime(self._note(stem))
        self._use(stem, layout)
        return artifact

    def store_module(self, digest: str, code: Path) -> None:
        """Move a file of the folder with a shared module's code into the cache."""
        self.modules.store(digest, code)
        # Also now, because its component may never be stored.
        self._prune()

    def files_of(self, digest: str) -> list[Path]:
        """The files that `find` will hash, as far as one knows before: whether they are what was stored is to be found.

        Raises:
            OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, UntrustedFile: the component is
                not in the cache, or `find` will refuse it.
        """
        stem = f"{digest}-{self._engine_key}"
        _, layout = self._read_note(stem)
        return [*self._paths(stem, layout), *map(self.modules.path, layout.shared.values())]

    def _checked(self, stem: str) -> tuple[Artifact, _Layout]:
        note, layout = self._read_note(stem)
        paths = self._paths(stem, layout)
        if any(map(os.path.lexists, self._also_read(stem, layout))):
            raise UntrustedFile("there are additional files")
        content = {path.name: self.digests.of(path) for path in paths}
        if not self.key.holds(note["mac"], _KIND, content, layout.to_note(), note["description"]):
            raise UntrustedFile("the content is different")
        return Artifact(paths[0], Description.from_json(note["description"])), layout

    def _read_note(self, stem: str) -> tuple[Any, _Layout]:
        note = read_json(read_private(self._note(stem), MAX_NOTE_BYTES), MAX_NOTE_BYTES, MOST_NOTE_COMMAS)
        return note, _Layout.from_note(note)

    def store(self, digest: str, made: Made, shared: Mapping[int, str]) -> Artifact:
        """Move compiler output in the folder into the cache. The note makes it atomic.

        Args:
            digest: of the component.
            made: the output.
            shared: the digests of its shared modules, which are in the cache.
        """
        stem = f"{digest}-{self._engine_key}"
        layout = _Layout(len(made.sizes) - 1, shared)
        paths = self._paths(stem, layout)
        with ExitStack() as unfinished:
            parts = self._split(made, unfinished)
            if shared:
                parts.insert(1, self._naming(shared, unfinished))
            content = {path.name: self.digests.of(part) for path, part in zip(paths, parts, strict=True)}
            plain = made.description.to_json()
            mac = self.key.mac(_KIND, content, layout.to_note(), plain)
            written = unfinished.enter_context(new_file(self.folder))
            note = {"mac": mac, **layout.to_note(), "description": plain}
            written.write_text(json.dumps(note), encoding="utf-8")
            # Replaced, never missing: a worker of another node may be about to load it.
            self._note(stem).unlink(missing_ok=True)
            for part, path in zip(parts, paths, strict=True):
                part.rename(path)
            self._delete(stem, *paths)
            written.rename(self._note(stem))
        self._use(stem, layout)
        self._prune()
        return Artifact(paths[0], made.description)

    def _use(self, stem: str, layout: _Layout) -> None:
        self._in_use.add(stem)
        self.modules.use(layout.shared.values())

    def _split(self, made: Made, unfinished: ExitStack) -> list[Path]:
        """The output's parts as files, except shared modules."""
        files, at = [], 0
        with made.file.open("rb") as source:
            for number, size in enumerate(made.sizes, -1):
                if number not in made.handed_back:
                    files.append(unfinished.enter_context(new_file(self.folder)))
                    with files[-1].open("wb") as part:
                        copy(source.fileno(), at, size, part.fileno())
                at += size
        return files

    def _naming(self, shared: Mapping[int, str], unfinished: ExitStack) -> Path:
        """A file that lists the shared modules."""
        path = unfinished.enter_context(new_file(self.folder))
        names = {str(number): self.modules.path(digest).name for number, digest in shared.items()}
        path.write_text(json.dumps(names), encoding="ascii")
        return path

    def _note(self, stem: str) -> Path:
        return self.folder / f"{stem}{_NOTE_SUFFIX}"

    def _paths(self, stem: str, layout: _Layout) -> list[Path]:
        """The files of an entry except its note: the one that stands for the entry is first."""
        plan = self.folder / f"{stem}{PLAN_SUFFIX}"
        own = [core_path(plan, number) for number in range(layout.modules) if number not in layout.shared]
        return [plan, *([plan.with_suffix(SHARED_SUFFIX)] if layout.shared else []), *own]

    def _also_read(self, stem: str, layout: _Layout) -> list[Path]:
        """The files that a worker would read besides, if they were there: whatever a plan says, it reads all modules up
        to a number. Looked for one by one, as the folder may have thousands of files.
        """
        plan = self.folder / f"{stem}{PLAN_SUFFIX}"
        unlisted = [core_path(plan, layout.modules), plan.with_suffix(_WHOLE_SUFFIX)]
        return unlisted if layout.shared else [*unlisted, plan.with_suffix(SHARED_SUFFIX)]

    def _all_of(self, stem: str) -> Iterator[Path]:
        return self.folder.glob(f"{stem}.*")

    def _delete(self, stem: str, *but: Path) -> None:
        # The note first: without it nothing is trusted.
        for each in (self._note(stem), *(set(self._all_of(stem)) - set(but))):
            self.digests.forget(each)
            each.unlink(missing_ok=True)

    def _prune(self) -> None:
        """Delete incomplete files of killed nodes, unreferenced shared modules, and the least recently used
        entries until the rest fits; nothing that this node uses.
        """
        for left in self.folder.glob(".new-*"):
            with suppress(FileNotFoundError):
                if time.time() - left.lstat().st_mtime > _HALF_MADE_SECONDS:
                    left.unlink()
        total = 0
        components: dict[str, list[os.stat_result]] = {}
        for path in self.folder.glob("[!.]*.*"):
            with suppress(FileNotFoundError):  # another node may be pruning, too
                status = path.lstat()
                total += status.st_size
                if path.suffix not in (MODULE_SUFFIX, MAC_SUFFIX):
                    components.setdefault(path.name.partition(".")[0], []).append(status)
        named = Counter(name for stem in components for name in self._named_by(stem))
        total -= self.modules.prune(+named, _HALF_MADE_SECONDS)
        for stem in sorted(components, key=lambda stem: max(status.st_mtime for status in components[stem])):
            if total <= MAX_CACHE_BYTES:
                return
            if stem not in self._in_use:
                named.subtract(self._named_by(stem))
                self._delete(stem)
                total -= sum(status.st_size for status in components[stem])
                total -= self.modules.prune(+named, _HALF_MADE_SECONDS)

    def _named_by(self, stem: str) -> set[str]:
        """The files of an entry's shared modules; none if the entry is damaged."""
        try:
            text = read_private(self.folder / f"{stem}{SHARED_SUFFIX}", MAX_NOTE_BYTES)
            return set(names_in(text).values())
        except (OSError, ValueError, UntrustedFile):
            return set()
