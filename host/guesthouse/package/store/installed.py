"""Which packages are installed on a node: `installed.json` in its home.

Apart from the unpacked packages, which are in folders named by their hashes and complete
(`archive.py`), the file is the whole installation. It is replaced atomically and synced before anybody is told, so that
after a crash either the old file is there or the new one. The transitions are
pure: each returns what is to be written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import replace

from guesthouse.core import atomic_file
from guesthouse.core.address import ProcessId
from guesthouse.core.disk import disk_errors
from guesthouse.core.errors import BadProcessId
from guesthouse.package.errors import PackageError

INSTALLED_NAME: Final = "installed.json"
MAX_BYTES: Final = 4 * 1024 * 1024
MOST_GONE: Final = 4096
"""Uninstalled packages that are recorded."""
_FORMAT: Final = 1
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Version(Struct, frozen=True):
    """One version of a package. `hash` is that of its content, and the name of its folder."""

    version: str
    hash: str


class Installation(Struct, frozen=True):
    """The current version of a package, and the previous one for `rollback`."""

    current: Version
    previous: Version | None = None


class Installed(Struct, frozen=True):
    """All installed packages, by `package:publisher`."""

    packages: Mapping[str, Installation] = field(default_factory=dict)
    purging: frozenset[str] = frozenset()
    """Packages whose state has to be purged before anything starts."""
    left: frozenset[str] = frozenset()
    """Uninstalled packages whose capabilities have to be dropped before anything starts."""
    gone: tuple[str, ...] = ()
    """Packages that were uninstalled, or ran without being installed, the latest last: browsers keep data for their
    hosts.
    """
    notes_left: bool = True
    """Whether `left` is complete: 0.1.0 kept the capabilities of uninstalled packages without recording them."""

    @property
    def to_drop(self) -> frozenset[str]:
        """Uninstalled packages of which something still has to be dropped."""
        return self.left | self.purging

    def hashes(self) -> frozenset[str]:
        """The hashes of the folders in use."""
        versions = (
            version for item in self.packages.values() for version in (item.current, item.previous) if version
        )
        return frozenset(version.hash for version in versions)

    def with_version(self, package_id: str, version: Version) -> Installed:
        """Install a version; the current one is kept for `rolled_back`."""
        before = self.packages.get(package_id)
        if before is None and not self.notes_left:
            return replace(self, left=self.left | {package_id})._with(package_id, Installation(version, None))
        if before is not None and before.current.hash == version.hash:
            return self._with(package_id, Installation(version, before.previous))
        return self._with(package_id, Installation(version, None if before is None else before.current))

    def rolled_back(self, package_id: str) -> Installed:
        """Swap the current and the previous version.

        Raises:
            PackageError: the package is not installed, or has no previous version.
        """
        now = self.get(package_id)
        if now.previous is None:
            raise PackageError(f"{package_id} has no previous version to roll back to: install one")
        return self._with(package_id, Installation(now.previous, now.current))

    def without(self, package_id: str, *, purge: bool) -> Installed:
        """Uninstall a package.

        Raises:
            PackageError: it is not installed.
        """
        self.get(package_id)
        kept = {name: item for name, item in self.packages.items() if name != package_id}
        purging = self.purging | {package_id} if purge else self.purging
        installed = replace(self, packages=kept, purging=purging, left=self.left | {package_id})
        return installed.with_gone(package_id)

    def purging_left(self, package_id: str) -> Installed:
        """Purge what a package that is not installed has left."""
        return replace(self, purging=self.purging | {package_id})

    def with_gone(self, *package_ids: str) -> Installed:
        """Record packages that were served without being installed, as the latest."""
        now = frozenset(package_ids)
        gone = (*(name for name in self.gone if name not in now), *package_ids)[-MOST_GONE:]
        return replace(self, gone=gone)

    def with_left(self, packages: Iterable[str]) -> Installed:
        """Record that these were uninstalled too; the record is then complete."""
        return replace(self, left=self.left.union(packages), notes_left=True)

    def purged(self) -> Installed:
        """Everything was purged."""
        return replace(self, purging=frozenset(), left=frozenset())

    def get(self, package_id: str) -> Installation:
        """The installation of a package.

        Raises:
            PackageError: it is not installed.
        """
        item = self.packages.get(package_id)
        if item is None:
            raise PackageError(f"{package_id} is not installed: `guesthouse packages` lists installed ones")
        return item

    def _with(self, package_id: str, item: Installation) -> Installed:
        return replace(self, packages={**self.packages, package_id: item})


def read_installed(home: Path) -> Installed:
    """Read the installation of a home; empty without a file.

    Raises:
        PackageError: the file is damaged, or cannot be read.
    """
    path = home / INSTALLED_NAME
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return Installed()
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {error.strerror}; fix its permissions") from None
    try:
        return _parsed(content)
    except (ValueError, TypeError, KeyError, RecursionError, BadProcessId):
        raise PackageError(f"{path} is damaged: remove it and install the packages again") from None


def write_installed(home: Path, installed: Installed) -> None:
    """Replace the file, atomically and durably.

    Raises:
        PackageError: it cannot be written; the old file is unchanged.
    """
    path = home / INSTALLED_NAME
    try:
        atomic_file.replace(path, _written(installed))
    except OSError as error:
        raise PackageError(
            f"{path} cannot be written: {error.strerror}; {disk_errors.remedy(error)}"
        ) from None


def parse_package_id(text: str) -> str:
    """Validate a `package:publisher`.

    Raises:
        PackageError: it is not one.
    """
    try:
        return ProcessId.parse(f"x:{text}").package_id
    except BadProcessId:
        raise PackageError(
            f"{text!a} is not a package id: write package:publisher, as `guesthouse packages` does"
        ) from None


def _written(installed: Installed) -> bytes:
    packages = {
        name: {
            "current": _plain(item.current),
            "previous": None if item.previous is None else _plain(item.previous),
        }
        for name, item in sorted(installed.packages.items())
    }
    value = {
        "format": _FORMAT,
        "packages": packages,
        "purging": sorted(installed.purging),
        "left": sorted(installed.left),
        "notes_left": installed.notes_left,
        "gone": installed.gone,
    }
    return json.dumps(value, indent=2).encode() + b"\n"


def _plain(version: Version) -> dict[str, str]:
    return {"version": version.version, "hash": version.hash}


def _parsed(content: bytes) -> Installed:
    if len(content) > MAX_BYTES:
        raise ValueError("too large")
    value = json.loads(content)
    if value["format"] != _FORMAT:
        raise ValueError("another format")
    packages = {
        _package_id(name): Installation(
            _version(item["current"]), None if item["previous"] is None else _version(item["previous"])
        )
        for name, item in value["packages"].items()
    }
    purging = frozenset(_package_id(name) for name in value["purging"])
    left = frozenset(_package_id(name) for name in value.get("left", ()))
    gone = tuple(_package_id(name) for name in value.get("gone", ()))
    notes_left = value.get("notes_left", "left" in value) is True
    return Installed(packages, purging, left, gone[-MOST_GONE:], notes_left)


def _package_id(name: Any) -> str:
    if not isinstance(name, str) or ProcessId.parse(f"x:{name}").package_id != name:
        raise ValueError("not a package id")
    return name


def _version(value: Any) -> Version:
    version, digest = value["version"], value["hash"]
    if not isinstance(version, str) or not isinstance(digest, str) or _HASH.fullmatch(digest) is None:
        raise ValueError("not a version")
    return Version(version, digest)
