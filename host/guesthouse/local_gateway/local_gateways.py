"""The local gateways of a node: spawns and replaces them, and gives each a share of the clients.

The node accepts and counts connections itself and passes their sockets on, so limits, draining, socket activation and
handovers need not know of gateways. While one is not there the others take its share, and while none is, the node
itself.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
from collections.abc import Sequence
from typing import Final, Self

from guesthouse.core.config import Settings
from guesthouse.core.ports import LogPort
from guesthouse.core.printable import printable
from guesthouse.core.throttled_log import ThrottledLog
from guesthouse.http_server.behind import Behind, Progress
from guesthouse.http_server.channel.encryption import OVERHEAD
from guesthouse.http_server.sessions.control_messages import MAX_CONTROL_MESSAGE
from guesthouse.kernel.workers.health_check import LOOKS, MissedHeartbeats
from guesthouse.kernel.workers.worker_process import WorkerSubprocess, describe_exit, spawn, wait_or_kill
from guesthouse.local_gateway.gateway_link import (
    MOST_PACKET,
    BadGatewayPacket,
    ClientCrowded,
    ClientHeard,
    ConfigureGateway,
    GatewayFault,
    GatewayReady,
    PingGateway,
    TakeClient,
    encode,
    read_packet,
)
from guesthouse.local_gateway.passed_certificate import PassedCertificate

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 10.0
HEALTHY_SECONDS: Final = 10.0
"""A gateway that lived so long is replaced at once; others after a doubling pause."""
READY_SECONDS: Final = 60.0
_END_SECONDS: Final = 1.0
_NEEDED: Final = ("msgspec", "uvloop", "websockets")
_AT_ONCE: Final = 64


def gateway_command(settings: Settings) -> list[str]:
    """The command of a gateway, without `--link-fd N`; see `worker_command`."""
    options = ["--inspectable"] if settings.inspectable or settings.dev else []
    if settings.worker_confinement == "required":
        options.append("--must-be-confined")
    return [sys.executable, "-P", "-S", "-m", "guesthouse.local_gateway", *options]


class LocalGateway:
    """One gateway subprocess, from spawn to exit.

    Args:
        name: for people.
        link: to it.
        log: the node's log.
    """

    def __init__(self, name: str, link: socket.socket, os_pid: int, log: LogPort) -> None:
        loop = asyncio.get_running_loop()
        self.name = name
        self.os_pid = os_pid
        self.clients: dict[int, Behind] = {}
        self.reads = 0
        """Messages that came from it."""
        self._silence = MissedHeartbeats()
        self.became_ready: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[str | None] = loop.create_future()
        """Done once the link is closed; the result is what the gateway did that it must not."""
        self._faults = ThrottledLog(log)
        self._link = link
        self._loop = loop
        link.setblocking(False)
        loop.add_reader(link, self._receive)

    def is_ready(self) -> bool:
        """Whether it takes clients."""
        return self.became_ready.done() and not self.lost.done()

    @property
    def connections(self) -> int:
        """Clients whose sockets it holds."""
        return len(self.clients)

    def check(self) -> bool:
        """Ask whether it still runs. False if it has not answered for too long."""
        if self.is_ready() and self._silence.look(self.reads):
            return False
        self.send(PingGateway())
        return True

    def send(self, message: ConfigureGateway | TakeClient | PingGateway, *passed: int) -> bool:
        """Send a message with descriptors. False if it does not take it now."""
        try:
            socket.send_fds(self._link, [encode(message)], passed)
        except OSError:
            return False
        return True

    def configure(self, settings: ConfigureGateway, certificate: PassedCertificate | None = None) -> None:
        """Send it settings, as soon as it takes them: it may be busy with clients that wait before."""
        if self.lost.done():
            return
        self._loop.remove_writer(self._link)
        if not self.send(settings, *(() if certificate is None else certificate.files)):
            self._loop.add_writer(self._link, self.configure, settings, certificate)

    def close(self, fault: str | None = None) -> None:
        """Close the link, which ends the gateway. Idempotent."""
        if not self.lost.done():
            self.lost.set_result(fault)
            self._loop.remove_reader(self._link)
            self._loop.remove_writer(self._link)
            self._link.close()

    def _receive(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                packet = self._link.recv(MOST_PACKET)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                packet = b""
            if not packet:
                self.close()
                return
            self.reads += 1
            try:
                message = read_packet(packet)
            except BadGatewayPacket as error:
                self.close(f"sent what is no message ({error})")
                return
            if isinstance(message, GatewayReady):
                if not self.became_ready.done():
                    self.became_ready.set_result(None)
            elif isinstance(message, GatewayFault):
                self._faults.say(self.name, message.text.partition(":")[0], printable(message.text))
            elif isinstance(message, ClientHeard | ClientCrowded):
                self._client(message)

    def _client(self, message: ClientHeard | ClientCrowded) -> None:
        behind = self.clients.get(message.number)
        if behind is not None:
            behind.tell(Progress.HEARD if isinstance(message, ClientHeard) else Progress.CROWDED)


class LocalGateways:
    """An async context manager: leaving it ends all gateways, after the node has closed what they carry. Implements
    `guesthouse.http_server.front.Front`.

    Args:
        settings: `gateways`, `http` and `connections` are used.
        log: the node's log.
    """

    def __init__(self, settings: Settings, log: LogPort) -> None:
        self._settings = settings
        self._log = log
        self._numbers = itertools.count(1)
        self._alive: list[LocalGateway] = []
        self._names = [f"gateway-{number}" for number in range(settings.gateways)]
        self._tasks = asyncio.TaskGroup()
        self._keepers: list[asyncio.Task[None]] = []
        self._watcher: asyncio.Task[None] | None = None
        self._begun: list[asyncio.Future[None]] = []
        self._stopping = False
        self._certificate: PassedCertificate | None = None
        self.restarts = dict.fromkeys(self._names, 0)
        """How often each was replaced."""

    async def __aenter__(self) -> Self:
        """Start the gateways, without waiting for them."""
        await self._tasks.__aenter__()
        self._read_certificate()
        loop = asyncio.get_running_loop()
        for name in self._names:
            begun = loop.create_future()
            self._begun.append(begun)
            self._keepers.append(self._tasks.create_task(self._keep(name, begun)))
        self._watcher = self._tasks.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        for gateway in tuple(self._alive):
            gateway.close()
        if self._keepers:
            await asyncio.wait(self._keepers, timeout=_END_SECONDS)
        for task in (*self._keepers, self._watcher):
            if task is not None:
                task.cancel()
        await self._tasks.__aexit__(None, None, None)
        if self._certificate is not None:
            self._certificate.close()

    @property
    def replaced(self) -> int:
        """How many gateways ended and were replaced."""
        return sum(self.restarts.values())

    async def begun(self) -> None:
        """Wait until each takes clients, or has failed to once."""
        await asyncio.wait(self._begun)

    def alive(self) -> Sequence[LocalGateway]:
        """Gateways with a running subprocess."""
        return tuple(self._alive)

    def apply(self, settings: Settings) -> None:
        """Apply reloaded settings, and have the certificate read again, for new connections."""
        self._settings = settings
        before = self._certificate
        self._read_certificate()
        for gateway in self.alive():
            gateway.configure(self._configuration(), self._certificate)
        if before is not None and before is not self._certificate:
            before.close()

    def _read_certificate(self) -> None:
        http = self._settings.http
        if http.tls_cert is None:
            return
        try:
            self._certificate = PassedCertificate(http.tls_cert, http.tls_key)
        except OSError as error:
            self._log.write("gateways", "error", f"the TLS certificate cannot be read again: {error}")

    def take(self, accepted: socket.socket, *, secure: bool) -> tuple[socket.socket, Behind] | None:
        """See `Front`."""
        ready = [gateway for gateway in self._alive if gateway.is_ready()]
        try:
            client, server = accepted.getpeername()[:2], accepted.getsockname()[:2]
        except OSError:
            return None  # it has left
        for gateway in sorted(ready, key=lambda each: len(each.clients)):
            number = next(self._numbers)
            try:
                ours, theirs = socket.socketpair()
            except OSError:
                return None
            with theirs:
                if gateway.send(TakeClient(number, secure), accepted.fileno(), theirs.fileno()):
                    ours.setblocking(False)
                    left = _Leaving(gateway.clients, number)
                    behind = Behind(client, server, secure=secure, left=left)
                    gateway.clients[number] = behind
                    accepted.close()
                    return ours, behind
            ours.close()
        return None

    def _configuration(self) -> ConfigureGateway:
        limits = self._settings.connections
        return ConfigureGateway(
            self._certificate is not None,
            limits.handshake_seconds,
            limits.close_seconds,
            limits.ping_seconds,
            limits.pong_seconds,
            max(limits.message_bytes + OVERHEAD, limits.register_bytes, MAX_CONTROL_MESSAGE) + 1,
            limits.unfinished_bytes,
        )

    async def _watch(self) -> None:
        """End gateways that hang."""
        seconds = self._settings.worker_silence_seconds
        while True:
            await asyncio.sleep(seconds / LOOKS)
            for gateway in self.alive():
                if not gateway.check():
                    gateway.close(f"was silent for {seconds:g} s and was killed")

    async def _keep(self, name: str, begun: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        pause = 0.0
        while True:
            started = loop.time()
            reason = await self._one_life(name, begun)
            if self._stopping:
                return
            self._log.write(name, "error", f"{reason}; starting another")
            self.restarts[name] += 1
            _settle(begun)
            if loop.time() - started >= HEALTHY_SECONDS:
                pause = 0.0
            await asyncio.sleep(pause)
            pause = min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)

    async def _one_life(self, name: str, begun: asyncio.Future[None]) -> str:
        """Spawn a gateway and run it to its end. Returns why it ended."""
        try:
            subprocess = spawn(
                gateway_command(self._settings), _NEEDED, socket.SOCK_SEQPACKET, shares_memory=False
            )
        except OSError as error:  # too many open files or too little memory: retried later
            return f"could not be spawned: {error.strerror}"
        gateway = LocalGateway(name, subprocess.link, subprocess.pid, self._log)
        try:
            async with asyncio.TaskGroup() as tasks:
                last_line = tasks.create_task(self._read_stderr(name, subprocess))
                fault = await self._serve(gateway, begun)
                status = await wait_or_kill(subprocess)
        finally:
            gateway.close()
            subprocess.kill()
            await subprocess.wait()
        return fault or describe_exit(status, last_line.result())

    async def _serve(self, gateway: LocalGateway, begun: asyncio.Future[None]) -> str | None:
        """Run the gateway's link until it is closed. Returns what the gateway did that it must not."""
        self._alive.append(gateway)
        gateway.configure(self._configuration(), self._certificate)
        try:
            await asyncio.wait(
                (gateway.became_ready, gateway.lost),
                timeout=READY_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not (gateway.became_ready.done() or gateway.lost.done()):
                return f"not ready within {READY_SECONDS:g} s"
            if gateway.is_ready():
                _settle(begun)
                self._log.write(gateway.name, "debug", f"ready (pid {gateway.os_pid})")
            return await gateway.lost
        finally:
            self._alive.remove(gateway)
            gateway.close()

    async def _read_stderr(self, name: str, subprocess: WorkerSubprocess) -> str:
        """Log a gateway's standard error. Returns the last line."""
        last = ""
        async for last in subprocess.stderr_lines():
            self._log.write(name, "error", last)
        return last


def _settle(begun: asyncio.Future[None]) -> None:
    if not begun.done():
        begun.set_result(None)


class _Leaving:
    """Forgets a client of a gateway."""

    __slots__ = ("_clients", "_number")

    def __init__(self, clients: dict[int, Behind], number: int) -> None:
        self._clients = clients
        self._number = number

    def __call__(self) -> None:
        self._clients.pop(self._number, None)
