"""A node: home, log, state, workers, kernel, HTTP server and control socket.

The parts start in the order of their dependencies. They stop in the order that users
notice: channels, processes, workers, state.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TextIO

from guesthouse.control.control_server import Command, ControlServer
from guesthouse.core.address import ProcessId
from guesthouse.core.config import Settings
from guesthouse.core.errors import BadSetting
from guesthouse.core.messages import LogLine
from guesthouse.core.ports import RouterPort, Transport
from guesthouse.core.timing.clock import Clock
from guesthouse.http_api.api_keys import KEYS_FILE, ApiKeys
from guesthouse.http_server.auth.credentials import load_node_key
from guesthouse.http_server.listening import API, HTTP, MONITORING, Listeners
from guesthouse.http_server.server import HttpServer
from guesthouse.http_server.state.descriptors import most_open, shortage
from guesthouse.kernel.messaging.router import Router
from guesthouse.kernel.messaging.worker_operations import WorkerOperations
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.storage import capability_store, process_state
from guesthouse.kernel.storage.database import State
from guesthouse.kernel.supervision import children
from guesthouse.kernel.supervision.children import Children
from guesthouse.kernel.supervision.purge import void_packages
from guesthouse.kernel.supervision.spawner import Spawner
from guesthouse.kernel.supervision.supervisor import Supervisor
from guesthouse.kernel.workers.pool import Receiver, Worker, WorkerEvents, Workers
from guesthouse.link.calls import CallHandlers
from guesthouse.modules.registry import TABLES, Modules, package_folder, package_root
from guesthouse.node.commands.commanded_node import CommandedNode
from guesthouse.node.commands.node_commands import NodeCommands
from guesthouse.node.draining.client_drain import ClientDrain
from guesthouse.node.draining.finishing import drain
from guesthouse.node.handing_over import Predecessor, hand_over
from guesthouse.node.installer import Installer, finish_purge
from guesthouse.node.log import Log
from guesthouse.node.offline_installer import tidy
from guesthouse.node.prespawn import PrespawnedWorkers, command_of_workers, placement
from guesthouse.package.compile.cache import CompileCache
from guesthouse.package.compile.compiler import Compiler

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from guesthouse.kernel.cluster.greeter import KeyOf
    from guesthouse.kernel.cluster.peers import Peers
    from guesthouse.monitoring.node_tracing import Tracing

CHANNELS_SECONDS: Final = 1.0
"""Time for clients to answer close frames when the node stops."""


class Node(CommandedNode):
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
        cache: the compile cache of its home, if there is one already; by default it makes its own.
        completes: whether `complete` will be called: until then clients of what is not there are asked to come again.

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
        cache: CompileCache | None = None,
        *,
        completes: bool = False,
    ) -> None:
        super().__init__(settings, listeners, clock)
        self.client_drain = ClientDrain(self)
        self._terminal = terminal
        self._cache = cache
        self._completes = completes
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
        if self.handover_room is not None:
            self.handover_room.close()

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
        folder_of = partial(package_folder, self.running.of, home.unpacked)
        root_of = partial(package_root, self.running.of, home.unpacked)
        modules = self.modules = Modules(router, state, settings.process, folder_of, self.clock)
        stack.callback(modules.close)
        await modules.load()
        if settings.gateways:
            from guesthouse.local_gateway.local_gateways import LocalGateways  # only where it is wanted

            self.http.front = self.local_gateways = await stack.enter_async_context(
                LocalGateways(settings, log)
            )
        if (short := shortage(settings, most_open())) is not None:
            log.write("node", "info", short)
        await stack.enter_async_context(self.http)
        await self._predecessor.load()
        self._children = Children(state, modules.forget)
        compiler = self.compiler = Compiler(
            *(home.compiled, settings.package, log, self._begins_to_compile, settings.process),
            cache=self._cache,
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
        self.spawner = await stack.enter_async_context(
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
        keys = self.api_keys = ApiKeys(home.path)
        keys.unwritten = partial(self.http.pending_writes.add, KEYS_FILE, keys.write)
        await stack.enter_async_context(self.client_drain)
        await stack.enter_async_context(ControlServer(home, self._commands()))
        if settings.api.port is not None or self.listeners.passed(API):
            from guesthouse.http_api.api_server import ApiServer  # only where it is wanted

            api = ApiServer(self, settings, self.api_keys, log, self.listeners)
            self.dashboard_link = (await stack.enter_async_context(api)).dashboard_link
        self.listeners.close_unused()
        if self.local_gateways is not None:
            await self.local_gateways.begun()
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
        self.http.starts(self._completes)
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
        self.spawner.register(calls)
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
        cluster_settings = self.settings.cluster
        self.gateways = Gateways(
            self.http,
            peers,
            self.log,
            cluster_settings.gateways_from,
            serve=(*cluster_settings.serve, *cluster_settings.install_from),
        )
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
            self.gateways.expect(name for name in cluster.member_names() if name != membership.node)
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

    async def complete(self) -> None:
        """All packages were added: forget child processes of any others and what the run before left for them, and let
        in who waits.
        """
        await children.forget_all_but(self.state, (package.id for package in self.packages))
        self._predecessor.go_on()
        await self.http.accept()
        self.http.starts(False)
        self.started = True

    async def hand_over(self) -> bool:
        """Leave the resumable channels and what waits in mailboxes to the next run of the node. The block is to be left
        then. Returns False if there is no room for it on the disk: nothing has ended yet.
        """
        self.stopping = True
        self.log.write("node", "info", "hands over to its successor")
        return await hand_over(self)

    async def drain(self, seconds: float) -> None:
        """Finish what was begun, for so many seconds at most. The block is to be left then."""
        self.stopping = True
        self.log.write("node", "info", f"finishes what was begun, within {seconds:g} s")
        await drain(self, seconds)


def _named(paths: Sequence[str]) -> str:
    shown = ", ".join(paths[:5])
    return shown if len(paths) <= 5 else f"{shown} and {len(paths) - 5} more"
