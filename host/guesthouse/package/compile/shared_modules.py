"""Compiled core modules that components share, in the folder of the compile cache.

The key is the SHA-256 of the module and of the large engine's version and settings (the small
engine has no modules of that size). With the code is a MAC over its name and content.

Each is compiled by a subprocess that sees nothing but that module, whose digest the node computes
itself. So a malicious component that exploits the compiler cannot affect the compiled modules of
others.
"""

from __future__ import annotations

import os
import time
from collections.abc import Container, Iterable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final

from guesthouse.package.compile.mac import MacKey
from guesthouse.package.compile.private_files import Digests, UntrustedFile, new_file, read_private
from guesthouse.wasm.artifact_files import MODULE_SUFFIX

MAC_SUFFIX: Final = ".seal"  # as 0.1.0 named the files
_KIND: Final = "module"
_MAC_BYTES: Final = 64


class SharedModules:
    """The shared modules in a folder. Blocks on the file system."""

    def __init__(self, folder: Path, engine_key: str, key: MacKey, digests: Digests) -> None:
        self._folder = folder
        self._engine_key = engine_key
        self._key = key
        self._digests = digests
        self._in_use: set[str] = set()
        # When a node starts, many components are looked up at once: one reads a module, the others wait.
        self._reading = Lock()

    def path(self, digest: str) -> Path:
        """The path of a module's code, present or not."""
        return self._folder / f"{digest}-{self._engine_key}{MODULE_SUFFIX}"

    def find(self, digest: str) -> Path | None:
        """The code of a module, or None.

        Raises:
            UntrustedFile: it is not what was stored; it was deleted.
        """
        path = self.path(digest)
        try:
            mac = read_private(_mac_of(path), _MAC_BYTES).decode()
            with self._reading:
                content = self._digests.of(path)
            if not self._key.holds(mac, _KIND, path.name, content):
                raise UntrustedFile("the content is different")
            os.utime(_mac_of(path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, UntrustedFile) as error:
            self._delete(path)
            raise UntrustedFile(f"{path} was not what was stored ({error}) and is deleted") from None
        return path

    def store(self, digest: str, code: Path) -> Path:
        """Move a file of the folder with a module's code into the cache. The MAC makes it atomic."""
        path = self.path(digest)
        mac = self._key.mac(_KIND, path.name, self._digests.of(code))
        with new_file(self._folder) as written:
            written.write_text(mac, encoding="ascii")
            # Replaced, never missing: another node may be about to load it.
            _mac_of(path).unlink(missing_ok=True)
            code.rename(path)
            written.rename(_mac_of(path))
        return path

    def use(self, digests: Iterable[str]) -> None:
        """Keep `prune` from deleting these, which this node uses."""
        self._in_use.update(self.path(digest).name for digest in digests)

    def prune(self, named: Container[str], unused_seconds: float) -> int:
        """Delete modules that no component names (by file name), except those that this node
        uses or that were used recently: another node may be about to name them.

        Returns:
            The bytes freed.
        """
        freed = 0
        files = (*self._folder.glob(f"[!.]*{MODULE_SUFFIX}"), *self._folder.glob(f"[!.]*{MAC_SUFFIX}"))
        for path in {each.with_suffix(MODULE_SUFFIX) for each in files}:
            if path.name not in named and path.name not in self._in_use:
                size, used = _size_and_use(path)
                if time.time() - used > unused_seconds:
                    self._delete(path)
                    freed += size
        return freed

    def _delete(self, path: Path) -> None:
        self._digests.forget(path)
        # The MAC first: without it the code is not trusted.
        _mac_of(path).unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def _mac_of(path: Path) -> Path:
    return path.with_suffix(MAC_SUFFIX)


def _size_and_use(path: Path) -> tuple[int, float]:
    """The size of a module, and when it was last used."""
    size, used = 0, 0.0
    for each in (path, _mac_of(path)):
        with suppress(FileNotFoundError):
            status = each.lstat()
            size, used = size + status.st_size, max(used, status.st_mtime)
    return size, used
