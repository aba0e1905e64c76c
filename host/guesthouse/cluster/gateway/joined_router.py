"""Finds processes of all nodes for the HTTP server: this node's own first."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from hashlib import blake2b

from guesthouse.cluster.gateway.home_node import HomeNode
from guesthouse.cluster.gateway.process_stand_in import ProcessStandIn
from guesthouse.core.address import ForeignProcess, ProcessId, canonical
from guesthouse.core.messages import LazyLoadBlob, Request, SendErrorKind
from guesthouse.core.ports import Answer, ChannelFeeder, ProcessPort, RouterPort


class JoinedRouter:
    """Implements `guesthouse.core.ports.RouterPort`.

    A process id without a node stands for this node's process; else, for that of a node that has one, if possible none
    that is being drained. Clients are spread over these nodes by rendezvous hashing: each one gets the same node for
    all processes of a package, and another one only when that is gone. Without a client it is the first by name. But
    where this node has the package, no other node's process is found by such an id: that would share the package's
    origin, and what browsers keep for it.

    Args:
        own: this node's.
        homes: other nodes, by name.
        draining: returns the names of those that take no new clients, which come last.
        away: whether a node that cannot be reached has a process.
        may_have: whether a node that has not said yet what it runs may have one.
    """

    def __init__(
        self,
        own: RouterPort,
        homes: Mapping[str, HomeNode],
        draining: Callable[[], Container[str]],
        away: Callable[[ProcessId], bool],
        may_have: Callable[[ProcessId], bool],
    ) -> None:
        self._own = own
        self._homes = homes
        self._draining = draining
        self._away = away
        self._may_have = may_have

    @property
    def node(self) -> str:
        """The name of this node."""
        return self._own.node

    def find(self, process: ProcessId, client: str = "") -> ProcessPort | None:
        """See `RouterPort`; also of a `ForeignProcess`."""
        if isinstance(process, ForeignProcess):
            home = self._homes.get(process.node)
            return None if home is None else home.processes.get(process.plain)
        found = self._own.find(process)
        return found if found is not None or not self._homes else self._elsewhere(canonical(process), client)

    def is_away(self, process: ProcessId) -> bool:
        """See `RouterPort`."""
        return self._away(process) and self._is_elsewhere(process)

    def is_expected(self, process: ProcessId) -> bool:
        """See `RouterPort`."""
        return self._may_have(process) and self._is_elsewhere(process)

    def _is_elsewhere(self, process: ProcessId) -> bool:
        """Whether no process of this node is meant."""
        return isinstance(process, ForeignProcess) or not self._own.has_package(process.package_id)

    def has_package(self, package_id: str) -> bool:
        """See `RouterPort`."""
        return self._own.has_package(package_id)

    def _elsewhere(self, process: ProcessId, client: str) -> ProcessStandIn | None:
        package = process.package_id
        if self._own.has_package(package):
            return None
        with_it = [name for name, home in self._homes.items() if process in home.processes]
        if len(with_it) > 1:
            draining = self._draining()
            with_it = [name for name in with_it if name not in draining] or with_it
        if not with_it:
            return None
        node = _chosen(with_it, package, client) if client and len(with_it) > 1 else min(with_it)
        return self._homes[node].processes[process]

    def processes(self) -> Sequence[ProcessPort]:
        """All processes that can be found without naming a node."""
        own = self._own.processes()
        taken = {process.id.package_id for process in own}
        others: dict[ProcessId, ProcessPort] = {}
        draining = self._draining()
        for name in sorted(self._homes, key=lambda name: (name in draining, name)):
            for process_id, process in self._homes[name].processes.items():
                if process_id.package_id not in taken:
                    others.setdefault(process_id, process)
        return [*own, *others.values()]

    def request(
        self,
        process: ProcessId,
        request: Request,
        blob: LazyLoadBlob | None,
        answered: Callable[[Answer | SendErrorKind], None],
        feeder: ChannelFeeder | None = None,
    ) -> SendErrorKind | None:
        """See `RouterPort`."""
        return self._own.request(process, request, blob, answered, feeder)

    async def ask(
        self, process: ProcessId, request: Request, blob: LazyLoadBlob | None
    ) -> Answer | SendErrorKind | None:
        """See `RouterPort`."""
        return await self._own.ask(process, request, blob)

    def expect(self, answered: Callable[[Answer | SendErrorKind], None]) -> int:
        """See `RouterPort`."""
        return self._own.expect(answered)

    def forget(self, request_id: int) -> None:
        """See `RouterPort`."""
        self._own.forget(request_id)

    def answer(self, request_id: int, asker: ProcessId, body: bytes, blob: LazyLoadBlob | None) -> bool:
        """See `RouterPort`."""
        return self._own.answer(request_id, asker, body, blob)


def _chosen(nodes: Sequence[str], package: str, client: str) -> str:
    """The node with the highest hash, which stays the same when others come and go."""

    def weight(node: str) -> bytes:
        return blake2b(f"{node} {package} {client}".encode(errors="replace"), digest_size=8).digest()

    return max(nodes, key=weight)
