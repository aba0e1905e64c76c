"""What a node has, and what is done with its packages and processes while it runs."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from guesthouse.core.address import ProcessId
from guesthouse.core.config import Given, Settings, given_settings
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.home import Home
from guesthouse.core.timing.clock import Clock
from guesthouse.http_api.api_keys import ApiKeys
from guesthouse.http_server.listening import Listeners
from guesthouse.http_server.server import HttpServer
from guesthouse.kernel.messaging.router import Router
from guesthouse.kernel.storage.database import State
from guesthouse.kernel.supervision.ended_processes import EndedProcess
from guesthouse.kernel.supervision.spawner import Spawner
from guesthouse.kernel.supervision.supervised import NoSuchProcess, NotWanted
from guesthouse.kernel.supervision.supervisor import Supervisor
from guesthouse.kernel.workers.pool import Workers
from guesthouse.modules.registry import Modules
from guesthouse.node.handover_file import HandoverFile
from guesthouse.node.log import Log
from guesthouse.node.not_running import failures, not_running
from guesthouse.node.package_hosts import refuse_same_host
from guesthouse.node.running_packages import RunningPackages
from guesthouse.node.upgrade import Upgrade
from guesthouse.package.compile.compiler import Compiler
from guesthouse.package.errors import CompileUnfinished
from guesthouse.package.format.load import load_package
from guesthouse.package.spec import Package, ProcessSpec

if TYPE_CHECKING:
    from guesthouse.cluster.administration.administration import Administration
    from guesthouse.cluster.cluster import Cluster
    from guesthouse.cluster.gateway.gateways import Gateways
    from guesthouse.local_gateway.local_gateways import LocalGateways
    from guesthouse.monitoring.cluster_figures import ClusterFigures
    from guesthouse.monitoring.node_tracing import Tracing


class BaseNode:
    """The parts of a node, which `Node` starts and stops, and the operations on what runs.

    Args:
        settings: with `home` set.
        listeners: its listening sockets; by default it makes its own.
        clock: the time that guests see.
    """

    def __init__(
        self, settings: Settings, listeners: Listeners | None = None, clock: Clock | None = None
    ) -> None:
        self.settings = settings
        self.clock = clock or Clock()
        self.listeners = Listeners() if listeners is None else listeners
        self.home = Home(Path(settings.home))
        self.given: Callable[[], Mapping[str, Given]] = partial(given_settings, settings.home)
        """Reads what file, environment and command line give."""
        self.running = RunningPackages()
        self.log: Log
        self.router: Router
        self.http: HttpServer
        self.supervisor: Supervisor
        self.workers: Workers
        self.state: State
        self.spawner: Spawner
        self.modules: Modules
        self.compiler: Compiler
        self.api_keys: ApiKeys
        self.dashboard_link: Callable[[str, int], str | None] = lambda role, seconds: None
        """A link that logs in to the dashboard once, if that is served."""
        self.tracing: Tracing | None = None
        self.cluster: Cluster | None = None
        """Its cluster, if it takes part in one."""
        self.not_loaded: dict[str, EndedProcess] = {}
        """Installed packages that could not be loaded, and why."""
        self.started = False
        """Whether all its packages were started."""
        self.stopping = False
        self.handover_room: HandoverFile | None = None
        """What keeps room on the disk for what the node hands over."""
        self.on_restart: Callable[[], None] | None = None
        """Restarts the node, if whoever runs it can."""
        self.on_stop: Callable[[], None] | None = None
        """Ends the node, if whoever runs it can."""
        self.gateways: Gateways | None = None
        """Channels between it and other nodes, if it has joined them."""
        self.local_gateways: LocalGateways | None = None
        """Subprocesses that hold its clients' sockets, if it has any."""
        self.administration: Administration | None = None
        """Of the other nodes of its cluster, if it is in one."""
        self.run_id = secrets.token_hex(8)
        """Tells this run from the one before and the next."""

    @property
    def packages(self) -> Sequence[Package]:
        """The packages whose processes it runs, those added first before others."""
        return list(self.running)

    def reload(self, settings: Settings) -> None:
        """Apply these settings as far as a running node can (`reload.py`), read the certificate again, and
        reopen the log file if it was rotated.

        Raises:
            CannotListen: the certificate is unusable; nothing has changed.
        """
        self.http.reload(settings)
        if self.local_gateways is not None:
            self.local_gateways.apply(settings)
        self.supervisor.apply(settings)
        self.settings = settings
        self.log.reopen()

    async def load(self, argument: str, components: Mapping[ProcessId, Path] | None = None) -> Package:
        """Load a package that was named on the command line.

        Args:
            argument: as there.
            components: what processes of a folder run in the place of their own components.

        Raises:
            PackageError: it is not a package.
        """
        limits, unpacked = self.settings.package, self.home.unpacked
        return await asyncio.to_thread(load_package, argument, limits, unpacked, components or {})

    async def add(self, packages: Sequence[Package]) -> None:
        """Start the processes of packages, concurrently. Returns once all run. One whose compiler could not finish is
        logged and skipped, unless it is the only one.

        Raises:
            GuesthouseError: one cannot be compiled or started, or its id or host is taken.
        """
        added = dict.fromkeys(package.id for package in packages)
        refuse_same_host(added, added.keys() | set().union(*map(self.running.hosted_with, added)))
        self.running.add(packages)
        specs = [spec for package in packages for spec in package.processes]
        for spec in specs:
            if spec.ui is not None:
                self.http.serve_ui(spec.id, spec.ui)
        left_out: list[CompileUnfinished] = []

        async def add(spec: ProcessSpec) -> None:
            try:
                await self.start_process(spec)
            except NotWanted as error:
                self.log.write(str(spec.id), "info", str(error))
            except CompileUnfinished as error:
                left_out.append(error)
                if len(left_out) == len(specs):
                    raise
                self.log.write(str(spec.id), "error", f"{error} (starting without it)")

        try:
            async with asyncio.TaskGroup() as tasks:
                for spec in specs:
                    tasks.create_task(add(spec))
        except BaseExceptionGroup as errors:  # Python 3.11.2 wraps exceptions raised in `except*`
            known, others = errors.split(GuesthouseError)
            if known is None or others is not None:
                raise
            first = _first(known)
            for spec in specs:
                if self.router.find(spec.id) is None and self.supervisor.ended.get(spec.id) is None:
                    text = f"another process of its package could not be: {first}"
                    self.supervisor.ended.not_started(spec.id, spec.on_exit, text)
            raise first from None
        for package_id in dict.fromkeys(package.id for package in packages):
            await self.spawner.restore(package_id)

    async def start_process(self, spec: ProcessSpec) -> None:
        """Start a process of a package that is still there once the process is compiled.

        Raises:
            GuesthouseError: it cannot be compiled or started; or its package, or that version, is gone.
        """
        try:
            await self.supervisor.add(spec, wanted=partial(self.running.has, spec))
        except NotWanted:
            raise
        except GuesthouseError as error:
            self.supervisor.ended.not_started(spec.id, spec.on_exit, str(error))
            raise

    def failures(self) -> Sequence[str]:
        """What failed of all that should run, a line each."""
        return failures(self.not_running())

    def not_running(self) -> Iterator[tuple[str, EndedProcess]]:
        """What should run and does not: processes by their ids, and packages that could not be loaded by theirs."""
        runs, ended = self.router.find, self.supervisor.ended
        return not_running(
            self.packages,
            lambda process: runs(process) is not None,
            ended.get,
            ended.children,
            self.not_loaded,
        )

    async def restart(self, process_id: ProcessId) -> None:
        """Restart a process, or start one of a package that was stopped.

        Raises:
            NoSuchProcess: no process and no package has that id.
            GuesthouseError: it cannot be compiled or started.
        """
        if self.router.find(process_id) is not None:
            await self.supervisor.restart(process_id)
            return
        specs = (spec for package in self.packages for spec in package.processes)
        spec = next((spec for spec in specs if spec.id == process_id), None)
        if spec is None and self.supervisor.ended.get(process_id) is not None:
            raise NoSuchProcess(
                f"{process_id} was spawned by a process, which alone can start it again: "
                f"'guesthouse stop {process_id}' removes it from the list"
            )
        if spec is None:
            raise NoSuchProcess(f"this node has no process {process_id}: `guesthouse ps` lists its processes")
        if spec.ui is not None:
            self.http.serve_ui(spec.id, spec.ui)
        await self.start_process(spec)

    async def stop(self, process_id: ProcessId) -> None:
        """Stop a process for good. One that has ended is listed no longer.

        Raises:
            NoSuchProcess: there is no such process.
        """
        if self.router.find(process_id) is None and self.supervisor.ended.forget(process_id):
            return
        await self.supervisor.stop(process_id, "it was stopped by the operator")

    async def replace(self, package: Package) -> None:
        """Upgrade a running package, with its channels open. Processes that it no longer has
        are ended; new ones, and those that had ended, are started.

        Raises:
            GuesthouseError: one cannot be compiled or started; all run as before.
        """
        upgrade = self.upgrade_to(package)
        await upgrade.carry_out()
        self.running.remove(known for known in self.running if _same(known, package))
        self.running.add([package])
        await upgrade.finish()

    def upgrade_to(self, package: Package) -> Upgrade:
        """The upgrade of the running version of a package to this one."""
        before = [known for known in self.running if _same(known, package)]
        return Upgrade(
            *(before, package, self.supervisor, self.http),
            lambda process: self.router.find(process) is not None,
            self.log,
        )

    def cluster_figures(self) -> ClusterFigures | None:
        """What is measured of its part in its cluster; None if it is in none."""
        if self.cluster is None or self.gateways is None:
            return None
        from guesthouse.cluster.measuring import measured

        return measured(self.cluster, self.gateways)


def _same(known: Package, package: Package) -> bool:
    """Whether a package replaces a known one. A bare component does not replace a whole package."""
    alone = package.processes[0].component == package.source.resolve()
    return known.source == package.source or (known.id == package.id and not alone)


def _first(errors: BaseExceptionGroup[GuesthouseError]) -> GuesthouseError:
    """One of several errors: users fix one at a time."""
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
