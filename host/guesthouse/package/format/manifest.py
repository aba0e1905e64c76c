"""Parses `package.toml`. Pure.

Manifests are untrusted, so parsing is strict: an unknown key, a wrong type, a bad
name or a path that could leave the package is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final, Literal, cast

from msgspec import Struct

from guesthouse.core.address import ProcessId, canonical
from guesthouse.core.capabilities import MESSAGING, canonical_params
from guesthouse.core.errors import BadProcessId
from guesthouse.core.toml import MOST_BYTES, NotToml, parse_toml
from guesthouse.package.errors import PackageError
from guesthouse.package.spec import OnExit, Right

MANIFEST_NAME: Final = "package.toml"
MAX_MANIFEST_BYTES: Final = MOST_BYTES
MAX_RIGHTS: Final = 64
"""Capabilities per list."""
MAX_PROCESSES: Final = 64
"""Processes per package."""

Language = Literal["python", "c", "cpp", "rust", "go", "javascript"]
LANGUAGES: Final = ("python", "c", "cpp", "rust", "go", "javascript")
Engine = Literal["quickjs", "starlingmonkey"]
ENGINES: Final = ("quickjs", "starlingmonkey")

_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}", re.ASCII)
_MAX_DESCRIPTION: Final = 1000
MAX_PATH: Final = 512
MAX_SEGMENT: Final = 255


class BuildSpec(Struct, frozen=True):
    """`[process.build]`: how `guesthouse build` builds a process's `.wasm`."""

    language: Language
    source: PurePosixPath
    """The entry: a Python, C, C++, TypeScript or JavaScript file, or a folder with a `Cargo.toml` or `go.mod`."""
    engine: Engine | None = None
    """Of JavaScript: what runs it in the component; None for QuickJS."""


class ProcessEntry(Struct, frozen=True):
    """One `[[process]]` table. Paths are relative to the package and stay inside it."""

    id: ProcessId
    wasm: PurePosixPath
    on_exit: OnExit
    public: bool
    ui: PurePosixPath | None
    build: BuildSpec | None
    requests: tuple[Right, ...] = ()
    grants: tuple[Right, ...] = ()
    handover: bool = False


class Manifest(Struct, frozen=True):
    """A parsed `package.toml`."""

    name: str
    publisher: str
    version: str
    description: str
    processes: tuple[ProcessEntry, ...]


def parse_manifest(content: bytes, where: str) -> Manifest:
    """Parse a `package.toml`.

    Args:
        content: the file's bytes.
        where: the file's name in errors.

    Raises:
        PackageError: a value is unknown, missing, of a wrong type or out of bounds.
    """
    top = _Table(_toml(content, where), where, "the top level", ("package", "process"))
    package = top.table("package", ("name", "publisher", "version", "description"))
    name, publisher = package.text("name"), package.text("publisher")
    entries = top.tables(
        "process",
        (
            *("name", "wasm", "on-exit", "public", "handover", "ui", "build"),
            *("request-capabilities", "grant-capabilities"),
        ),
    )
    processes = tuple(_process(entry, name, publisher) for entry in entries)
    check_processes(processes, where)
    return Manifest(
        name=name,
        publisher=publisher,
        version=_version(package),
        description=_description(package),
        processes=processes,
    )


def _toml(content: bytes, where: str) -> Mapping[str, object]:
    if len(content) > MAX_MANIFEST_BYTES:
        raise PackageError(f"{where} is over {MAX_MANIFEST_BYTES} bytes: shorten it")
    try:
        return parse_toml(content)
    except NotToml as error:
        raise PackageError(f"{where} {error}") from None


def _process(entry: _Table, package: str, publisher: str) -> ProcessEntry:
    text = f"{entry.text('name')}:{package}:{publisher}"
    try:
        process_id = ProcessId.parse(text)
    except BadProcessId as error:
        raise PackageError(f"{entry.where}: {error}") from None
    build = entry.optional_table("build", ("language", "source", "engine"))
    return ProcessEntry(
        id=process_id,
        wasm=entry.path("wasm"),
        on_exit=cast("OnExit", entry.choice("on-exit", ("none", "restart"), "none")),
        public=entry.flag("public"),
        ui=entry.path("ui") if entry.has("ui") else None,
        build=None if build is None else _build(build),
        requests=entry.rights("request-capabilities"),
        grants=entry.rights("grant-capabilities"),
        handover=entry.flag("handover"),
    )


def _build(table: _Table) -> BuildSpec:
    language = cast("Language", table.choice("language", LANGUAGES, None))
    engine = cast("Engine", table.choice("engine", ENGINES, None)) if table.has("engine") else None
    if engine is not None and language != "javascript":
        raise PackageError(
            f"{table.where}: 'engine' in [build] is for the language javascript, not {language}: remove it"
        )
    return BuildSpec(language, table.path("source"), engine)


