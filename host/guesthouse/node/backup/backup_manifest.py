"""What a backup says that is in it, and which files a backup can have. Pure; everything that is read is untrusted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final

from msgspec import MsgspecError, Struct, json

from guesthouse.core.errors import GuesthouseError
from guesthouse.core.home import SECRETS, is_of_a_node
from guesthouse.core.toml import NotToml, parse_toml
from guesthouse.package.format.manifest import relative_path

FORMAT: Final = 1
MANIFEST_NAME: Final = "backup.json"
DATABASE: Final = "state.sqlite"
SETTINGS: Final = "guesthouse.toml"
MOST_BYTES: Final = 64 * 1024 * 1024
"""Of the manifest."""
MOST_FILES: Final = 300_000
_LONGEST_FILE: Final = 2**53
_COMMAS_OF_A_FILE: Final = 3
_COMMAS_BESIDE: Final = 64
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PLAIN: Final = frozenset((DATABASE, SETTINGS, "installed.json", "node.name", *SECRETS))
_PACKAGES: Final = "packages"


class BackupError(GuesthouseError):
    """A backup cannot be made, read or restored."""


class BackedUp(Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a backup."""

    name: str
    """Its path in the home."""
    bytes: int
    sha256: str


class BackupManifest(Struct, frozen=True):
    """What a backup has in it."""

    format: int
    guesthouse: str
    """The version that wrote it."""
    schema: int
    """That of its database."""
    node: str | None
    created: str
    """In ISO 8601, UTC."""
    secrets: bool
    """Whether the node's secrets are in it."""
    files: tuple[BackedUp, ...]
    """In the order in which they follow."""

    @property
    def total_bytes(self) -> int:
        """All files together."""
        return sum(file.bytes for file in self.files)


def written(manifest: BackupManifest) -> bytes:
    """The manifest as it stands in an archive."""
    return json.format(json.encode(manifest), indent=1) + b"\n"


def read_manifest(content: bytes, archive: object, version: str, schema: int) -> BackupManifest:
    """Decode and check a manifest.

    Args:
        content: its bytes, of `MOST_BYTES` at most.
        archive: where it is from, for errors.
        version: of this Guesthouse.
        schema: that of its databases.

    Raises:
        BackupError: it is none, is of a later version, or names a file that no backup has.
    """
    if content.count(b",") > MOST_FILES * _COMMAS_OF_A_FILE + _COMMAS_BESIDE:
        raise BackupError(f"{archive} has over {MOST_FILES} files, which no backup has")
    try:
        head = json.decode(content, type=_Head)
        if head.format > FORMAT or _numbers(head.guesthouse) > _numbers(version) or head.schema > schema:
            raise BackupError(
                f"{archive} was made by Guesthouse {head.guesthouse[:40]!a} (format {head.format}, schema "
                f"{head.schema}), and this is {version}: restore it with that version or a later one"
            )
        manifest = json.decode(content, type=BackupManifest)
    except (MsgspecError, ValueError, RecursionError) as error:
        raise BackupError(
            f"{archive} is not a backup of Guesthouse, or damaged ({str(error)[:200]}): take another"
        ) from None
    _check_files(manifest.files, archive)
    for name in SECRETS if not manifest.secrets else ():
        if any(file.name == name for file in manifest.files):
            raise BackupError(f"{archive} says that it has no secrets, and has {name}: take another")
    return manifest


class _Head(Struct, frozen=True):
    """What every format has."""

    format: int
    guesthouse: str
    schema: int


def _numbers(version: str) -> tuple[int, ...]:
    """A version to compare: its numbers, without what is behind them."""
    found = re.match(r"[0-9]{1,9}(\.[0-9]{1,9}){0,7}", version, re.ASCII)
    return tuple(map(int, found[0].split("."))) if found else ()


def _check_files(files: Iterable[BackedUp], archive: object) -> None:
    names: set[str] = set()
    folders: set[str] = set()
    for file in files:
        path = path_in_home(file.name)
        if path is None:
            raise BackupError(f"{archive} has a file {file.name[:80]!a}, which no backup has: take another")
        if not 0 <= file.bytes <= _LONGEST_FILE or _HASH.fullmatch(file.sha256) is None:
            raise BackupError(f"{archive} says nonsense of {file.name[:80]!a}: take another")
        if file.name in names:
            raise BackupError(f"{archive} has {file.name[:80]!a} twice: take another")
        names.add(file.name)
        folders.update(map(str, path.parents))
    for clash in sorted(names & folders)[:1]:
        raise BackupError(f"{archive} has {clash[:80]!a} as a file and as a folder: take another")


def check_named(manifest: BackupManifest, settings: bytes, archive: object) -> None:
    """Refuse files that are neither a node's nor named by its settings, as the certificate and its key are.

    Args:
        manifest: checked by `read_manifest`.
        settings: the content of `guesthouse.toml` in the archive; empty without one.
        archive: where it is from, for errors.

    Raises:
        BackupError: there is such a file, or the settings cannot be read.
    """
    others = [PurePosixPath(file.name) for file in manifest.files if file.name not in _PLAIN]
    others = [path for path in others if path.parts[0] != _PACKAGES]
    if not others:
        return
    try:
        http = parse_toml(settings).get("http")
    except NotToml as error:
        raise BackupError(f"{SETTINGS} in {archive} {error}, in a backup of it") from None
    given = [http.get(key) for key in ("tls_cert", "tls_key")] if isinstance(http, dict) else []
    named = [PurePosixPath(path).parts for path in given if isinstance(path, str)]
    for path in others:
        if not any(parts[-len(path.parts) :] == path.parts for parts in named):
            raise BackupError(f"{archive} has a file {str(path)[:80]!a}, which no backup has: take another")


def path_in_home(name: str) -> PurePosixPath | None:
    """The path of a file that a backup may have; None for any other.

    These are the node's own files, files of installed packages, and what the settings name in the home, such as a
    certificate.
    """
    if name in _PLAIN:
        return PurePosixPath(name)
    path = relative_path(name)
    if path is None:
        return None
    if path.parts[0] == _PACKAGES:
        installed = len(path.parts) > 2 and _HASH.fullmatch(path.parts[1]) is not None
        return path if installed else None
    return None if is_of_a_node(path.parts[0]) else path
