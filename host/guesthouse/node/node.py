"""A node: home, log, state, workers, kernel, HTTP server and control socket.

The parts start in the order of their dependencies. They stop in the order that users
notice: channels, processes, workers, state.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TextIO

from guesthouse.control.control_server import Command, ControlServer
from guesthouse.core.address import ProcessId
from guesthouse.core.config import Given, Settings, given_settings
from guesthouse.core.errors import BadSetting, GuesthouseError
from guesthouse.core.home import Home
from guesthouse.core.messages import LogLine
from guesthouse.core.ports import RouterPort, Transport
from guesthouse.core.timing.clock import Clock
from guesthouse.http_api.api_keys import ApiKeys
from guesthouse.http_server.auth.credentials import load_node_key
from guesthouse.http_server.listening import API, HTTP, MONITORING, Listeners
from guesthouse.http_server.server import HttpServer
from guesthouse.kernel.messaging.router import Router
from guesthouse.kernel.messaging.worker_operations import WorkerOperations
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.storage import capability_store, process_state
from guesthouse.kernel.storage.database import State
from guesthouse.kernel.supervision import children
from guesthouse.kernel.supervision.children import Children
from guesthouse.kernel.supervision.ended_processes import EndedProcess
from guesthouse.kernel.supervision.purge import void_packages
from guesthouse.kernel.supervision.spawner import Spawner
from guesthouse.kernel.supervision.supervised import NoSuchProcess, NotWanted
from guesthouse.kernel.supervision.supervisor import Supervisor
from guesthouse.kernel.workers.pool import Receiver, Worker, WorkerEvents, Workers
from guesthouse.link.calls import CallHandlers
from guesthouse.modules.registry import TABLES, Modules, package_folder, package_root
from guesthouse.node.admin_commands import NodeCommands
from guesthouse.node.draining.client_drain import ClientDrain, DrainState
from guesthouse.node.draining.finishing import drain
from guesthouse.node.handing_over import Predecessor, hand_over
from guesthouse.node.installer import Installer, finish_purge
from guesthouse.node.log import Log
from guesthouse.node.not_running import failures, not_running
from guesthouse.node.offline_installer import tidy
from guesthouse.node.package_hosts import refuse_same_host
from guesthouse.node.prespawn import PrespawnedWorkers, command_of_workers, placement
from guesthouse.node.upgrade import Upgrade
from guesthouse.package.compile.compiler import Compiler
from guesthouse.package.errors import CompileUnfinished
from guesthouse.package.format.load import load_package
from guesthouse.package.spec import Package, ProcessSpec

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from guesthouse.cluster.administration.administration import Administration
    from guesthouse.cluster.cluster import Cluster
    from guesthouse.cluster.gateway.gateways import Gateways
    from guesthouse.kernel.cluster.greeter import KeyOf
    from guesthouse.kernel.cluster.peers import Peers
    from guesthouse.monitoring.node_tracing import Tracing

CHANNELS_SECONDS: Final = 1.0
"""Time for clients to answer close frames when the node stops."""


class Node:
    """A node for its settings' home. An async context manager.

    Inside the block it accepts connections and runs what `add` was given. On exit every
    channel is closed with 1001, every process and worker ended, and the state is on disk. Cancelling
    the block does the same. Exit takes up to about four seconds.

    Args:
        settings: with `home` set.
        terminal: where the text log goes.
        prespawned: workers that were spawned before; their creator ends those that are left.
        listeners: its listening sockets; by default it makes its own.
        clock: the time that guests see.

    Raises:
        HomeError: on entry: the home cannot be used, or another node uses it.
        CannotListen: on entry: the port is taken.
        WorkerFailed: on entry: this machine cannot run guests.
        CompileError: on entry: the engine is not the one that this host was written for.
    """

    def __init__(
        self,
        settings: Settings,
        terminal: TextIO | None = sys.stderr,
        prespawned: PrespawnedWorkers | None = None,
        listeners: Listeners | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock or Clock()
        self.listeners = Listeners() if listeners is None else listeners
        self.home = Home(Path(settings.home))
        self.given: Callable[[], Mapping[str, Given]] = partial(given_settings, settings.home)
        """Reads what file, environment and command line give."""
        self.packages: list[Package] = []
        self.log: Log
        self.router: Router
        self.http: HttpServer
        self.supervisor: Supervisor
        self.workers: Workers
        self.state: State
        self.installer: Installer
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
        self.on_restart: Callable[[], None] | None = None
        """Restarts the node, if whoever runs it can."""
        self.on_stop: Callable[[], None] | None = None
        """Ends the node, if whoever runs it can."""
        self.client_drain = ClientDrain(self)
        self.gateways: Gateways | None = None
        """Channels between it and other nodes, if it has joined them."""
        self.administration: Administration | None = None
        """Of the other nodes of its cluster, if it is in one."""
        self.run_id = secrets.token_hex(8)
        """Tells this run from the one before and the next."""
        self._terminal = terminal
        self._ahead = (prespawned or PrespawnedWorkers(settings)).take
        self._stack = AsyncExitStack()
        self._cluster_stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start everything except processes."""
        try:
            await self._start(self._stack)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stopping = True
        self.log.write("node", "info", "stops")
        await self._stack.aclose()

    async def _start(self, stack: AsyncExitStack) -> None:
        settings, home = self.settings, self.home
        home.prepare()
        stack.enter_context(home.locked())
        found_open = await asyncio.to_thread(home.close_to_others)
        home.remember_node(settings.node)
        log = self.log = Log(home.logs, self._terminal, settings.log_format, self._log_route())
        stack.callback(log.close)
        if found_open:
            text = f"others could read {_named(found_open)}: removed their access"
            log.write("node", "warning", text)
        state = self.state = State(home.state, settings.process.state_bytes, log, TABLES)
        stack.push_async_callback(state.close)
        await asyncio.to_thread(tidy, home)
        await finish_purge(home, state, settings.node)
        self.tracing = self._make_tracing(stack)
        replies = None if self.tracing is None else self.tracing.replies
        router = self.router = Router(settings, log, self._make_http_server, self.clock, replies)
        self._predecessor = Predecessor(self)
        router.rights.void(await void_packages(state))
        stack.callback(router.close)
        log.worker_of = self._worker_of
        folder_of = partial(package_folder, lambda: self.packages, home.unpacked)
        root_of = partial(package_root, lambda: self.packages, home.unpacked)
        modules = self.modules = Modules(router, state, settings.process, folder_of, self.clock)
        stack.callback(modules.close)
        await modules.load()
        await stack.enter_async_context(self.http)
        await self._predecessor.load()
        self._children = Children(state, modules.forget)
        compiler = self.compiler = Compiler(
            home.compiled, settings.package, log, self._begins_to_compile, settings.process
        )
        await compiler.check_engine()
        restore = partial(capability_store.restore, state)
        self.supervisor = Supervisor(
            *(router, compiler, settings, log),
            self._make_workers,
            restore,
            self._children.ended,
            self._predecessor.inherit,
            Process if self.tracing is None else self.tracing.process,
        )
        self.workers = self.supervisor.workers
        self._spawner = await stack.enter_async_context(
            Spawner(
                *(router, self.supervisor, state, self._children, root_of),
                settings.package.processes,
                log,
            )
        )
        self._calls = self._host_calls()
        if settings.monitoring.port is not None or self.listeners.passed(MONITORING):
            from guesthouse.monitoring.monitoring_server import MonitoringServer  # only where it is wanted

            await stack.enter_async_context(MonitoringServer(self, settings, log, self.listeners))
        if settings.cluster.nats:
            await self.start_cluster()
        stack.push_async_callback(self.stop_cluster)
        await stack.enter_async_context(self.workers)
        stack.push_async_callback(self.supervisor.close)
        stack.push_async_callback(self.http.close, CHANNELS_SECONDS)
        self.installer = await stack.enter_async_context(Installer(self, compiler))
        self.api_keys = ApiKeys(home.path)
        await stack.enter_async_context(self.client_drain)
        await stack.enter_async_context(ControlServer(home, self._commands()))
        if settings.api.port is not None or self.listeners.passed(API):
            from guesthouse.http_api.api_server import ApiServer  # only where it is wanted

            api = ApiServer(self, settings, self.api_keys, log, self.listeners)
            self.dashboard_link = (await stack.enter_async_context(api)).dashboard_link
        self.listeners.close_unused()
        log.write("node", "info", f"{settings.node} starts on {self.http.url} from {home.path}")

    def _make_http_server(self, router: RouterPort) -> HttpServer:
        self.http = HttpServer(
            router,
            self.log,
            self.settings,
            self.home.path,
            self.listeners,
            wait=self.home.handover.exists() or self.listeners.waits(HTTP),
        )
        return self.http

    def _log_route(self) -> Callable[[LogLine], None] | None:
        if self.settings.log_config is None:
            return None
        from guesthouse.node.log_routing import route  # only where it is wanted

        return route(self.settings.log_config)

    def _make_tracing(self, stack: AsyncExitStack) -> Tracing | None:
        if self.settings.tracing.endpoint is None:
            return None
        from guesthouse.monitoring.node_tracing import Tracing  # only where it is wanted

        tracing = Tracing(self.settings, self.log)
        stack.push_async_callback(tracing.close)
        self.log.trace_id = tracing.current_trace
        return tracing

    def _make_workers(self, events: WorkerEvents) -> Workers:
        settings = self.settings
        return Workers(
            placement(settings),
            self.log,
            self._operations,
            events,
            self._command_of_workers(),
            self._ahead,
            silence_seconds=settings.worker_silence_seconds,
            ready_seconds=settings.worker_ready_seconds,
            longest_pause=settings.worker_longest_pause,
        )

    def _command_of_workers(self) -> Sequence[str]:
        return command_of_workers(self.settings, self.home)

    def _commands(self) -> Mapping[str, Command]:
        """What is answered on the control socket."""
        return NodeCommands(self).all()

    def _host_calls(self) -> CallHandlers:
        """What carries out the calls of guests that are the node's to answer."""
        calls = CallHandlers()
        self.http.register(calls)
        self._spawner.register(calls)
        capability_store.register(calls, self.state)
        process_state.register(calls, self.state, self.router.rights.missing_to_keep)
        calls.check()
        return calls

    def _begins_to_compile(self, component: Path) -> None:
        self.log.write("compiler", "info", f"compiling {component}; the result is cached")

    def _operations(self, worker: Worker, on_ready: Callable[[], None]) -> Receiver:
        return WorkerOperations(
            worker.runs,
            self.router,
            self.http,
            self._calls,
            self.log,
            self.supervisor,
            on_ready,
            worker.pong,
            self._children.on_exit_changed,
            None if self.tracing is None else self.tracing.handlers(self.router, self.http),
        )

    def _worker_of(self, source: str) -> str | None:
        if source.count(":") != 2:  # a part of the node
            return None
        process = self.router.find(ProcessId(*source.split(":")))
        return None if process is None or process.run is None else process.run.worker

    def reload(self, settings: Settings) -> None:
        """Apply these settings as far as a running node can (`reload.py`), read the certificate again, and
        reopen the log file if it was rotated.

        Raises:
            CannotListen: the certificate is unusable; nothing has changed.
        """
        self.http.reload(settings)
        self.supervisor.apply(settings)
        self.settings = settings
        self.log.reopen()

    def join(self, transport: Transport, key_of: KeyOf, cluster: bytes = b"") -> Peers:
        """Connect to other nodes by a transport; call once, before the first process.

        Args:
            transport: carries frames to other nodes. Those for this node are given to `Peers.incoming`.
            key_of: returns the public key of a node by its name; None if unknown.
            cluster: the id of the cluster, the same at all its nodes.

        Returns:
            The other nodes. Their sessions end with the node.
        """
        from guesthouse.cluster.gateway.gateways import Gateways  # only where it is wanted
        from guesthouse.kernel.cluster.peers import Peers
        from guesthouse.kernel.cluster.remote import Remote

        key = load_node_key(self.home.path)
        peers = Peers(self.settings.node, key, key_of, transport, self.log, cluster=cluster)
        self.router.remote = Remote(self.router, key, key_of, peers, self.log)
        self._stack.callback(peers.close)
        self.gateways = Gateways(self.http, peers, self.log, self.settings.cluster.gateways_from)
        self._stack.callback(self.gateways.close)
        return peers

    async def start_cluster(self) -> None:
        """Take part in the cluster that the home has, if there is one.

        Raises:
            BadSetting: what that takes is not installed, or a file that the settings name is unusable.
            BadMembership: the home's files of the cluster are damaged, or of a node with another name.
        """
        try:
            from guesthouse.cluster.administration.administered_node import administration_of
            from guesthouse.cluster.membership.membership import Membership  # only where it is wanted
            from guesthouse.cluster.start import cluster_of
        except ModuleNotFoundError as error:
            raise BadSetting(
                f"cluster.nats needs {error.name}: run pip install 'guesthouse[cluster]'"
            ) from None
        membership = await asyncio.to_thread(Membership.load, self.home.path)
        if membership is None:
            text = "cluster.nats is set, and this node is in no cluster yet: see `guesthouse cluster --help`"
            self.log.write("cluster", "warning", text)
            return
        cluster = cluster_of(self, membership)
        administration = administration_of(self, lambda: self.installer, cluster.peers, cluster.member_names)
        administration.announce_drain(draining=self.draining)
        if self.gateways is not None:
            self.gateways.draining = administration.draining_nodes
        await self._cluster_stack.enter_async_context(administration)
        self.cluster = await self._cluster_stack.enter_async_context(cluster)
        self.administration = administration

    async def stop_cluster(self) -> None:
        """End that."""
        self.cluster = self.administration = None
        if self.gateways is not None:
            self.gateways.close()
            self.gateways = None
        await self._cluster_stack.aclose()

    def public_key(self) -> Ed25519PublicKey:
        """The key by which other nodes verify this node's messages."""
        return load_node_key(self.home.path).public_key()

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
        for package in packages:
            refuse_same_host(package.id, (known.id for known in (*self.packages, *packages)))
        self.packages += packages
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
            await self._spawner.restore(package_id)

    async def start_process(self, spec: ProcessSpec) -> None:
        """Start a process of a package that is still there once the process is compiled.

        Raises:
            GuesthouseError: it cannot be compiled or started; or its package, or that version, is gone.
        """

        def wanted() -> bool:
            return any(known is spec for package in self.packages for known in package.processes)

        try:
            await self.supervisor.add(spec, wanted=wanted)
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

    async def complete(self) -> None:
        """All packages were added: forget child processes of any others and what the run before left for them, and let
        in who waits.
        """
        await children.forget_all_but(self.state, (package.id for package in self.packages))
        self._predecessor.go_on()
        await self.http.accept()
        self.started = True

    async def hand_over(self) -> None:
        """Leave the resumable channels and what waits in mailboxes to the next run of the node. The block is to be left
        then.
        """
        self.stopping = True
        self.log.write("node", "info", "hands over to its successor")
        await hand_over(self)

    @property
    def draining(self) -> bool:
        """Whether its clients are told to go elsewhere, or were."""
        return self.client_drain.state is not DrainState.SERVING

    async def drain(self, seconds: float) -> None:
        """Finish what was begun, for so many seconds at most. The block is to be left then."""
        self.stopping = True
        self.log.write("node", "info", f"finishes what was begun, within {seconds:g} s")
        await drain(self, seconds)

    async def replace(self, package: Package) -> None:
        """Upgrade a running package, with its channels open. Processes that it no longer has
        are ended; new ones, and those that had ended, are started.

        Raises:
            GuesthouseError: one cannot be compiled or started; all run as before.
        """
        upgrade = self.upgrade_to(package)
        await upgrade.carry_out()
        self.packages = [*(known for known in self.packages if not _same(known, package)), package]
        await upgrade.finish()

    def upgrade_to(self, package: Package) -> Upgrade:
        """The upgrade of the running version of a package to this one."""
        before = [known for known in self.packages if _same(known, package)]
        return Upgrade(
            *(before, package, self.supervisor, self.http),
            lambda process: self.router.find(process) is not None,
            self.log,
        )


def _named(paths: Sequence[str]) -> str:
    shown = ", ".join(paths[:5])
    return shown if len(paths) <= 5 else f"{shown} and {len(paths) - 5} more"


def _same(known: Package, package: Package) -> bool:
    """Whether a package replaces a known one. A bare component does not replace a whole package."""
    alone = package.processes[0].component == package.source.resolve()
    return known.source == package.source or (known.id == package.id and not alone)


def _first(errors: BaseExceptionGroup[GuesthouseError]) -> GuesthouseError:
    """One of several errors: users fix one at a time."""
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
