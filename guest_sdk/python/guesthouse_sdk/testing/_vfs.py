"""The fake host's `vfs:distro:sys`."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from guesthouse_sdk.testing._module_requests import OK, BadRequest, Reply, encoded, error, parse, tagged

FILE_OVERHEAD: Final = 128
"""Bytes that a file counts besides its name and content."""
MAX_PATH: Final = 1024
_PACKAGE_DRIVE: Final = "pkg"
_Path = tuple[str, ...]


class _Refused(Exception):
    """The text is the name of the error."""


class FakeVfs:
    """Drives of the package. `files` has the content of each file by its path, drive first, and None for each
    folder.
    """

    def __init__(self, package: str, quota: int, package_files: dict[str, bytes]) -> None:
        self._package = package
        self._quota = quota
        self._package_files = package_files
        self.files: dict[_Path, bytes | None] = {}

    def carry_out(self, body: bytes, blob: bytes | None) -> Reply:
        """Answer a request."""
        try:
            whole = parse(body)
            if not isinstance(whole, dict) or not isinstance(whole.get("path"), str):
                raise BadRequest("path is missing, or not of type str")
            name, fields = tagged(whole.get("action"))
            try:
                return self._act(name, fields, self._path(whole["path"]), blob)
            except _Refused as refused:
                named = {"path": whole["path"], "action": name, "error": str(refused)}
                return encoded({"Err": {str(refused): named}}), None
        except BadRequest as bad:
            return error("BadRequest", str(bad)), None

    def _act(self, name: str, fields: Any, path: _Path, blob: bytes | None) -> Reply:
        match name:
            case "Read" | "ReadToEnd":
                return b'"Read"', self._read(path)
            case "ReadToString":
                return encoded({"ReadToString": self._text(path)}), None
            case "ReadDir":
                return encoded({"ReadDir": self._entries(path)}), None
            case "Metadata":
                content = self._found(path)
                kind = "Directory" if content is None else "File"
                return encoded({"Metadata": {"len": len(content or b""), "file_type": kind}}), None
            case "Len":
                return encoded({"Len": len(self._read(path))}), None
            case "Hash":
                return encoded({"Hash": list(hashlib.sha256(self._read(path)).digest())}), None
            case "CloseFile" | "SyncAll":
                self._found(path)
            case _:
                self._change(name, fields, path, blob)
        return OK, None

    def _change(self, name: str, fields: Any, path: _Path, blob: bytes | None) -> None:
        match name:
            case "CreateDrive" | "CreateDir" | "CreateDirAll":
                self._make_folder(path)
            case "CreateFile":
                self._write(path, b"")
            case "OpenFile":
                self._open(path, isinstance(fields, dict) and fields.get("create") is True)
            case "Write" | "WriteAll":
                self._write(path, _content(blob))
            case "Append":
                self._write(path, self._read(path) + _content(blob))
            case "SetLen":
                if type(fields) is not int or fields < 0:
                    raise _Refused("BadRequest")
                content = self._read(path)
                self._check_room(path, fields)
                self._write(path, content[:fields].ljust(fields, b"\0"))
            case "RemoveFile" | "RemoveDir" | "RemoveDirAll":
                self._remove(path, folder=name != "RemoveFile", whole=name == "RemoveDirAll")
            case "Rename" | "CopyFile":
                self._move(path, self._path(fields["new_path"]), keep=name == "CopyFile")
            case _:
                raise BadRequest(f"no action is named {name[:40]}")

    def _found(self, path: _Path) -> bytes | None:
        tree = self._tree(path)
        if path not in tree:
            raise _Refused("NotFound")
        return tree[path]

    def _read(self, path: _Path) -> bytes:
        content = self._found(path)
        if content is None:
            raise _Refused("NotFound")
        return content

    def _text(self, path: _Path) -> str:
        try:
            return self._read(path).decode()
        except UnicodeDecodeError:
            raise _Refused("NotUtf8") from None

    def _entries(self, path: _Path) -> list[dict[str, str]]:
        if self._found(path) is not None:
            raise _Refused("NotFound")
        inside = [each for each in sorted(self._tree(path)) if each[:-1] == path]
        return [
            {
                "path": "/".join((self._package, *each)),
                "file_type": "Directory" if self._tree(path)[each] is None else "File",
            }
            for each in inside
        ]

    def _open(self, path: _Path, create: bool) -> None:
        try:
            self._read(path)
        except _Refused:
            if not create:
                raise
            self._write(path, b"")

    def _write(self, path: _Path, content: bytes) -> None:
        if path[0] == _PACKAGE_DRIVE:
            raise _Refused("ReadOnly")
        if len(path) < 2 or self.files.get(path, b"") is None:
            raise _Refused("AlreadyExists")
        self._check_room(path, len(content))
        self._make_folders(path[:-1])
        self.files[path] = content

    def _make_folder(self, path: _Path) -> None:
        if path[0] == _PACKAGE_DRIVE:
            if len(path) > 1:
                raise _Refused("ReadOnly")
            return
        self._check_room(path, 0)
        self._make_folders(path)

    def _make_folders(self, path: _Path) -> None:
        folders = [path[:count] for count in range(1, len(path) + 1)]
        if any(self.files.get(folder) is not None for folder in folders):
            raise _Refused("AlreadyExists")
        self.files.update(dict.fromkeys(folders))

    def _remove(self, path: _Path, *, folder: bool, whole: bool) -> None:
        if path[0] == _PACKAGE_DRIVE:
            raise _Refused("ReadOnly")
        if (self._found(path) is None) is not folder:
            raise _Refused("NotFound")
        inside = [each for each in self.files if each[: len(path)] == path]
        if folder and not whole and len(inside) > 1:
            raise _Refused("NotEmpty")
        for each in inside:
            del self.files[each]

    def _move(self, path: _Path, target: _Path, *, keep: bool) -> None:
        content = self._read(path)
        if path[0] == _PACKAGE_DRIVE:
            raise _Refused("ReadOnly")
        before = dict(self.files)
        try:
            if not keep:
                self._remove(path, folder=False, whole=False)
            self._write(target, content)
        except _Refused:
            self.files = before
            raise

    def _check_room(self, path: _Path, length: int) -> None:
        used = sum(_size(each, content) for each, content in self.files.items() if each != path)
        folders = sum(len(part) + FILE_OVERHEAD for part in path) * len(path)
        if used + length + folders > self._quota:
            raise _Refused("QuotaExceeded")

    def _tree(self, path: _Path) -> dict[_Path, bytes | None]:
        if path[0] != _PACKAGE_DRIVE:
            return self.files
        tree: dict[_Path, bytes | None] = {(_PACKAGE_DRIVE,): None}
        for name, content in self._package_files.items():
            parts = (_PACKAGE_DRIVE, *name.split("/"))
            tree.update(dict.fromkeys(parts[:count] for count in range(1, len(parts))))
            tree[parts] = content
        return tree

    def _path(self, text: str) -> _Path:
        if len(text) > MAX_PATH or not text.isprintable() or "\\" in text:
            raise BadRequest(f"a path has at most {MAX_PATH} characters, printable and no backslashes")
        first, *given = [part for part in text.split("/") if part not in ("", ".")] or [""]
        parts: list[str] = []
        for part in given:
            if part != "..":
                parts.append(part)
            elif not parts:
                raise BadRequest("a path must not leave the drives of its package")
            else:
                parts.pop()
        if not parts or first == "..":
            raise BadRequest("a path has the form /package:publisher/drive/…")
        if first != self._package:
            raise _Refused("NoCap")
        return tuple(parts)


def _size(path: _Path, content: bytes | None) -> int:
    return len("/".join(path)) + len(content or b"") + FILE_OVERHEAD


def _content(blob: bytes | None) -> bytes:
    if blob is None:
        raise _Refused("BadRequest")
    return blob
