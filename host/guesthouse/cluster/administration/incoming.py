"""Packages that other nodes offer: fetched as far as they are lacking, checked, and kept until they are installed.

The receiver asks for each part, so it gets no more than it has asked for, and nothing of what it does not want.
A file is taken from the packages that are here when one has its hash. What is installed is the archive that is packed
again from the files, if that has the hash that was offered (it has, when both nodes compress alike); or else the
archive as it was offered.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from msgspec import Struct

from guesthouse.cluster.administration.administration_messages import (
    ARCHIVE,
    PIECE_BYTES,
    Fetch,
    FilePart,
    Install,
    InstalledThere,
    Offer,
    OfferedFile,
    Previewed,
)
from guesthouse.cluster.administration.parcel import SCRATCH, digest_of, to_its_end
from guesthouse.core.config import PackageLimits
from guesthouse.core.disk import disk_errors
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.ports import LogPort
from guesthouse.core.throttled_log import ThrottledLog
from guesthouse.package.errors import PackageError
from guesthouse.package.format.archive import check_entries, remove_unpacked

SOURCE: Final = "cluster"
MOST_HELD: Final = 4
"""Packages that are being fetched or wait to be installed."""
HELD_SECONDS: Final = 600.0
"""How long a package is kept for the sender's operator to consent."""
_AT_ONCE: Final = 4
"""Parts that are asked for before the first has come."""

FetchPart: TypeAlias = Callable[[str, Fetch], Awaitable[FilePart]]
"""Asks a node for a part of what it offers."""


class PackageInstaller(Protocol):
    """What installs packages on this node."""

    async def preview(self, argument: str) -> dict[str, Any]:
        """What a package is, and asks for beyond the version that is installed; nothing changes.

        Raises:
            GuesthouseError: it is refused.
        """

    async def install(self, argument: str, consent: str | bool | None = None) -> dict[str, Any]:
        """Install a package, or upgrade to it.

        Raises:
            GuesthouseError: it is refused, lacks consent, or cannot be started; the old version runs.
        """


class NotTrusted(GuesthouseError):
    """Packages of another node are not taken."""


class _Held(Struct):
    """A package that is complete."""

    scratch: Path
    argument: Path
    """Its folder or archive in there."""
    package: str
    until: float