def check_processes(processes: tuple[ProcessEntry, ...], where: str) -> None:
    """Check the processes of a package.

    Raises:
        PackageError: there are none, too many, or two of one name.
    """
    if not processes:
        raise PackageError(f"{where} has no process: add one")
    if len(processes) > MAX_PROCESSES:
        raise PackageError(
            f"{where} has {len(processes)} processes: remove some, at most {MAX_PROCESSES} are allowed"
        )
    seen: set[ProcessId] = set()
    for process in processes:
        if process.id in seen:
            raise PackageError(f"{where} has the process {process.id} twice: rename one")
        seen.add(process.id)


def check_version(version: object, where: str) -> str:
    """Return a package's version if it is valid.

    Raises:
        PackageError: it is not.
    """
    if not isinstance(version, str) or _VERSION.fullmatch(version) is None:
        raise PackageError(f"{where} is not a version such as '0.1.0': fix it")
    return version


def _version(package: _Table) -> str:
    return check_version(package.text("version"), f"{package.where}: 'version' in [package]")


def _description(package: _Table) -> str:
    description = package.text("description") if package.has("description") else ""
    if len(description) > _MAX_DESCRIPTION or not (description.isprintable()):
        raise package.wrong("description", f"one line of at most {_MAX_DESCRIPTION} printable characters")
    return description


def right_of(item: object) -> Right | None:
    """Parse an item of `request-capabilities` or `grant-capabilities`; None if it is invalid."""
    process, params = item, MESSAGING
    try:
        if isinstance(item, dict):
            if item.keys() != {"process", "params"}:
                return None
            process, params = item["process"], canonical_params(json.dumps(item["params"]))
        return (canonical(ProcessId.parse(process)), params) if isinstance(process, str) else None
    except (ValueError, TypeError, RecursionError):
        return None


def relative_path(text: str) -> PurePosixPath | None:
    """Return `text` as a path inside a package, or None if it is anything else.

    Every segment is a plain name: no `..`, no leading dot, no backslash or colon (separators
    on other systems), nothing unprintable.
    """
    if not text or len(text.encode("utf-8", "surrogatepass")) > MAX_PATH or not text.isprintable():
        return None
    segments = text.split("/")
    if any(not _plain(segment) for segment in segments):
        return None
    return PurePosixPath(*segments)


def _plain(segment: str) -> bool:
    return (
        segment != ""
        and not segment.startswith(".")
        and "\\" not in segment
        and ":" not in segment
        and len(segment.encode()) <= MAX_SEGMENT
    )


class _Table:
    """A TOML table with known keys; checks the types of values as they are read."""

    __slots__ = ("_title", "_values", "where")

    def __init__(self, values: Mapping[str, object], where: str, title: str, known: tuple[str, ...]) -> None:
        self._values = values
        self._title = title
        self.where = where
        for key in values:
            if key not in known:
                raise PackageError(
                    f"{where}: {title} has the unknown key {_shown(key)}: known are {', '.join(known)}"
                )

    def has(self, key: str) -> bool:
        return key in self._values

    def wrong(self, key: str, expected: str) -> PackageError:
        """The error for a missing or invalid value."""
        if key not in self._values:
            return PackageError(f"{self.where}: {self._title} lacks '{key}': add {expected}")
        return PackageError(f"{self.where}: '{key}' in {self._title} is not {expected}: fix it")

    def table(self, key: str, known: tuple[str, ...]) -> _Table:
        value = self._values.get(key)
        if not isinstance(value, dict):
            raise self.wrong(key, f"a table [{key}]")
        return _Table(value, self.where, f"[{key}]", known)

    def optional_table(self, key: str, known: tuple[str, ...]) -> _Table | None:
        return self.table(key, known) if key in self._values else None

    def tables(self, key: str, known: tuple[str, ...]) -> list[_Table]:
        values = self._values.get(key)
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise self.wrong(key, f"one or more [[{key}]] tables")
        return [
            _Table(value, self.where, f"[[{key}]] number {i}", known) for i, value in enumerate(values, 1)
        ]

    def text(self, key: str) -> str:
        value = self._values.get(key)
        if not isinstance(value, str):
            raise self.wrong(key, "a string")
        return value

    def flag(self, key: str) -> bool:
        value = self._values.get(key, False)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def choice(self, key: str, choices: tuple[str, ...], default: str | None) -> str:
        value = self._values.get(key, default)
        if not isinstance(value, str) or value not in choices:
            raise self.wrong(key, "one of " + ", ".join(f'"{choice}"' for choice in choices))
        return value

    def rights(self, key: str) -> tuple[Right, ...]:
        """A list of process ids (its messaging capability) and of `{process, params}`."""
        expected = f"a list of at most {MAX_RIGHTS} process ids, or {{process = …, params = …}}"
        items = self._values.get(key, [])
        if not isinstance(items, list) or len(items) > MAX_RIGHTS:
            raise self.wrong(key, expected)
        rights = [right_of(item) for item in items]
        if None in rights:
            raise self.wrong(key, expected)
        return tuple(right for right in rights if right is not None)

    def path(self, key: str) -> PurePosixPath:
        path = relative_path(self.text(key))
        if path is None:
            raise self.wrong(key, "a path inside the package such as 'build/chat.wasm'")
        return path


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 40 else text[:37] + "...")
