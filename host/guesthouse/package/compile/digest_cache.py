"""The SHA-256 of components, kept from one run of a node to the next: a node with many large ones starts sooner.

What is compiled is always read at a node's start (`private_files.py`), for it is native code and disks fail. Of a
component itself only its name in the compile cache depends on what is kept here. Nothing is kept of those on a file
system that is mounted for reading.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from threading import Lock
from typing import Any, Final

from guesthouse.package.compile.mac import MacKey
from guesthouse.package.compile.private_files import Digests, Stamp, UntrustedFile, new_file, read_private

MOST_KEPT: Final = 1024
"""Files; those that were read longest ago are forgotten."""
_MOST_BYTES: Final = 8 * 1024 * 1024
_KIND: Final = "digests"


class DigestCache(Digests):
    """As `Digests`, which remembers.

    Args:
        kept_in: a file of this user alone. Without it, and when it is not what was written, all is read anew.
        key: for the MAC, which shows that a node wrote it.
    """

    def __init__(self, kept_in: Path, key: MacKey) -> None:
        super().__init__()
        self._kept_in = kept_in
        self._key = key
        self._lock = Lock()
        self._loaded = False
        self._learnt = False
        self._read_only: set[Path] = set()
        """Those on a file system that is mounted for reading."""

    def of_open(self, path: Path, file: BufferedReader) -> str:
        """See `Digests`."""
        with self._lock:
            if not self._loaded:
                self._loaded = True
                self._known = self._load()
            if path not in self._read_only and os.fstatvfs(file.fileno()).f_flag & os.ST_RDONLY:
                # An image of a disk says itself when its files changed, and the one before it may have said the same.
                self._read_only.add(path)
                self._known.pop(path, None)
        known = self._known.get(path)
        digest = super().of_open(path, file)
        if self._known.get(path) is not known:
            self._learnt = True
        return digest

    def keep(self, folder: Path) -> None:
        """Write down what was learnt, if anything was; if that cannot be done, it will be learnt again.

        Args:
            folder: for what is half written, on the same file system.
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

    def _load(self) -> dict[Path, tuple[Stamp, str]]:
        with suppress(OSError, ValueError, KeyError, TypeError, UntrustedFile, RecursionError):
            read: Any = json.loads(read_private(self._kept_in, _MOST_BYTES))
            if self._key.holds(read["mac"], _KIND, read["digests"]):
                return {Path(path): (tuple(stamp), digest) for path, stamp, digest in read["digests"]}
        return {}
