"""Real nats-servers: one, or several that are a JetStream cluster. Started, stopped and killed by their process ids."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from asyncio import IncompleteReadError
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from tests.e2e.waiting import until
from tests.patience import PATIENCE

PROGRAM: Final = Path(sys.executable).parent / "nats-server"
_TAKEN: Final = "address already in use"
_ATTEMPTS: Final = 5
_ANSWER_SECONDS: Final = 1
NOT_YET: Final = (OSError, TimeoutError, nats.errors.Error, nats.js.errors.Error)
"""What a request to JetStream fails with while servers come and go."""

Routes = Callable[[int, int, int], int]
"""By which port server i reaches server j, whose route port is the third: a proxy's, or that port itself."""


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 on which nothing listens. Somebody else may be given one: see `Taken`."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Taken(Exception):
    """Something else was given a port of a server before the server took it."""


class Server:
    """One nats-server. It keeps its ports and what it stores when it is started again.

    Args:
        folder: its own, for its configuration, log and store.
        name: unique in its cluster.
        more: lines of nats-server's configuration: authorization, TLS, limits.
    """

    def __init__(self, folder: Path, name: str, *, more: str = "") -> None:
        self.folder = folder
        self.name = name
        self.port, self.route_port = free_ports(2)
        self.routes: Sequence[int] = ()
        """The ports of the others, as this server reaches them; empty: it stands alone."""
        self.more = more
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its pid, while it runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended; it may be stopped (SIGSTOP)."""
        return self._process is not None and self._process.returncode is None

    def log(self) -> str:
        """What it has logged since it was first started."""
        return (self.folder / "log").read_text(errors="replace")

    def _configuration(self) -> str:
        routes = ", ".join(f"nats-route://127.0.0.1:{port}" for port in self.routes)
        # Neither clients nor servers are told of other addresses: they go where the test lets them, by its proxies.
        cluster = (
            f"cluster {{ name: tests, listen: 127.0.0.1:{self.route_port}, pool_size: -1\n"
            f"  no_advertise: true, routes: [{routes}] }}\n"
        )
        return (
            f"server_name: {self.name}\nlisten: 127.0.0.1:{self.port}\n"
            f"jetstream {{ store_dir: {json.dumps(str(self.folder / 'store'))}\n"
            "  max_memory_store: 64MB, max_file_store: 256MB }\n"
            f"{cluster if self.routes else ''}{self.more}\n"
        )

    async def start(self) -> None:
        """Start it; it may not yet answer, see `Servers.ready`."""
        assert not self.runs
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "nats.conf"
        configuration.write_text(self._configuration())
        before = len(self.log()) if (self.folder / "log").exists() else 0
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(PROGRAM, "-c", configuration),
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )

        async def listens() -> bool:
            return not self.runs or b" Server is ready" in (self.folder / "log").read_bytes()[before:]

        await until(listens, bool, f"{self.name} listens")
        if not self.runs:
            said = self.log()[before:]
            raise Taken(said) if _TAKEN in said else AssertionError(f"{self.name} does not start: {said}")

    def stop(self) -> None:
        """SIGSTOP: it keeps its connections and says nothing, once each of its threads has stopped."""
        os.kill(self.pid, signal.SIGSTOP)
        while any(state != "T" for state in self._states()):
            time.sleep(0.001)

    def _states(self) -> list[str]:
        """Of its threads, as in `/proc/PID/stat`."""
        stats = Path(f"/proc/{self.pid}/task").glob("*/stat")
        return [stat.read_text().rpartition(")")[2].split()[0] for stat in stats]

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    async def end(self, with_signal: signal.Signals = signal.SIGTERM) -> None:
        """Kill it, and wait for its end. A server that is stopped ends, too."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(with_signal)
            self._process.send_signal(signal.SIGCONT)
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
                raise AssertionError(f"{self.name} did not end: {self.log()[-2000:]}") from None

    async def kill(self) -> None:
        """SIGKILL."""
        await self.end(signal.SIGKILL)

    async def jetstream_answers(self) -> bool:
        """Whether it answers what is asked of JetStream: a cluster does so once it has elected a leader."""
        with suppress(OSError, TimeoutError, IncompleteReadError):
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await _asked(self.port)
        return False


async def _asked(port: int) -> bool:
    """Ask JetStream of a server how it is, in NATS's own words: nats-py leaves sockets open when a server is silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b'CONNECT {"verbose":false}\r\nSUB answer 1\r\nPUB $JS.API.INFO answer 0\r\n\r\n')
        while not (await reader.readuntil(b"\r\n")).startswith(b"MSG answer"):
            pass
        return b'"error"' not in await reader.readuntil(b"\r\n")
    finally:
        writer.transport.abort()


async def _say_nothing(error: Exception) -> None:
    """nats-py would log each server that it does not reach."""


@asynccontextmanager
async def connected(*urls: str, **options: Any) -> AsyncIterator[Client]:
    """A client of nats-py for tests, inside of the block."""
    client = await nats.connect(list(urls), connect_timeout=1, error_cb=_say_nothing, **options)
    try:
        yield client
    finally:
        await client.close()


class Servers:
    """All of them. Inside of `running`."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self.all = servers

    def __getitem__(self, number: int) -> Server:
        return self.all[number]

    def __len__(self) -> int:
        return len(self.all)

    @property
    def urls(self) -> list[str]:
        """Where clients connect."""
        return [server.url for server in self.all]

    async def ready(self, *, seconds: float = PATIENCE) -> None:
        """Wait until JetStream answers at each server that runs."""

        async def silent() -> list[str]:
            running = [server for server in self.all if server.runs]
            answers = await asyncio.gather(*(server.jetstream_answers() for server in running))
            return [server.name for server, answer in zip(running, answers, strict=True) if not answer]

        await until(silent, lambda silent: not silent, "JetStream does not answer", seconds)


@asynccontextmanager
async def running(
    folder: Path, count: int = 3, *, more: str = "", routes: Routes | None = None
) -> AsyncIterator[Servers]:
    """Servers, ready for clients inside of the block, and gone after it. With more than one, JetStream is clustered.

    Args:
        folder: an empty one of the test's.
        more: lines for the configuration of each server.
        routes: how the servers reach each other; None: directly. It is asked once the ports are known.
    """
    for attempt in range(_ATTEMPTS):
        servers = [Server(folder / f"{attempt}-n{n}", f"n{n}", more=more) for n in range(count)]
        ports = [server.route_port for server in servers]
        for i, server in enumerate(servers):
            others = [(j, port) for j, port in enumerate(ports) if j != i]
            server.routes = [routes(i, j, port) if routes else port for j, port in others]
        try:
            await asyncio.gather(*(server.start() for server in servers))
            started = Servers(servers)
            await started.ready()
            yield started
            return
        except Taken:
            continue
        finally:
            await asyncio.gather(*(server.end() for server in servers))
    raise AssertionError(f"ports were taken {_ATTEMPTS} times")
