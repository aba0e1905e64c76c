"""Files, durable: the API of `vfs:distro:sys`. All processes of a package share its drives.

The manifest has to request the capability: `request-capabilities = ["vfs:distro:sys"]`. Each call waits for the
node's answer, after which `get_blob` returns no longer the payload of the message that is being handled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NoReturn

from guesthouse_sdk._checks import checked_bytes, checked_text
from guesthouse_sdk._runtime_modules import Refusal, ask
from guesthouse_sdk.errors import GuestError
from guesthouse_sdk.system import our

__all__ = [
    "AlreadyExists",
    "Drive",
    "Entry",
    "NotEmpty",
    "NotFound",
    "NotStored",
    "QuotaExceeded",
    "ReadOnly",
    "VfsError",
]


class VfsError(GuestError):
    """An operation on the file or folder `path` was refused, and changed nothing."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


class NotFound(VfsError):
    """There is no such file, or no such folder."""


class AlreadyExists(VfsError):
    """There is a folder where a file would be, or a file where a folder would be."""


class ReadOnly(VfsError):
    """The drive `pkg` cannot be changed."""


class NotEmpty(VfsError):
    """The folder has entries."""


class QuotaExceeded(VfsError):
    """The package would store more than the node allows (`process.drive_bytes`), or a file of `pkg` is too large
    to be read.
    """


class NotStored(VfsError):
    """The node could not read or write it; its log says why."""


_ERRORS: Final[dict[str, tuple[type[VfsError], str]]] = {
    "NotFound": (NotFound, "there is none"),
    "AlreadyExists": (AlreadyExists, "there is a file or folder of that name in the way"),
    "ReadOnly": (ReadOnly, "the drive pkg has the package's own files, which cannot be changed"),
    "NotEmpty": (NotEmpty, "the folder is not empty"),
    "QuotaExceeded": (QuotaExceeded, "it is more than the node allows: delete files"),
    "IOError": (NotStored, "the node could not read or write it; its log says why"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a folder in a folder."""

    name: str
    is_folder: bool


class Drive:
    """A drive of this package. It is there with its first file; `pkg` has the files that came with the package, to
    be read.

    A path is `a.txt` or `folder/a.txt`, `""` the drive itself. `..` is refused, so a path from a client cannot
    leave the drive. A change is made whole or not at all, and is durable once the method returns. Every method may
    raise

    - `VfsError`: refused; the subclass says why.
    - `NotAuthorised`: the manifest does not request `vfs:distro:sys`.
    - `SendError`: the node did not answer; whether a change was made is not known.
    - `ValueError`: the path has `..`.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        """Use a drive.

        Args:
            name: one part of a path, such as `notes`.
        """
        if "/" in checked_text(name, "the name of a drive") or name in ("", ".", ".."):
            raise ValueError(f"{name!r} is no name of a drive: write one such as notes")
        self.name = name

    def read(self, path: str) -> bytes:
        """The content of a file.

        Raises:
            NotFound: there is none.
        """
        return self._ask(path, "Read")[1] or b""

    def read_text(self, path: str) -> str:
        """The content of a file in UTF-8.

        Raises:
            NotFound: there is none.
            UnicodeDecodeError: it is not UTF-8.
        """
        return self.read(path).decode()

    def write(self, path: str, content: str | bytes) -> None:
        """Replace a file or create it, with the folders that it is in. A str is written as UTF-8."""
        self._ask(path, "Write", _content(content))

    def append(self, path: str, content: str | bytes) -> None:
        """Add to the end of a file, or create it. The node writes the whole file again, so append to small ones."""
        raw = _content(content)
        try:
            self._ask(path, "Append", raw)
        except NotFound:
            self._ask(path, {"OpenFile": {"create": True}})
            self._ask(path, "Append", raw)

    def delete(self, path: str) -> None:
        """Remove a file.

        Raises:
            NotFound: there is none.
        """
        self._ask(path, "RemoveFile")

    def exists(self, path: str) -> bool:
        """Whether there is a file or a folder."""
        try:
            self._ask(path, "Metadata")
        except NotFound:
            return False
        return True

    def size(self, path: str) -> int:
        """The bytes of a file; 0 for a folder.

        Raises:
            NotFound: there is none.
        """
        return int(self._ask(path, "Metadata")[0]["Metadata"]["len"])

    def list(self, path: str = "") -> list[Entry]:
        """What is in a folder, at most 10,000 entries, in the order of their names.

        Raises:
            NotFound: there is no such folder.
        """
        answer, _ = self._ask(path, "ReadDir")
        return [
            Entry(entry["path"].rpartition("/")[2], entry["file_type"] == "Directory")
            for entry in answer["ReadDir"]
        ]

    def make_folder(self, path: str) -> None:
        """Create a folder, and those that it is in; one that is there stays."""
        self._ask(path, "CreateDirAll")

    def delete_folder(self, path: str, *, with_content: bool = False) -> None:
        """Remove a folder.

        Raises:
            NotEmpty: it has entries, and not `with_content`.
            NotFound: there is none.
        """
        self._ask(path, "RemoveDirAll" if with_content else "RemoveDir")

    def rename(self, path: str, new_path: str) -> None:
        """Move a file within the drive; a file that is there is replaced.

        Raises:
            NotFound: there is no such file.
        """
        self._ask(path, {"Rename": {"new_path": self._whole(new_path)}})

    def copy(self, path: str, new_path: str) -> None:
        """Copy a file within the drive; a file that is there is replaced.

        Raises:
            NotFound: there is no such file.
        """
        self._ask(path, {"CopyFile": {"new_path": self._whole(new_path)}})

    def __repr__(self) -> str:
        return f"Drive({self.name!r})"

    def _whole(self, path: str) -> str:
        if ".." in checked_text(path, "a path").split("/"):
            raise ValueError(f"{path!r} has ..: a path does not leave its drive")
        process = our().process
        return f"/{process.package_name}:{process.publisher_node}/{self.name}/{path}"

    def _ask(self, path: str, action: object, blob: bytes | None = None) -> tuple[Any, bytes | None]:
        whole = self._whole(path)
        try:
            return ask("vfs", {"path": whole, "action": action}, blob)
        except Refusal as refusal:
            _raise(f"{self.name}/{path}", refusal)


def _raise(path: str, refusal: Refusal) -> NoReturn:
    kind, reason = _ERRORS.get(refusal.kind, (VfsError, f"{refusal.kind}: {refusal.reason}"))
    raise kind(path, reason) from None


def _content(content: str | bytes) -> bytes:
    if isinstance(content, str):
        return checked_text(content, "the content of a file").encode()
    return checked_bytes(content, "the content of a file", "a str or bytes")
