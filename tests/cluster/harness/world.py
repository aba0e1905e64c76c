"""Three nodes and three NATS servers as subprocesses, with a link of the tests' own between each two that talk."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.e2e.daemon import Daemon
from tests.e2e.packages import package
from tests.faults.machine import Machine

from ..servers import Servers, running
from .joining import Members, members
from .links import Link

NAMES: Final = ("one.os", "two.os", "three.os")


@dataclass
class Place:
    """One node, and its machine: it may run or not, and be started again on the same home."""

    name: str
    home: Path
    links: Sequence[Link]
    """To each server; the node knows of no other way."""
    machine: Machine
    packages: Sequence[Path | str]
    settings: dict[str, object] = field(default_factory=dict)
    daemon: Daemon | None = None

    @property
    def runs(self) -> Daemon:
        """The node, which runs."""
        assert self.daemon is not None
        return self.daemon

    async def start(self) -> Daemon:
        """Start the node, and wait until it serves."""
        daemon = Daemon(
            self.home,
            self.packages,
            node=self.name,
            settings={"cluster_nats": self._urls(), **self.settings},
            variables=self.machine.variables,
        )
        self.daemon = await daemon.__aenter__()
        return self.daemon

    def _urls(self) -> str:
        return ",".join(f"nats://127.0.0.1:{link.port}" for link in self.links)

    async def kill(self) -> None:
        """SIGKILL the node."""
        await self.runs.kill()

    async def end(self) -> None:
        """Let it end as operators do, if it runs."""
        if self.daemon is not None:
            await self.daemon.__aexit__(None, None, None)

    def stop(self) -> None:
        """SIGSTOP the node."""
        os.kill(self.runs.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.runs.pid, signal.SIGCONT)

    def memory(self) -> int:
        """Bytes that the node has in memory of its own."""
        text = Path(f"/proc/{self.runs.pid}/smaps_rollup").read_text()
        fields = dict(line.split(":", 1) for line in text.splitlines()[1:])
        return sum(int(fields[name].split()[0]) << 10 for name in ("Private_Clean", "Private_Dirty"))

    def servers(self) -> list[int]:
        """By which servers it goes now."""
        return [number for number, link in enumerate(self.links) if link.open]


@dataclass
class World:
    """All of it."""

    servers: Servers
    routes: Mapping[tuple[int, int], Link]
    """From each server to each other: both dial."""
    places: Sequence[Place]
    members: Members
    """Of their cluster: these, and others that the test is itself."""

    def __getitem__(self, number: int) -> Place:
        return self.places[number]

    def users_of(self, server: int) -> frozenset[str]:
        """The names of the nodes that go by a server now."""
        return frozenset(place.name for place in self.places if server in place.servers())

    def routes_of(self, server: int) -> list[Link]:
        """Those between a server and the others, in both directions."""
        return [link for ends, link in self.routes.items() if server in ends]


@asynccontextmanager
async def three_nodes(
    folder: Path,
    new_home: Callable[[], Path],
    packages: Sequence[str] = ("tally",),
    *,
    names: Sequence[str] = NAMES,
    servers: int = 3,
    settings: Mapping[str, object] | None = None,
    others: Sequence[str] = (),
    cache: Path,
) -> AsyncIterator[World]:
    """Servers and nodes, joined to a cluster and connected, inside of the block.

    Args:
        folder: an empty one of the test's.
        new_home: makes homes.
        packages: what each node runs.
        names: of the nodes; the first is the authority.
        servers: how many there are.
        settings: of each node.
        others: members that do not run.
        cache: where the library that makes clocks jump is kept.
    """
    async with AsyncExitStack() as stack:
        links: dict[tuple[int, int], Link] = {}
        for ends in ((i, j) for i in range(servers) for j in range(servers) if i != j):
            links[ends] = await stack.enter_async_context(Link())

        def route(i: int, j: int, port: int) -> int:
            links[i, j].target = port
            return links[i, j].port

        started = await stack.enter_async_context(running(folder / "nats", servers, routes=route))
        built = [package(name) for name in packages]
        places = []
        for number, name in enumerate(names):
            own = [await stack.enter_async_context(Link(server.port)) for server in started.all]
            machine_folder = folder / f"machine-{number}"
            machine_folder.mkdir()
            machine = Machine(machine_folder, cache)
            places.append(Place(name, new_home(), own, machine, built, dict(settings or {})))
        known = await members((*names, *others), new_home, folder / "founding")
        for place in places:
            known.move_in(place.home, place.name)
        for place in places:
            stack.push_async_callback(place.end)
        await asyncio.gather(*(place.start() for place in places))
        yield World(started, links, places, known)
