"""`vfs:distro:sys`: files in a package's own drives.

A request is `{"path": "/package:publisher/drive/…", "action": ACTION}`. Contents are blobs. ACTION is one of

- `"CreateDrive"`, `"CreateDir"`, `"CreateDirAll"`: `"Ok"`
- `"CreateFile"`, `{"OpenFile": {"create": BOOL}}`, `"CloseFile"`, `"SyncAll"`: `"Ok"`
- `"Write"`, `"WriteAll"` (the blob becomes the content), `"Append"`, `{"SetLen": N}`: `"Ok"`
- `"Read"`, `"ReadToEnd"`: `"Read"` with the content as blob; `"ReadToString"`: `{"ReadToString": TEXT}`
- `"ReadDir"`: `{"ReadDir": [{"path", "file_type": "File"|"Directory"}]}`
- `"Metadata"`: `{"Metadata": {"len", "file_type"}}`; `"Len"`: `{"Len": N}`; `"Hash"`: `{"Hash": [32 bytes]}` (SHA-256)
- `"RemoveFile"`, `"RemoveDir"`, `"RemoveDirAll"`, `{"Rename": {"new_path"}}`, `{"CopyFile": {"new_path"}}`: `"Ok"`

The drive `pkg` has the package's files and is read-only. All other drives are in the node's database, so changes are
atomic, and durable once answered. There are no open files: `OpenFile` only checks, and `Seek` and `ReadExact` are not
supported. Errors are `{"Err": {NAME: {"path", "action", "error"}}}` with one of `NoCap` (another package's drive),
`NotFound`, `AlreadyExists`, `ReadOnly`, `NotEmpty`, `QuotaExceeded`, `NotUtf8`, `BadRequest`; for invalid requests and
for `IOError`, only `error` is always present.
Quota: `process.drive_bytes` for each package.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from guesthouse.core.address import ProcessId
from guesthouse.core.json_forms import BadRequest, encoded, error, field, parse, tagged
from guesthouse.core.messages import LazyLoadBlob
from guesthouse.kernel.messaging.modules import ModuleRequest
from guesthouse.kernel.storage.database import State
from guesthouse.modules.drives import FILES, Absent, Drive, DriveRefused, Folder, StoredDrives
from guesthouse.modules.module import OK, ModuleContext, RuntimeModule
from guesthouse.package.drive_path import DrivePath, drive_path

VFS: Final = ProcessId("vfs", "distro", "sys")
_Reply = tuple[bytes, bytes | None]


class Vfs(RuntimeModule):
    """The module.

    Args:
        folder_of: returns the folder of an installed package by its id, or None.
        quota: maximum bytes of one package's drives.
        most: maximum bytes of a file of `pkg` that can be read.
    """

    id = VFS
    tables = (FILES,)

    @classmethod
    def make(cls, context: ModuleContext) -> Vfs:
        """See `RuntimeModule`."""
        limits = context.limits
        return cls(context.state, context.folder_of, limits.drive_bytes, limits.message_bytes)

    def __init__(self, state: State, folder_of: Callable[[str], Path | None], quota: int, most: int) -> None:
        self._state = state
        self._folder_of = folder_of
        self._quota = quota
        self._most = most

    def request(self, request: ModuleRequest) -> None:
        """See `Module`."""
        try:
            work = self._work(request)
        except BadRequest as bad:
            request.answer(error("BadRequest", str(bad)), None)
            return

        def answer(reply: _Reply) -> None:
            body, content = reply
            request.answer(body, None if content is None else LazyLoadBlob(None, content))

        package, size = request.source.process.package_id, request.size
        failed = error("IOError", "the log of the node says more"), None
        self._state.execute_for(package, size, work, failed, answer)

    def _work(self, request: ModuleRequest) -> Callable[[sqlite3.Connection], _Reply]:
        whole = parse(request.body)
        package = request.source.process.package_id
        path = drive_path(field(whole, "path", str), package)
        name, fields = tagged(field(whole, "action", object))
        blob = None if request.blob is None else request.blob.bytes
        act = _ACTIONS.get(name)
        if act is None:
            raise BadRequest(f"no action is named {name[:40]}")
        target = path
        if name in _WITH_TARGET:
            target = drive_path(field(fields, "new_path", str), package)
        if path is None or target is None:
            return lambda _: (_refused("NoCap", whole["path"], name), None)
        argument = target if name in _WITH_TARGET else fields
        here, folder = path, self._folder_of(package)

        def work(connection: sqlite3.Connection) -> _Reply:
            stored = StoredDrives(connection, package, self._quota)
            drive: Drive = Folder(folder, self._most) if here.in_package else stored
            try:
                with _whole(connection):
                    return act(drive, here, argument, blob)
            except DriveRefused as refused:
                return _refused(str(refused), whole["path"], name), None
            except BadRequest as bad:
                return error("BadRequest", str(bad)), None

        return work


@contextmanager
def _whole(connection: sqlite3.Connection) -> Iterator[None]:
    """Roll back an action that is refused, without affecting others in the same transaction."""
    if not connection.in_transaction:
        connection.execute("BEGIN")
    connection.execute("SAVEPOINT action")
    try:
        yield
    except (DriveRefused, BadRequest):
        connection.execute("ROLLBACK TO action")
        raise
    finally:
        connection.execute("RELEASE action")


def _refused(kind: str, path: str, action: str) -> bytes:
    """An error with all fields that the Kinode OS's libraries expect."""
    return encoded({"Err": {kind: {"path": path, "action": action, "error": kind}}})


