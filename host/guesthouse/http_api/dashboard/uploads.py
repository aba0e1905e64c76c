"""Packages that pages send, in parts, until they are installed or the page is gone."""

from __future__ import annotations

import base64
import re
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from guesthouse.http_api.dashboard.page_messages import PART_BYTES
from guesthouse.http_api.problems import INVALID, ApiProblem, ProblemKind

TOO_LARGE: Final = ProblemKind(413, "package-too-big", "The package is too large")
BUSY: Final = ProblemKind(409, "upload-busy", "Too many packages are being sent at the moment")
INCOMPLETE: Final = ProblemKind(409, "upload-incomplete", "The package has not arrived completely")
MOST_UPLOADS: Final = 4
"""In a node at a time; each page has one."""
_PREFIX: Final = ".partial-upload-"
"""What begins so in the folder of unpacked packages is removed when the node starts."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ARCHIVE: Final = "package.zip"


class Upload:
    """A package that arrives. Its methods block on the disk.

    Args:
        folder: where it is kept, in a folder of its own.
        name: of the file, as the page has it.
        size: in bytes.
    """

    def __init__(self, folder: Path, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self._component = Path(name).stem if name.endswith(".wasm") else None
        if self._component is not None and _NAME.fullmatch(self._component) is None:
            raise ApiProblem(
                INVALID, "a component's name has letters, digits, '.', '_' and '-': rename the file"
            )
        folder.mkdir(mode=0o700, exist_ok=True)
        self._scratch = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
        self._source = self._scratch / "package" if self._component else self._scratch / _ARCHIVE
        if self._component is not None:
            self._source.mkdir()
            (self._source / "package.toml").write_text(_manifest(self._component))
        self._file = (self._source / "component.wasm" if self._component else self._source).open("wb")
        self._writing = threading.Lock()  # a page may send parts without waiting
        self.received = 0

    def add(self, text: str) -> int:
        """The next part, in base64. Returns how many bytes have arrived.

        Raises:
            ApiProblem: there is more than there should be.
            ValueError: it is not base64.
        """
        part = base64.b64decode(text, validate=True)
        with self._writing:
            if not part or len(part) > PART_BYTES or self.received + len(part) > self.size:
                raise ApiProblem(
                    INVALID, f"a part has 1 to {PART_BYTES} bytes, and no more come than were told"
                )
            self._file.write(part)
            self.received += len(part)
            return self.received

    def complete(self) -> Path:
        """The archive, or the folder made for a component.

        Raises:
            ApiProblem: something is missing.
        """
        if self.received < self.size:
            raise ApiProblem(INCOMPLETE)
        self._file.flush()
        return self._source

    def named(self, text: str) -> str:
        """A text about it with the name that the user knows."""
        return text.replace(str(self._source), self.name)

    def close(self) -> None:
        """Delete it."""
        self._file.close()
        shutil.rmtree(self._scratch, ignore_errors=True)


def _manifest(name: str) -> str:
    """Of a package around a bare component, as `guesthouse run` takes one."""
    version = time.strftime("0.0.%Y%m%d%H%M%S", time.gmtime())
    return (
        f'[package]\nname = "{name}"\npublisher = "local.os"\nversion = "{version}"\n'
        'description = "A component without a manifest"\n\n'
        f'[[process]]\nname = "{name}"\nwasm = "component.wasm"\non-exit = "restart"\n'
    )
