"""Caches the SHA-256 of components across starts, so that a node with many large ones starts faster.

Compiled code is always hashed at a node's start (`private_files.py`), because it is native code and disks fail. Of a
component only its key in the compile cache depends on this. Files on read-only file systems are not cached.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from threading import Lock
from typing import Any, Final

from guesthouse.package.compile.mac import MacKey
from guesthouse.package.compile.private_files import (
    Digests,
    Stamp,
    UntrustedFile,
    new_file,
    read_private,
    stamp_of,
)

MOST_KEPT: Final = 1024
"""Files; those hashed longest ago are dropped."""
_MOST_BYTES: Final = 8 * 1024 * 1024
_KIND: Final = "digests"


class DigestCache(Digests):
    """`Digests` that persist.

    Args:
        kept_in: a private file. If it is missing or invalid, all files are hashed again.
        key: of the MAC, which shows that a node wrote it.
    """

    def __init__(self, kept_in: Path, key: MacKey) -> None:
        super().__init__()
        self._kept_in = kept_in
        self._key = key
        self._lock = Lock()
        self._loaded = False
        self._learnt = False
        self._read_only: set[Path] = set()
        """Those on a read-only file system."""

    def of_open(self, path: Path, file: BufferedReader) -> str:
        """See `Digests`."""
        with self._lock:
            self._load()
            if path not in self._read_only and os.fstatvfs(file.fileno()).f_flag & os.ST_RDONLY:
                # Images contain their files' times, so another image may have the same ones.
                self._read_only.add(path)
                self._known.pop(path, None)
        known = self._known.get(path)
        digest = super().of_open(path, file)
        if self._known.get(path) is not known:
            self._learnt = True
        return digest

    def keep(self, folder: Path) -> None:
        """Write new digests, if any; errors are ignored, since they can be computed again.

        Args:
            folder: for the temporary file, on the same file system.
        """
        if not self._learnt:
            return
        with self._lock, suppress(OSError):
            self._learnt = False
            known = [each for each in self._known.items() if each[0] not in self._read_only][-MOST_KEPT:]
            plain = [[str(path), stamp, digest] for path, (stamp, digest) in known]
            with new_file(folder) as written:
                text = json.dumps({"mac": self._key.mac(_KIND, plain), "digests": plain})
                written.write_text(text, encoding="ascii")
                written.rename(self._kept_in)

    def are_kept(self) -> bool:
        """Whether an earlier run has left any."""
        return self._kept_in.exists()

    def unchanged(self) -> Iterator[tuple[Path, str]]:
        """The files whose digests are known and that have not changed since, with these."""
        with self._lock:
            self._load()
            known = dict(self._known)
        for path, (stamp, digest) in known.items():
            with suppress(OSError):
                if stamp_of(path.stat()) == stamp:
                    yield path, digest

    def _load(self) -> None:
        if not self._loaded:
            self._loaded = True
            self._known = self._kept()

    def _kept(self) -> dict[Path, tuple[Stamp, str]]:
        with suppress(OSError, ValueError, KeyError, TypeError, UntrustedFile, RecursionError):
            read: Any = json.loads(read_private(self._kept_in, _MOST_BYTES))
            if self._key.holds(read["mac"], _KIND, read["digests"]):
                return {Path(path): (tuple(stamp), digest) for path, stamp, digest in read["digests"]}
        return {}
