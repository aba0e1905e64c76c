"""Reads packages of the Kinode OS: `metadata.json`, `pkg/manifest.json`, `pkg/*.wasm`, `pkg/ui/`.

They are untrusted, so parsing is as strict as for `package.toml`: an unknown key, a wrong
type, a bad name or a path that could leave the package is refused. `metadata.json` may have
other keys, since it describes the package to others too.

Capabilities and networking that a manifest asks for become `requests` and `grants`. Spawning is
requested for every process, because the Kinode OS has no capability for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from guesthouse.core.address import ProcessId
from guesthouse.core.capabilities import KERNEL, NETWORK, SPAWN
from guesthouse.core.errors import BadProcessId
from guesthouse.core.files.regular_file import open_regular
from guesthouse.package.errors import PackageError
from guesthouse.package.format.manifest import (
    MAX_MANIFEST_BYTES,
    Manifest,
    ProcessEntry,
    check_processes,
    check_version,
    relative_path,
    right_of,
)
from guesthouse.package.spec import OnExit, Right

MANIFEST: Final = "manifest.json"
METADATA: Final = "metadata.json"
PKG: Final = "pkg"

_MAX_CAPABILITIES: Final = 256
_MAX_PARTS: Final = 8
"""Numbers in a version."""
_KNOWN: Final = frozenset(
    (
        "process_name", "process_wasm_path", "on_exit", "on_panic", "public", "request_networking",
        "request_capabilities", "grant_capabilities", "request_messaging", "grant_messaging",
    )
)  # fmt: skip
_ON_EXIT: Final[Mapping[str, OnExit]] = {"None": "none", "Restart": "restart"}
_NOTHING_TO_SEND: Final[object] = {"Requests": []}


def find_kinode(folder: Path) -> PurePosixPath | None:
    """The folder of the manifest and the components in a package folder; None when it is not a Kinode package.

    It is `pkg`, or the folder itself: the Kinode OS distributes the content of `pkg`.
    """
    for place in (PurePosixPath(PKG), PurePosixPath()):
        if (folder / place / MANIFEST).is_file():
            return place
    return None


def read_kinode_manifest(folder: Path, place: PurePosixPath) -> Manifest:
    """Read a package whose `manifest.json` is in `place` (see `find_kinode`). Paths are relative to the folder.

    Raises:
        PackageError: a file is missing or invalid.
        OSError: a file cannot be read.
    """
    beside, above = folder / place / METADATA, folder / METADATA
    metadata = beside if beside.is_file() else above
    if not metadata.is_file():
        raise PackageError(f"{folder} has no {METADATA}: add it, with the package's name")
    about, properties = _metadata(metadata)
    older = properties is about
    where = str(folder / place / MANIFEST)
    name, publisher = (
        _text(properties, "package" if older else "package_name", str(metadata)),
        _text(properties, "publisher", str(metadata)),
    )
    ui = place / "ui" if (folder / place / "ui").is_dir() else None
    processes = _processes(folder / place / MANIFEST, name, publisher, place, ui)
    check_processes(processes, where)
    version = _older_version(properties) if older else properties.get("current_version", "0")
    return Manifest(
        name=name,
        publisher=publisher,
        version=check_version(version, f"{metadata}: '{'version' if older else 'current_version'}'"),
        description=_description(about),
        processes=processes,
    )


def _metadata(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """A package's metadata, and the object in it with its name: until March 2024 there was one level."""
    about = _json(path)
    if isinstance(about, dict) and "package" in about and "properties" not in about:
        return about, about
    properties = about.get("properties") if isinstance(about, dict) else None
    if not isinstance(properties, dict):
        raise PackageError(f"{path} has no object 'properties': add it, with 'package_name' and 'publisher'")
    return about, properties


def _older_version(properties: Mapping[str, Any]) -> Any:
    """A version that is a list of numbers, as text; anything else unchanged."""
    version = properties.get("version", "0")
    numbers = isinstance(version, list) and all(type(part) is int and part >= 0 for part in version)
    return ".".join(map(str, version)) if numbers and 0 < len(version) <= _MAX_PARTS else version


def _description(about: Mapping[str, Any]) -> str:
    """One line of description, truncated: it is shown, never trusted."""
    text = about.get("description")
    line = " ".join(text.split()) if isinstance(text, str) else ""
    return "".join(character for character in line if character.isprintable())[:1000]


