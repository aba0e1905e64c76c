"""State shared by the connections of one HTTP server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from guesthouse.core.address import ProcessId
from guesthouse.core.config import Settings
from guesthouse.core.ports import LogPort, RouterPort
from guesthouse.http_server import close_codes
from guesthouse.http_server.auth.access import AccessControl
from guesthouse.http_server.auth.local_access import LocalAccess
from guesthouse.http_server.auth.tokens import Tokens
from guesthouse.http_server.channel.channel import Channel
from guesthouse.http_server.channel.client_socket import ClientSocket, KeylessSocket
from guesthouse.http_server.channel.session_channel import SessionChannel
from guesthouse.http_server.close_codes import CloseReason
from guesthouse.http_server.routing.bindings import Bindings
from guesthouse.http_server.routing.hosts import own_hosts
from guesthouse.http_server.routing.origin import counted_as, normal_origin
from guesthouse.http_server.sessions.session_table import SessionTable
from guesthouse.http_server.state.admission import Admission
from guesthouse.http_server.state.channels import ChannelTable, TokenChannels
from guesthouse.http_server.state.client_log import ClientFaultLog
from guesthouse.http_server.state.connection_limits import ConnectionAdmission
from guesthouse.http_server.state.descriptors import most_open, room_for_clients
from guesthouse.http_server.state.fair_queue import FairQueue
from guesthouse.http_server.state.partial_messages import PartialMessages
from guesthouse.http_server.state.refusal_counts import RefusalCounts
from guesthouse.http_server.state.relays import Relays
from guesthouse.http_server.state.timer_wheel import TimerWheel
from guesthouse.http_server.state.traffic import ClosedChannels


class Context(Struct):
    """State of an HTTP server. `monotonic` is the clock for deadlines, `now` (Unix seconds) for tokens."""

    router: RouterPort
    log: LogPort
    settings: Settings
    tokens: Tokens
    bindings: Bindings
    channels: ChannelTable[Channel]
    closed_channels: ClosedChannels
    connections: set[ClientSocket]
    connection_limits: ConnectionAdmission
    deadlines: TimerWheel
    client_faults: ClientFaultLog
    access: AccessControl
    turns: FairQueue
    unfinished: PartialMessages
    sessions: SessionTable[SessionChannel]
    token_channels: TokenChannels = field(default_factory=TokenChannels)
    awaiting_key: dict[int, KeylessSocket] = field(default_factory=dict)
    """Encrypted channels whose client has not posted its key yet, by channel id."""
    refusals: RefusalCounts = field(default_factory=RefusalCounts)
    watching: set[ProcessId] = field(default_factory=set)
    """Processes whose run is told who is away."""
    ui_folders: dict[ProcessId, Path] = field(default_factory=dict)
    """The `ui` folders of packages that have one, by process."""
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    admission: Admission = Admission.ALL
    relays: Relays | None = None
    """Connects this server to those of other nodes, if the node is in a cluster."""
    relayed: set[Channel] = field(default_factory=set)
    """Open channels whose sockets are at other nodes."""
    stopping: bool = False
    """The node is shutting down: no new connections are accepted."""
    disconnected: Callable[[], None] = lambda: None
    """Called after a WebSocket's socket was closed."""

    def apply(self, settings: Settings) -> None:
        """Apply reloaded settings to new connections."""
        http = settings.http
        trusted = frozenset(http.trusted_proxies)
        self.settings = settings
        self.connection_limits.exempt = trusted
        self.access = replace(
            self.access,
            hosts=own_hosts(settings),
            allowed_origins=frozenset(map(normal_origin, http.allowed_origins)),
            trusted_proxies=trusted,
        )

    def starts(self, starting: bool) -> None:
        """Whether the node is starting: what is not found may be there soon."""
        self.access = replace(self.access, starting=starting)

    def no_process(self, process: ProcessId) -> CloseReason:
        """How a channel to a process that was not found is refused."""
        if self.router.is_away(process):
            return close_codes.NODE_LOST
        missing = self.no_own_process
        if missing is not close_codes.NO_SUCH_PROCESS:
            return missing
        return close_codes.NOT_LISTED if self.router.is_expected(process) else missing.noting(f"to {process}")

    @property
    def no_own_process(self) -> CloseReason:
        """The same, of a process that would be one of this node."""
        starting = self.access.starting and not self.stopping
        return close_codes.NODE_STARTS if starting else close_codes.NO_SUCH_PROCESS

    def log_client_fault(self, address: str, fault: str, detail: str = "") -> None:
        """Log a fault of a client by its address, rate-limited; see `ClientFaultLog.log`."""
        self.client_faults.log(counted_as(address), fault, self.monotonic(), detail)


def new_context(
    router: RouterPort, log: LogPort, settings: Settings, tokens: Tokens, local: LocalAccess
) -> Context:
    """Make the initial state of a server."""
    limits, http = settings.connections, settings.http
    bindings = Bindings(limits.bindings_per_process, static_bytes=limits.http_body_bytes)
    trusted = frozenset(http.trusted_proxies)
    closed = ClosedChannels()
    return Context(
        router=router,
        log=log,
        settings=settings,
        tokens=tokens,
        bindings=bindings,
        channels=ChannelTable(closed=lambda channel: closed.add(channel.record())),
        closed_channels=closed,
        connections=set(),
        connection_limits=ConnectionAdmission(
            room_for_clients(settings, most_open()), limits.per_address, exempt=trusted
        ),
        deadlines=TimerWheel(),
        client_faults=ClientFaultLog(log),
        access=AccessControl(
            router,
            tokens,
            bindings,
            own_hosts(settings),
            frozenset(map(normal_origin, http.allowed_origins)),
            trusted,
            local,
        ),
        unfinished=PartialMessages(limits.unfinished_bytes),
        sessions=SessionTable(
            partial(tokens.mac, b"session"), limits.away, limits.away_per_user, limits.away_bytes
        ),
        turns=FairQueue(lambda work: asyncio.get_running_loop().call_soon(work)),
    )
