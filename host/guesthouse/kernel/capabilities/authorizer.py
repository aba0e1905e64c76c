"""Who may do what on this node: asked before a request is delivered and before a call is carried out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

from guesthouse.core.address import Address, ProcessId
from guesthouse.core.capabilities import (
    KERNEL,
    MOST_IN_MESSAGE,
    NETWORK,
    STATE,
    Capability,
    Holdings,
    canonical_params,
    defaults,
    of_node,
)
from guesthouse.core.ports import LogPort
from guesthouse.kernel.capabilities.signed import LONGEST_SECONDS, SKEW_SECONDS
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.storage.capability_store import as_pairs, read_all
from guesthouse.link.schema import Pair


class GrantedCapabilities(Set[Capability]):
    """What grants of others give to one process, as they stand now.

    Args:
        table: what is granted to whom.
        holder: the process.
    """

    __slots__ = ("_holder", "_table")

    def __init__(self, table: dict[ProcessId, set[Capability]], holder: ProcessId) -> None:
        self._table = table
        self._holder = holder

    def __contains__(self, capability: object) -> bool:
        return capability in self._table.get(self._holder, ())

    def __iter__(self) -> Iterator[Capability]:
        return iter(self._table.get(self._holder, ()))

    def __len__(self) -> int:
        return len(self._table.get(self._holder, ()))


class Authorizer:
    """The capabilities of a node's processes.

    Args:
        node: the node's name.
        state_bytes: the state that every process may keep.
        log: where refusals go.
    """

    def __init__(self, node: str, state_bytes: int, log: LogPort) -> None:
        self._node = node
        self._default = defaults(node, state_bytes)
        self._log = log
        self.network = of_node(node, KERNEL, NETWORK)
        """The right to message processes of other nodes, and to be messaged by them."""
        self._given: dict[ProcessId, set[Capability]] = {}  # by holder, of grants that stand
        self._grants: dict[ProcessId, tuple[tuple[ProcessId, Capability], ...]] = {}  # the same by issuer
        self._void: dict[str, float] = {}  # by package: when it was uninstalled

    def holdings(
        self, process: ProcessId, requests: Iterable[tuple[ProcessId, str]], *, named: bool = True
    ) -> Holdings:
        """What a process holds at first: the defaults, what its manifest requests, and, if it is `named`, what others
        give to a process of its name.
        """
        return Holdings(
            f"{self._node}@{process}",
            self._default,
            frozenset(of_node(self._node, issuer, params) for issuer, params in requests),
            GrantedCapabilities(self._given, process) if named else frozenset(),
            named=named,
        )

    def give(self, issuer: ProcessId, grants: Iterable[tuple[ProcessId, str]]) -> None:
        """A process grants capabilities of its own to others, whether they are there yet or not: these, and no longer
        those that it granted before.
        """
        self.take_back(issuer)
        granted = tuple((holder, of_node(self._node, issuer, params)) for holder, params in grants)
        if granted:
            self._grants[issuer] = granted
        for holder, capability in granted:
            self._given.setdefault(holder, set()).add(capability)

    def take_back(self, issuer: ProcessId) -> None:
        """A process is gone: nobody holds what it granted any more."""
        for holder, capability in self._grants.pop(issuer, ()):
            held = self._given.get(holder, set())
            held.discard(capability)
            if not held:
                self._given.pop(holder, None)

    def forget_issued(self, processes: Sequence[Process], package_id: str) -> None:
        """A package is gone: what its processes handed out is no right to message those of another that takes its name.
        What manifests ask for by name stays.
        """

        def theirs(capability: Capability) -> bool:
            issuer = Address.parse(capability.issuer)
            return issuer.node == self._node and issuer.process.package_id == package_id

        for process in processes:
            process.holdings.forget(theirs)
        for process in processes:
            if not process.holdings.named:
                self._take_from_child(process, processes, theirs)

    def _take_from_child(
        self, child: Process, processes: Sequence[Process], theirs: Callable[[Capability], bool]
    ) -> None:
        """What its parent gave it stays as long as one of its package has it, as when it returns with its node."""
        family = [other for other in processes if other.id.package_id == child.id.package_id]
        lost = [
            capability
            for capability in filter(theirs, child.holdings.requested)
            if not any(other.holdings.named and other.holdings.holds(capability) for other in family)
        ]
        child.holdings.requested -= set(lost)

    def void(self, uninstalled: Mapping[str, float]) -> None:
        """What processes of these packages gave to other nodes until then is void: they were uninstalled.

        Args:
            uninstalled: when, in Unix seconds.
        """
        known = {**self._void, **uninstalled}
        oldest = max(known.values(), default=0.0) - LONGEST_SECONDS - SKEW_SECONDS
        self._void = {package: when for package, when in known.items() if when > oldest}

    def is_void(self, capability: Capability, given: float) -> bool:
        """Whether the package that gave it, at that time, was uninstalled since."""
        return given <= self._void.get(Address.parse(capability.issuer).process.package_id, 0.0)

    def missing_to_message(self, sender: object, receiver: ProcessId) -> Capability | None:
        """The messaging capability of a process of this node, when the sender does not hold it."""
        return self.missing(sender, of_node(self._node, receiver), f"a request to {receiver}")

    def missing(self, sender: object, capability: Capability, what: str) -> Capability | None:
        """The capability, when the sender does not hold it: noted then, and logged with what it was for."""
        if not isinstance(sender, Process):
            return None  # the operator's own voice
        holdings = sender.holdings
        if holdings.holds(capability):
            return None
        self._note(sender, capability, what)
        return capability

    def missing_to_keep(self, process: Process, size: int) -> Capability | None:
        """The capability to keep so many bytes as state, when a process has none for as many."""
        if size <= process.holdings.state_bytes():
            return None
        enough = 1 << (size - 1).bit_length()  # noted as this, or each size would be a refusal of its own
        self._note(process, self._to_keep(enough), f"keeping {size} bytes")
        return self._to_keep(size)

    def _to_keep(self, size: int) -> Capability:
        return of_node(self._node, STATE, canonical_params(json.dumps({"bytes": size})))

    def _note(self, sender: Process, capability: Capability, what: str) -> None:
        holdings = sender.holdings
        if holdings.refuse(capability):
            self._log.write(
                str(sender.id),
                "warning",
                f"{what} was refused: it lacks the capability {capability}; its manifest may request it",
            )

    def handed_on(self, sender: object, receiver: object, attached: Sequence[Pair]) -> tuple[Pair, ...]:
        """The capabilities of a message that its sender may hand on. Others are left out."""
        if not attached or not isinstance(sender, Process):
            return ()
        named = read_all(attached[:MOST_IN_MESSAGE])
        passed = [capability for capability in named if sender.holdings.may_attach(capability)]
        if len(passed) != len(attached):
            self._log.write(
                str(sender.id), "warning", "capabilities that it does not hold were left out of a message"
            )
        if isinstance(receiver, Process):
            receiver.holdings.receive(passed, f"{self._node}@{sender.id}")
        return as_pairs(passed)