def _processes(
    path: Path, package: str, publisher: str, place: PurePosixPath, ui: PurePosixPath | None
) -> tuple[ProcessEntry, ...]:
    entries = _json(path)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise PackageError(f"{path} is not a list of processes, each an object: fix it")
    names = [entry.get("process_name") for entry in entries]
    with_ui = package if package in names else next(iter(names), None)
    return tuple(
        _process(
            entry, f"{path}: process {number}", package, publisher, place, ui if name == with_ui else None
        )
        for number, (name, entry) in enumerate(zip(names, entries, strict=True), 1)
    )


def _process(
    entry: Mapping[str, Any],
    where: str,
    package: str,
    publisher: str,
    place: PurePosixPath,
    ui: PurePosixPath | None,
) -> ProcessEntry:
    for key in entry:
        if key not in _KNOWN:
            raise PackageError(
                f"{where} has the unknown key {key[:40]!a}: known are {', '.join(sorted(_KNOWN))}"
            )
    try:
        process_id = ProcessId.parse(f"{_text(entry, 'process_name', where)}:{package}:{publisher}")
    except BadProcessId as error:
        raise PackageError(f"{where}: {error}") from None
    requests, grants, older_requests, older_grants = (
        _rights(entry.get(key), f"{where}: '{key}'")
        for key in ("request_capabilities", "grant_capabilities", "request_messaging", "grant_messaging")
    )
    network = ((KERNEL, NETWORK),) if _flag(entry, "request_networking", where) else ()
    return ProcessEntry(
        id=process_id,
        wasm=place / _wasm_path(entry, where),
        on_exit=_on_exit(entry, where),
        public=_flag(entry, "public", where),
        ui=ui,
        build=None,
        requests=(*requests, *older_requests, *network, (KERNEL, SPAWN)),
        grants=(*grants, *older_grants),
    )


def _wasm_path(entry: Mapping[str, Any], where: str) -> PurePosixPath:
    path = relative_path(_text(entry, "process_wasm_path", where).removeprefix("/"))
    if path is None:
        raise PackageError(
            f"{where}: 'process_wasm_path' is not a path inside the package such as '/chat.wasm'"
        )
    return path


def _on_exit(entry: Mapping[str, Any], where: str) -> OnExit:
    value = entry.get("on_exit", entry.get("on_panic", "None"))  # the older name
    if isinstance(value, str) and value in _ON_EXIT:
        return _ON_EXIT[value]
    if value == _NOTHING_TO_SEND:
        return "none"
    raise PackageError(
        f'{where}: \'on_exit\' is not "None" or "Restart": a process that sends requests at its end says so '
        "itself, with set-on-exit"
    )


def _rights(value: object, where: str) -> tuple[Right, ...]:
    """Null, or a list of process ids (their messaging capability) and of `{process, params}`."""
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > _MAX_CAPABILITIES:
        raise PackageError(f"{where} is not a list of at most {_MAX_CAPABILITIES} capabilities: fix it")
    return tuple(_right(item, where) for item in value)


def _right(item: object, where: str) -> Right:
    right = right_of(item)
    if right is not None:
        return right
    if isinstance(item, str):
        try:
            ProcessId.parse(item)
        except BadProcessId as error:
            raise PackageError(f"{where}: {error}") from None
    raise PackageError(f"{where} has an item that is neither a process id nor process and params: fix it")


def _text(values: Mapping[str, Any], key: str, where: str) -> str:
    value = values.get(key)
    if not isinstance(value, str) or not value:
        raise PackageError(f"{where} lacks '{key}', or it is not a string: fix it")
    return value


def _flag(values: Mapping[str, Any], key: str, where: str) -> bool:
    value = values.get(key, False)
    if not isinstance(value, bool):
        raise PackageError(f"{where}: '{key}' is not true or false: fix it")
    return value


def _json(path: Path) -> Any:
    with open_regular(path) as file:
        content = file.read(MAX_MANIFEST_BYTES + 1)
    if len(content) > MAX_MANIFEST_BYTES:
        raise PackageError(f"{path} is over {MAX_MANIFEST_BYTES} bytes: shorten it")
    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=_once)
    except UnicodeDecodeError:
        raise PackageError(f"{path} is not UTF-8 text: save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise PackageError(f"{path} is not JSON: {str(error)[:100]}; fix it") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object without duplicate keys: parsers differ in which of them counts."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("an object has a duplicate key")
    return made
