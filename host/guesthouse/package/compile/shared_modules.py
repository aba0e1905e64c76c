"""Compiled core modules that components share, each once in the folder of the compile cache.

A name is the SHA-256 of the module and the engine's key. The key is that of the engine of large components: a small
one has no module of that size. Beside the code stands a MAC over the name and the content.

What is stored for a module is compiled by a subprocess that saw nothing but that module, whose digest the node computed
itself. So whoever wrote a component, and found a fault in the compiler, cannot choose what the modules of others are
compiled to.
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
    """The shared modules of a folder. Blocks on the file system."""

    def __init__(self, folder: Path, engine_key: str, key: MacKey, digests: Digests) -> None:
        self._folder = folder
        self._engine_key = engine_key
        self._key = key
        self._digests = digests
        self._in_use: set[str] = set()
        # Many components are looked for at once when a node starts: one of them reads a module, the others wait.
        self._reading = Lock()

    def path(self, digest: str) -> Path:
        """Where the code of a module is, if it is there."""
        return self._folder / f"{digest}-{self._engine_key}{MODULE_SUFFIX}"

    def find(self, digest: str) -> Path | None:
        """The code of a module, or None.

        Raises:
            UntrustedFile: it is not what was stored; it is deleted.
        """
        path = self.path(digest)
        try:
            mac = read_private(_mac_of(path), _MAC_BYTES).decode()
            with self._reading:
                content = self._digests.of(path)
            if not self._key.holds(mac, _KIND, path.name, content):
                raise UntrustedFile("the content is another")
            os.utime(_mac_of(path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, UntrustedFile) as error:
            self._delete(path)
            raise UntrustedFile(f"{path} was not what was stored ({error}) and is deleted") from None
        return path

    def store(self, digest: str, code: Path) -> Path:
        """Take a file of the folder with the code of a module: in one step, as nothing is without its MAC."""
        path = self.path(digest)
        mac = self._key.mac(_KIND, path.name, self._digests.of(code))
        with new_file(self._folder) as written:
            written.write_text(mac, encoding="ascii")
            # What was there is replaced, and never missing: another node may have named it and be about to load it.
            _mac_of(path).unlink(missing_ok=True)
            code.rename(path)
            written.rename(_mac_of(path))
        return path

    def use(self, digests: Iterable[str]) -> None:
        """See that `prune` lets these be: this node uses a component that has them. One that could not be compiled is
        none.
        """
        self._in_use.update(self.path(digest).name for digest in digests)

    def prune(self, named: Container[str], unused_seconds: float) -> int:
        """Delete the modules that no component names, by the names of their files, but none that this node
        uses or that anyone has used of late: another node may be about to name it.

        Returns:
            How many bytes that were.
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
        # The MAC goes first: without it the code is not believed.
        _mac_of(path).unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def _mac_of(path: Path) -> Path:
    return path.with_suffix(MAC_SUFFIX)


def _size_and_use(path: Path) -> tuple[int, float]:
    """How many bytes a module has, and when it was used last."""
    size, used = 0, 0.0
    for each in (path, _mac_of(path)):
        with suppress(FileNotFoundError):
            status = each.lstat()
            size, used = size + status.st_size, max(used, status.st_mtime)
    return size, used
