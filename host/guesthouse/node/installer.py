"""Installs, upgrades, rolls back and uninstalls packages, on a running node or in its home.

Each operation replaces `installed.json` once (`package/store/installed.py`). On a running node, the new version
starts before the file names it, so that after a crash either the old version or the new one starts.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar
from weakref import WeakValueDictionary

from guesthouse.core.address import ProcessId
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.exit_cause import ExitCause
from guesthouse.core.home import Home
from guesthouse.kernel.supervision.ended_processes import EndedProcess
from guesthouse.kernel.supervision.purge import forget_rights, keeps, purge, with_rights
from guesthouse.kernel.supervision.supervised import NoSuchProcess, ProcessNotStarted
from guesthouse.node.package_changes import Consent, compared, consented, known_version, nothing_of
from guesthouse.node.package_hosts import NeedsConsent, refuse_same_host, take_hosts
from guesthouse.node.package_listing import described, rights_of
from guesthouse.package.compile.compiler import Compiler
from guesthouse.package.errors import PackageError
from guesthouse.package.format.archive import GONE, remove_unpacked
from guesthouse.package.spec import Package
from guesthouse.package.store.installed import Installed, Version, read_installed, write_installed
from guesthouse.package.store.stage import gather_beside, stage_gathered, staged

if TYPE_CHECKING:
    from guesthouse.kernel.storage.database import State
    from guesthouse.node.base_node import BaseNode

SOURCE = "packages"
_LINES_LOOKED_AT = 1000
_OF_A_PANIC = ("thread '<unnamed>'", "Python function threw an unexpected", "note: run with `RUST_BACKTRACE")
_T = TypeVar("_T")
Progress: TypeAlias = Callable[[str, int, int], None]
"""Told what is being done, and of how many processes that is done already."""


def _nobody_waits(step: str, number: int, count: int) -> None:
    """No progress is shown."""


class Installer:
    """Implements the control socket's package commands. Operations on one package are serialised; while one compiles
    or starts, operations on others go on. One that has begun continues if its caller is gone. An async context manager:
    leaving it does not wait.
    """

    def __init__(self, node: BaseNode, compiler: Compiler) -> None:
        self._node = node
        self._home = node.home
        self._compiler = compiler
        self._turn = asyncio.Lock()
        """For `installed.json` and the folder of unpacked packages."""
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Per package. Acquired before `_turn`."""
        self._staged_now: Counter[str] = Counter()
        """The hashes of unpacked packages that `installed.json` does not name yet, which must not be removed."""
        self._installing: set[str] = set()
        """The packages of those, whose hosts are taken already."""
        self._to_start: dict[str, Version] = {}
        """What `start` has not come to. One that is changed or uninstalled before is not among them any more."""
        self._tasks = asyncio.TaskGroup()
        self._underway: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in list(self._underway):
            task.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def take_hosts(self, packages: Sequence[Package], *, consent: bool) -> None:
        """Assign hosts to packages named to `run`.

        Raises:
            NeedsConsent: one would get the host of an uninstalled package, without consent.
            PackageError: one would be served on the host of another.
        """
        await self._to_its_end(partial(self._take_hosts, packages, consent))

    async def _take_hosts(self, packages: Sequence[Package], consent: bool) -> None:
        sources = {package.source for package in packages}
        async with self._turn:
            others = {known.id for known in self._node.packages if known.source not in sources} | {
                *self._installing
            }
            await self._drop_unnoted({package.id for package in packages})
            await asyncio.to_thread(take_hosts, self._home.path, packages, others, consent=consent)

    async def _drop_unnoted(self, named: set[str]) -> None:
        """Once, in a home of 0.1.0, which kept the capabilities of uninstalled packages: drop those of packages that
        are neither installed nor named.
        """
        installed, node = read_installed(self._home.path), self._node
        if not installed.notes_left:
            gone = await with_rights(node.state, node.settings.node) - installed.packages.keys() - named
            await asyncio.to_thread(write_installed, self._home.path, installed.with_left(gone))
            node.router.rights.void(dict.fromkeys(gone, time.time()))
            await finish_purge(self._home, node.state, node.settings.node)

    async def start(self) -> None:
        """Start the installed packages, except named ones. Failures are logged."""
        named = {package.id for package in self._node.packages}
        for package_id, item in read_installed(self._home.path).packages.items():
            if package_id in named:
                text = f"{package_id} runs as named, not as installed ({item.current.version})"
                self._node.log.write(SOURCE, "info", text)
            else:
                self._to_start[package_id] = item.current
        async with asyncio.TaskGroup() as tasks:
            for package_id, version in self._to_start.items():
                tasks.create_task(self._start_one(package_id, version))

    async def _start_one(self, package_id: str, version: Version) -> None:
        try:
            try:
                package = await self._staged(version)
            except GuesthouseError as error:
                if package_id not in self._to_start:
                    return  # it is gone because it was uninstalled or replaced meanwhile
                process = ProcessId.parse(f"package:{package_id}")
                self._node.not_loaded[package_id] = EndedProcess(
                    process, ExitCause.NOT_STARTED, str(error), time.time(), "none"
                )
                raise
            if self._to_start.pop(package_id, None) is not None:
                await self._node.add([package])
        except GuesthouseError as error:
            text = f"{error} (fix it with 'guesthouse rollback {package_id}', or uninstall it)"
            self._node.log.write(SOURCE, "error", text)

    async def preview(self, argument: str) -> dict[str, Any]:
        """What a package is, and asks for beyond the version that is installed; nothing changes.

        Raises:
            GuesthouseError: it is refused.
        """
        try:
            return await self._to_its_end(partial(self._install, argument, False, _nobody_waits))
        except NeedsConsent as needed:
            return needed.item

    async def install(
        self, argument: str, consent: Consent = None, progress: Progress = _nobody_waits
    ) -> dict[str, Any]:
        """Install a package, or upgrade to it. Returns what `described` gives, and what it asks for
        beyond the version before.

        Args:
            argument: a folder or archive.
            consent: to what it asks for.
            progress: told of each process that is compiled or found so, and of the start.

        Raises:
            NeedsConsent: it asks for more, without consent; nothing changed.
            GuesthouseError: it is refused, or cannot be started; the old version runs.
        """
        return await self._to_its_end(partial(self._install, argument, consent, progress))

    async def rollback(self, package_id: str, progress: Progress = _nobody_waits) -> dict[str, Any]:
        """Return to the previous version, which has had consent. Returns the same as `install`.

        Raises:
            GuesthouseError: there is none, or it cannot be started; the old version runs.
        """
        return await self._to_its_end(partial(self._roll_back, package_id, progress))

    async def uninstall(self, package_id: str, *, drop_state: bool) -> None:
        """End a package's processes for good; with `drop_state`, delete what they stored, also if the package is
        uninstalled already.

        Raises:
            GuesthouseError: it is not installed; with `drop_state`, and it has stored nothing.
        """
        await self._to_its_end(partial(self._uninstall, package_id, drop_state=drop_state))

    def listed(self) -> Iterator[dict[str, Any]]:
        """Each package that is installed or running."""
        installed = read_installed(self._home.path).packages
        running = {package.id: package for package in self._node.packages}
        for package_id in sorted({*installed, *running}):
            item, runs = installed.get(package_id), running.get(package_id)
            known = runs
            if item is not None and runs is None:
                known = known_version(item.current, self._node.settings.package, self._home.unpacked)
            yield described(package_id, item, runs, self._home.unpacked) | rights_of(
                known, installed=item is not None
            )

    async def _to_its_end(self, work: Callable[[], Awaitable[_T]]) -> _T:
        task = self._tasks.create_task(_outcome(work))
        self._underway.add(task)
        task.add_done_callback(self._underway.discard)
        outcome = await asyncio.shield(task)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _turn_of(self, package_id: str) -> asyncio.Lock:
        return self._turns.setdefault(package_id, asyncio.Lock())

    async def _install(self, argument: str, consent: Consent, progress: Progress) -> dict[str, Any]:
        # Not in turn with others: a large folder, or one on a slow file system, holds up nobody.
        gathered = await gather_beside(argument, self._node.settings.package, self._home.unpacked)
        home, settings = self._home, self._node.settings
        async with self._turn:
            there = _unpacked(home)
            package = await asyncio.to_thread(stage_gathered, gathered, settings.package, home.unpacked)
            version = Version(package.version, package.source.name)
            self._staged_now[version.hash] += 1
        try:
            async with self._turn_of(package.id):
                return await self._install_staged(package, version, consent, progress)
        except GuesthouseError:
            async with self._turn:
                if self._staged_now[version.hash] == 1:  # no other operation uses it
                    await asyncio.to_thread(_remove, home, frozenset((version.hash,)) - there)
            raise
        finally:
            self._staged_now -= Counter((version.hash,))

    async def _install_staged(
        self, package: Package, version: Version, consent: Consent, progress: Progress
    ) -> dict[str, Any]:
        async with self._turn:
            await self._nothing_left_of(package.id)
            installed = read_installed(self._home.path).packages
            others = {*installed, *self._node.running.hosted_with(package.id), *self._installing}
            refuse_same_host((package.id,), others)
            asked = await asyncio.to_thread(consented, self._home, self._node.settings, package, consent)
            self._installing.add(package.id)
        try:
            item = await self._change(package, lambda now: now.with_version(package.id, version), progress)
        except ProcessNotStarted as error:
            if package.id not in installed and await keeps(self._node.state, package.id):
                remedy = f"guesthouse uninstall {package.id} --purge"
                raise ProcessNotStarted(
                    f"{error}; it found what {package.id} had stored before, which '{remedy}' deletes"
                ) from None
            raise
        finally:
            self._installing.remove(package.id)
        return item | asked.as_json()

    async def _nothing_left_of(self, package_id: str) -> None:
        """Finish dropping what an uninstalled package left, so that it is not dropped of the new one."""
        home, node = self._home, self._node
        if package_id in read_installed(home.path).to_drop:
            await finish_purge(home, node.state, node.settings.node)
            if package_id in read_installed(home.path).to_drop:
                raise PackageError(
                    f"what {package_id} left when it was uninstalled cannot be deleted: see the log, and try again"
                )

    async def _roll_back(self, package_id: str, progress: Progress) -> dict[str, Any]:
        async with self._turn_of(package_id):
            async with self._turn:
                wanted = read_installed(self._home.path).rolled_back(package_id).get(package_id).current
                package = await self._staged(wanted)
                asked = await asyncio.to_thread(compared, self._home, self._node.settings, package)
            item = await self._change(package, lambda now: now.rolled_back(package_id), progress)
            return item | asked.as_json()

    async def _change(
        self, package: Package, change: Callable[[Installed], Installed], progress: Progress
    ) -> dict[str, Any]:
        """Run a version, then record that it is installed; or neither."""
        node = self._node
        count = len(package.processes)
        for number, spec in enumerate(package.processes):
            progress("compiling", number, count)
            await self._compiler.runnable(spec.component, package.id)
        progress("starting", count, count)
        upgrade = node.upgrade_to(package)
        began = time.time()
        try:
            await upgrade.carry_out()
        except ProcessNotStarted as error:
            raise ProcessNotStarted(f"{error}; {self._last_words(package, began)}") from None
        async with self._turn:
            before = read_installed(self._home.path)
            after = change(before)
            try:
                await asyncio.to_thread(write_installed, self._home.path, after)
            except PackageError:
                await upgrade.undo()
                raise
            node.running.remove(node.running.of(package.id))
            node.running.add([package])
            self._is_changed(package.id)
            await upgrade.finish()
            await self._remove(before.hashes() - after.hashes())
        text = f"{package.id} {package.version} runs ({package.source.name[:12]})"
        node.log.write(SOURCE, "info", text)
        item = described(package.id, after.get(package.id), package, self._home.unpacked)
        return item | rights_of(package, installed=True)

    def _is_changed(self, package_id: str) -> None:
        """What was installed of it when the node started is to be neither started nor shown as not loaded."""
        self._to_start.pop(package_id, None)
        self._node.not_loaded.pop(package_id, None)

    def _last_words(self, package: Package, since: float) -> str:
        """The end of a package's log since then, where a library says why it failed."""
        ids = {str(spec.id) for spec in package.processes}
        written = [
            line.text.strip().rpartition("\n")[2]
            for line in self._node.log.recent(_LINES_LOOKED_AT)
            if line.source in ids and line.time >= since and line.stream != "host"
            if line.level in ("warning", "error")  # standard error is logged as warnings
        ]
        lines = [line for line in written if _tells(line)]
        return (
            f"it wrote: {' / '.join(lines[-2:])[-300:]} (see `guesthouse logs`)"
            if lines
            else "see `guesthouse logs`"
        )

    async def _remove(self, hashes: frozenset[str]) -> None:
        await asyncio.to_thread(_remove, self._home, hashes - self._staged_now.keys())

    async def _uninstall(self, package_id: str, *, drop_state: bool) -> None:
        async with self._turn_of(package_id), self._turn:
            await self._uninstall_now(package_id, drop_state=drop_state)

    async def _uninstall_now(self, package_id: str, *, drop_state: bool) -> None:
        node, home = self._node, self._home
        before = read_installed(home.path)
        if drop_state and package_id not in before.packages:
            await self._purge_left(before, package_id)
            return
        after = before.without(package_id, purge=drop_state)
        await asyncio.to_thread(write_installed, home.path, after)
        self._is_changed(package_id)
        there = node.running.of(package_id)
        for spec in (spec for package in there for spec in package.processes):
            node.http.unserve_ui(spec.id)
        node.running.remove(there)
        await self._end_all_of(package_id)
        node.supervisor.ended.forget_children(package_id)
        if drop_state:
            node.modules.forget_package(package_id)
        node.router.rights.forget_issued(node.router.processes(), package_id)
        node.router.rights.void({package_id: time.time()})
        await finish_purge(home, node.state, node.settings.node)
        await self._remove(before.hashes() - after.hashes())
        node.log.write(SOURCE, "info", f"{package_id} is uninstalled")

    async def _purge_left(self, before: Installed, package_id: str) -> None:
        """Delete what a package that is not installed has stored."""
        node, home = self._node, self._home
        if node.running.of(package_id):
            raise PackageError(f"{package_id} runs without being installed: stop the node, then purge it")
        if package_id not in before.to_drop and not await keeps(node.state, package_id):
            raise nothing_of(package_id)
        await asyncio.to_thread(write_installed, home.path, before.purging_left(package_id))
        node.modules.forget_package(package_id)
        await finish_purge(home, node.state, node.settings.node)
        node.log.write(SOURCE, "info", f"what {package_id} had stored was deleted")

    async def _end_all_of(self, package_id: str) -> None:
        """End all its processes, also those that are started while others are stopped."""
        node = self._node
        while True:
            there = [process for process in node.router.processes() if process.id.package_id == package_id]
            if not there:
                return
            with suppress(NoSuchProcess):
                await node.supervisor.stop(there[0].id, "its package is uninstalled")
            await asyncio.sleep(0)

    async def _staged(self, version: Version) -> Package:
        return await asyncio.to_thread(staged, version.hash, self._node.settings.package, self._home.unpacked)