_Act = Callable[[Drive, DrivePath, Any, bytes | None], _Reply]


def _made(drive: Drive, path: DrivePath, _: Any, __: bytes | None) -> _Reply:
    drive.make_folder(path)
    return OK, None


def _create(drive: Drive, path: DrivePath, _: Any, __: bytes | None) -> _Reply:
    drive.write(path, b"")
    return OK, None


def _open(drive: Drive, path: DrivePath, fields: Any, _: bytes | None) -> _Reply:
    try:
        drive.read(path)
    except Absent:
        if not field(fields, "create", bool, False):
            raise
        drive.write(path, b"")
    return OK, None


def _write(drive: Drive, path: DrivePath, _: Any, blob: bytes | None) -> _Reply:
    drive.write(path, _content(blob))
    return OK, None


def _append(drive: Drive, path: DrivePath, _: Any, blob: bytes | None) -> _Reply:
    drive.write(path, drive.read(path) + _content(blob))
    return OK, None


def _set_len(drive: Drive, path: DrivePath, length: Any, _: bytes | None) -> _Reply:
    content = drive.read(path)
    if type(length) is not int or not 0 <= length <= 2**40:
        raise DriveRefused("BadRequest")
    drive.check_room(path, length)
    drive.write(path, content[:length].ljust(length, b"\0"))
    return OK, None


def _read(drive: Drive, path: DrivePath, _: Any, __: bytes | None) -> _Reply:
    return b'"Read"', drive.read(path)


def _read_text(drive: Drive, path: DrivePath, _: Any, __: bytes | None) -> _Reply:
    try:
        return encoded({"ReadToString": drive.read(path).decode()}), None
    except UnicodeDecodeError:
        raise DriveRefused("NotUtf8") from None


def _list(drive: Drive, path: DrivePath, _: Any, __: bytes | None) -> _Reply:
    entries = [
        {"path": f"{str(path).removeprefix('/')}/{name}", "file_type": _kind(folder)}
        for name, folder in drive.entries(path)
    ]
    return encoded({"ReadDir": entries}), None


def _metadata(drive: Drive, path: DrivePath, _: Any, __: bytes | None) -> _Reply:
    length = drive.length(path)
    return encoded({"Metadata": {"len": length or 0, "file_type": _kind(length is None)}}), None


def _len(drive: Drive, path: DrivePath, _: Any, __: bytes | None) -> _Reply:
    return encoded({"Len": len(drive.read(path))}), None


def _hash(drive: Drive, path: DrivePath, _: Any, __: bytes | None) -> _Reply:
    return encoded({"Hash": list(hashlib.sha256(drive.read(path)).digest())}), None


def _remove(*, folder: bool, whole: bool = False) -> _Act:
    def act(drive: Drive, path: DrivePath, _: Any, __: bytes | None) -> _Reply:
        drive.remove(path, folder=folder, whole=whole)
        return OK, None

    return act


def _copy(drive: Drive, path: DrivePath, target: Any, _: bytes | None) -> _Reply:
    drive.write(target, drive.read(path))
    return OK, None


def _rename(drive: Drive, path: DrivePath, target: Any, _: bytes | None) -> _Reply:
    content = drive.read(path)
    drive.remove(path, folder=False, whole=False)
    drive.write(target, content)
    return OK, None


def _nothing(drive: Drive, path: DrivePath, _: Any, __: bytes | None) -> _Reply:
    drive.length(path)
    return OK, None


def _kind(folder: bool) -> str:
    return "Directory" if folder else "File"


def _content(blob: bytes | None) -> bytes:
    if blob is None:
        raise DriveRefused("BadRequest")
    return blob


_WITH_TARGET: Final = frozenset(("Rename", "CopyFile"))
_ACTIONS: Final[dict[str, _Act]] = {
    "CreateDrive": _made,
    "CreateDir": _made,
    "CreateDirAll": _made,
    "CreateFile": _create,
    "OpenFile": _open,
    "CloseFile": _nothing,
    "SyncAll": _nothing,
    "Write": _write,
    "WriteAll": _write,
    "Append": _append,
    "SetLen": _set_len,
    "Read": _read,
    "ReadToEnd": _read,
    "ReadToString": _read_text,
    "ReadDir": _list,
    "Metadata": _metadata,
    "Len": _len,
    "Hash": _hash,
    "RemoveFile": _remove(folder=False),
    "RemoveDir": _remove(folder=True),
    "RemoveDirAll": _remove(folder=True, whole=True),
    "CopyFile": _copy,
    "Rename": _rename,
}