class IncomingPackages:
    """The packages that other nodes offer to this one.

    Args:
        node: this node's name.
        trusted: returns the nodes from which packages are taken now.
        installer: installs them.
        limits: of packages.
        unpack_dir: where packages are unpacked.
        fetch: asks the sender for parts.
        log: the node's log.
        clock: in seconds.
    """

    def __init__(
        self,
        node: str,
        trusted: Callable[[], Sequence[str]],
        installer: PackageInstaller,
        limits: PackageLimits,
        unpack_dir: Path,
        fetch: FetchPart,
        log: LogPort,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._trusted = trusted
        self._installer = installer
        self._limits = limits
        self._unpack_dir = unpack_dir
        self._fetch = fetch
        self._log = log
        self._throttled_log = ThrottledLog(log)
        self._clock = clock
        self._held: dict[tuple[str, str], _Held] = {}
        """By sender and hash."""
        self._fetching: set[tuple[str, str]] = set()
        self._removals: set[asyncio.Future[None]] = set()

    async def offered(self, sender: str, offer: Offer) -> Previewed:
        """Fetch what is lacking of a package, and say what it asks for.

        Raises:
            GuesthouseError: it is refused; nothing is left of it.
        """
        self._check_trusted(sender, offer.package)
        key = sender, offer.hash
        fetched = 0
        self._forget_old()
        held = self._held.get(key)
        if held is None:
            held, fetched = await self._fetched(key, offer)
        held.until = self._clock() + HELD_SECONDS
        item = await self._installer.preview(str(held.argument))
        return Previewed(
            package=item["package"],
            version=item["version"],
            hash=item["hash"],
            asks_more=tuple(item["asks_more"]),
            asks_less=tuple(item["asks_less"]),
            fetched_bytes=fetched,
        )

    async def install(self, sender: str, request: Install) -> InstalledThere:
        """Install a package that was offered before.

        Raises:
            GuesthouseError: it is refused, or cannot be started.
        """
        self._check_trusted(sender, request.hash[:12])
        self._forget_old()
        held = self._held.get((sender, request.hash))
        if held is None:
            raise PackageError(
                f"{self._node} does not hold the package {request.hash[:12]} any more: install it again"
            )
        held.until = self._clock() + HELD_SECONDS
        self._log.write(SOURCE, "info", f"{sender} installs {held.package} ({request.hash[:12]}) here")
        item = await self._installer.install(str(held.argument), request.hash if request.consent else None)
        self._drop((sender, request.hash))
        await self._removed()
        return InstalledThere(
            package=item["package"],
            version=item["version"],
            hash=item["hash"],
            running_version=item["running_version"],
        )

    def lost(self, sender: str) -> None:
        """The session with a node has ended: what it offered is dropped."""
        for key in [key for key in self._held if key[0] == sender]:
            self._drop(key)

    async def close(self) -> None:
        """Drop everything that was offered, and wait until it is removed."""
        for key in list(self._held):
            self._drop(key)
        await self._removed()

    def _check_trusted(self, sender: str, package: str) -> None:
        if sender not in self._trusted():
            text = f"{sender} would install {package} here, and is not in cluster.install_from"
            self._throttled_log.say(SOURCE, f"install {sender}", text)
            raise NotTrusted(
                f"{self._node} takes no packages from {sender}: name it in install_from, in the section [cluster] "
                "of guesthouse.toml there, and reload that node by SIGHUP"
            )

    def _forget_old(self) -> None:
        now = self._clock()
        for key in [key for key, held in self._held.items() if held.until < now]:
            self._drop(key)

    def _drop(self, key: tuple[str, str]) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            self._remove(held.scratch)

    def _remove(self, scratch: Path) -> None:
        """Remove a folder in a thread: it may have many files."""
        removal = asyncio.get_running_loop().run_in_executor(None, remove_unpacked, scratch)
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)

    async def _removed(self) -> None:
        """Wait until what was dropped is gone."""
        if self._removals:
            await asyncio.wait(self._removals)

    async def _fetched(self, key: tuple[str, str], offer: Offer) -> tuple[_Held, int]:
        if key in self._fetching:
            raise PackageError(f"{self._node} is fetching {offer.package} already: wait for that")
        if len(self._fetching) + len(self._held) >= MOST_HELD:
            raise PackageError(
                f"{self._node} holds {MOST_HELD} packages that wait to be installed: try again later"
            )
        paths = checked_paths(offer, self._limits)
        self._fetching.add(key)
        try:
            async with self._scratch() as scratch:
                argument, fetched = await self._complete(key[0], offer, paths, scratch)
                held = self._held[key] = _Held(scratch, argument, offer.package, 0.0)
                return held, fetched
        except OSError as error:
            raise PackageError(
                f"{offer.package} cannot be kept in {self._unpack_dir} of {self._node}: {error.strerror}; "
                f"{disk_errors.remedy(error)}"
            ) from None
        finally:
            self._fetching.discard(key)

    @asynccontextmanager
    async def _scratch(self) -> AsyncIterator[Path]:
        """A folder that is removed if the block fails."""
        self._unpack_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=self._unpack_dir, prefix=SCRATCH))
        try:
            yield scratch
        except BaseException:
            self._remove(scratch)
            await self._removed()
            raise

    async def _complete(
        self, sender: str, offer: Offer, paths: Sequence[Path], scratch: Path
    ) -> tuple[Path, int]:
        """The folder or archive of a package that has the hash that was offered, and how much was fetched for it."""
        folder = scratch / "package"
        here = await to_its_end(_copy_known, offer.files, paths, folder, self._unpack_dir)
        fetched = 0
        for number, (file, path) in enumerate(zip(offer.files, paths, strict=True)):
            if number not in here:
                await self._fetch_file(sender, offer, number, file.hash, file.size, folder / path)
                fetched += file.size
        try:
            item = await self._installer.preview(str(folder))
        except GuesthouseError as error:
            raise PackageError(str(error).replace(str(folder), offer.package)) from None
        if item["hash"] == offer.hash:
            self._check_id(sender, offer, item)
            return folder, fetched
        archive = scratch / "package.zip"
        await self._fetch_file(sender, offer, ARCHIVE, offer.hash, offer.archive_bytes, archive)
        await asyncio.to_thread(remove_unpacked, folder)
        item = await self._installer.preview(str(archive))
        self._check_id(sender, offer, item)
        return archive, fetched + offer.archive_bytes

    def _check_id(self, sender: str, offer: Offer, item: Mapping[str, Any]) -> None:
        if (item["package"], item["hash"]) != (offer.package, offer.hash):
            raise self._lie(sender, f"{offer.package} as {item['package']} ({item['hash'][:12]})")

    def _lie(self, sender: str, what: str) -> PackageError:
        self._log.write(SOURCE, "warning", f"{sender} offered {what}: refused")
        return PackageError(f"{sender} offered {what}, which is not what it sent: nothing was installed")

    async def _fetch_file(
        self, sender: str, offer: Offer, number: int, digest: str, size: int, path: Path
    ) -> None:
        """Fetch a file, a few parts at a time.

        Raises:
            GuesthouseError: it is not what was offered, or does not come.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        whole = hashlib.sha256()
        with path.open("xb") as file:
            for start in range(0, size, _AT_ONCE * PIECE_BYTES):
                end = min(size, start + _AT_ONCE * PIECE_BYTES)
                parts = [
                    Fetch(hash=offer.hash, file=number, offset=at, length=min(PIECE_BYTES, end - at))
                    for at in range(start, end, PIECE_BYTES)
                ]
                data = await self._parts(sender, offer, parts)
                whole.update(data)
                await to_its_end(file.write, data)
        if whole.hexdigest() != digest:
            name = "its archive" if number == ARCHIVE else ascii(offer.files[number].path)
            raise self._lie(sender, f"{offer.package} with {name} of the hash {digest[:12]}")

    async def _parts(self, sender: str, offer: Offer, parts: Sequence[Fetch]) -> bytes:
        try:
            async with asyncio.TaskGroup() as tasks:
                pieces = [tasks.create_task(_awaited(self._fetch(sender, part))) for part in parts]
        except BaseExceptionGroup as failed:
            raise _first(failed) from None
        for part, piece in zip(parts, pieces, strict=True):
            if len(piece.result().data) != part.length:
                raise self._lie(
                    sender, f"{part.length} bytes of {offer.package} and sent {len(piece.result().data)}"
                )
        return b"".join(piece.result().data for piece in pieces)


async def _awaited(answer: Awaitable[FilePart]) -> FilePart:
    return await answer


def _first(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    error = failed.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def checked_paths(offer: Offer, limits: PackageLimits) -> list[Path]:
    """The paths of an offer's files, each within the package.

    Raises:
        PackageError: one is not, two cannot stand side by side, or a limit is exceeded.
    """
    if (
        offer.archive_bytes > limits.zip_bytes
        or sum(file.size for file in offer.files) > limits.unpacked_bytes
    ):
        raise PackageError(
            f"{offer.package} is over {limits.zip_bytes} bytes, or {limits.unpacked_bytes} when it is unpacked: make "
            "it smaller, or raise package.zip_bytes and package.unpacked_bytes in guesthouse.toml there"
        )
    files = check_entries([_entry(file.path) for file in offer.files], Path(offer.package), limits)
    if len(files) != len(offer.files):
        raise PackageError(f"{offer.package} has a file whose name is that of a folder")
    return [Path(*path.parts) for _, path in files]


def _entry(path: str) -> zipfile.ZipInfo:
    """A file of an archive, for `check_entries`."""
    entry = zipfile.ZipInfo(path)
    entry.header_offset = 0
    return entry


def _copy_known(
    files: Sequence[OfferedFile], paths: Sequence[Path], folder: Path, unpack_dir: Path
) -> frozenset[int]:
    """Copy the files that other unpacked packages have, by content; returns their numbers."""
    folder.mkdir(mode=0o700)
    wanted: dict[int, dict[str, list[int]]] = {}
    for number, file in enumerate(files):
        wanted.setdefault(file.size, {}).setdefault(file.hash, []).append(number)
    copied: set[int] = set()
    for path in _unpacked_files(unpack_dir):
        by_hash = wanted.get(path.stat().st_size)
        numbers = by_hash.pop(digest_of(path), []) if by_hash else []
        for number in numbers:
            target = folder / paths[number]
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            copied.add(number)
    return frozenset(copied)


def _unpacked_files(unpack_dir: Path) -> Iterable[Path]:
    """The files of packages, which are in folders named by their hashes."""
    for package in unpack_dir.iterdir():
        if not package.name.startswith(".") and package.is_dir() and not package.is_symlink():
            yield from (path for path in package.rglob("*") if path.is_file() and not path.is_symlink())