def _tells(line: str) -> bool:
    """Whether a line says more than that of the panic which follows a Python exception."""
    return bool(line.strip()) and not line.startswith(_OF_A_PANIC)


async def _outcome(work: Callable[[], Awaitable[_T]]) -> _T | Exception:
    """Retrieve the exception: the caller may be gone."""
    try:
        return await work()
    except Exception as error:
        return error


async def finish_purge(home: Home, state: State, node: str) -> None:
    """Finish uninstalling: drop the capabilities of packages that were uninstalled from the node of that name, and the
    state of those that were purged.
    """
    installed = read_installed(home.path)
    left = installed.to_drop
    if left and await forget_rights(state, left, node) and await purge(state, installed.purging):
        await asyncio.to_thread(write_installed, home.path, installed.purged())


def _unpacked(home: Home) -> frozenset[str]:
    """The hashes of packages unpacked in a home."""
    folder = home.unpacked
    return frozenset(path.name for path in folder.iterdir()) if folder.is_dir() else frozenset()


def _remove(home: Home, hashes: frozenset[str]) -> None:
    """Remove unneeded folders only, and what is left of those that could not be removed: others may be of packages that
    were named, or that are being unpacked.
    """
    with suppress(FileNotFoundError):
        for path in list(home.unpacked.iterdir()):
            if path.name in hashes or path.name.startswith(GONE):
                remove_unpacked(path)
