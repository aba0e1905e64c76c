"""Authorization on this node: checked before requests are delivered and calls are carried out."""

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
from guesthouse.package.spec import Right


class GrantedCapabilities(Set[Capability]):
    """Live view of the capabilities that others grant to one process.

    Args:
        table: granted capabilities by holder.
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


class PackageCapabilities(Set[Capability]):
    """Live view of the capabilities that a package is granted.

    Args:
        requests: what its manifest requests for any of its processes.
        table: capabilities that processes grant to others, by holder.
        package_id: the package.
    """

    __slots__ = ("_package_id", "_table", "requests")

    def __init__(
        self, requests: frozenset[Capability], table: dict[ProcessId, set[Capability]], package_id: str
    ) -> None:
        self.requests = requests
        self._table = table
        self._package_id = package_id

    def __contains__(self, capability: object) -> bool:
        return capability in self.requests or any(capability in held for held in self._given())

    def __iter__(self) -> Iterator[Capability]:
        return iter(self.requests.union(*self._given()))

    def __len__(self) -> int:
        return len(self.requests.union(*self._given()))

    def _given(self) -> Iterator[set[Capability]]:
        return (held for holder, held in self._table.items() if holder.package_id == self._package_id)


def granted_to(package_id: str, processes: Iterable[Process]) -> Set[Capability]:
    """What a package is granted of which processes run."""
    named = (each.holdings for each in processes if each.id.package_id == package_id and each.holdings.named)
    return next((holdings.of_package for holdings in named), frozenset())


class Authorizer:
    """The capabilities of a node's processes.

    Args:
        node: the node's name.
        state_bytes: bytes of state that every process may keep.
        log: for refusals.
    """

    def __init__(self, node: str, state_bytes: int, log: LogPort) -> None:
        self._node = node
        self._default = defaults(node, state_bytes)
        self._log = log
        self.network = of_node(node, KERNEL, NETWORK)
        """Needed to exchange messages with other nodes."""
        self._by_holder: dict[ProcessId, set[Capability]] = {}
        self._by_issuer: dict[ProcessId, tuple[tuple[ProcessId, Capability], ...]] = {}
        self._uninstalled: dict[str, float] = {}  # by package, in Unix seconds

    def holdings(
        self,
        process: ProcessId,
        requests: Iterable[Right],
        *,
        named: bool = True,
        of_package: Iterable[Right] = (),
    ) -> Holdings:
        """Initial capabilities of a process.

        Args:
            process: its id.
            requests: issuers and params that its manifest requests.
            named: whether it also gets what others grant to a process of its name.
            of_package: what the manifest requests for any process of its package.
        """
        return Holdings(
            f"{self._node}@{process}",
            self._default,
            self._of_node(requests),
            GrantedCapabilities(self._by_holder, process) if named else frozenset(),
            named=named,
            of_package=PackageCapabilities(self._of_node(of_package), self._by_holder, process.package_id),
        )

    def _of_node(self, rights: Iterable[Right]) -> frozenset[Capability]:
        return frozenset(of_node(self._node, issuer, params) for issuer, params in rights)

    def give(self, issuer: ProcessId, grants: Iterable[tuple[ProcessId, str]]) -> None:
        """Replace the grants of a process. Holders need not exist yet.

        Args:
            issuer: the process.
            grants: holders and params.
        """
        self.take_back(issuer)
        granted = tuple((holder, of_node(self._node, issuer, params)) for holder, params in grants)
        if granted:
            self._by_issuer[issuer] = granted
        for holder, capability in granted:
            self._by_holder.setdefault(holder, set()).add(capability)

    def take_back(self, issuer: ProcessId) -> None:
        """Revoke all grants of a process."""
        for holder, capability in self._by_issuer.pop(issuer, ()):
            held = self._by_holder.get(holder, set())
            held.discard(capability)
            if not held:
                self._by_holder.pop(holder, None)

    def forget_issued(self, processes: Sequence[Process], package_id: str) -> None:
        """Remove the capabilities that an uninstalled package's processes issued, which must not apply to another
        package of that name. Those requested by name in manifests stay.
        """

        def is_issued(capability: Capability) -> bool:
            issuer = Address.parse(capability.issuer)
            return issuer.node == self._node and issuer.process.package_id == package_id

        for process in processes:
            process.holdings.forget(is_issued)
        for process in processes:
            if not process.holdings.named:
                self._take_from_child(process, processes, is_issued)

    def _take_from_child(
        self, child: Process, processes: Sequence[Process], is_issued: Callable[[Capability], bool]
    ) -> None:
        """A child keeps what its parent gave it while a process of its package still holds that, as after a restart."""
        family = [other for other in processes if other.id.package_id == child.id.package_id]
        lost = [
            capability
            for capability in filter(is_issued, child.holdings.requested)
            if not any(other.holdings.named and other.holdings.holds(capability) for other in family)
        ]
        child.holdings.requested -= set(lost)

    def renew_children(self, processes: Sequence[Process], package_id: str) -> None:
        """A package has another version: its children lose what it is no longer granted."""
        granted = granted_to(package_id, processes)
        for child in processes:
            if child.id.package_id == package_id and not child.holdings.named:
                lost = set(child.holdings.of_package) - set(granted)
                child.holdings.of_package = granted
                self._take_from_child(child, processes, lost.__contains__)

    def void(self, uninstalled: Mapping[str, float]) -> None:
        """Invalidate capabilities that uninstalled packages gave to other nodes.

        Args:
            uninstalled: Unix seconds by package.
        """
        known = {**self._uninstalled, **uninstalled}
        oldest = max(known.values(), default=0.0) - LONGEST_SECONDS - SKEW_SECONDS
        self._uninstalled = {package: when for package, when in known.items() if when > oldest}

    def is_void(self, capability: Capability, given: float) -> bool:
        """Whether the issuer's package was uninstalled since `given`, in Unix seconds."""
        return given <= self._uninstalled.get(Address.parse(capability.issuer).process.package_id, 0.0)

    def missing_to_message(self, sender: object, receiver: ProcessId) -> Capability | None:
        """The receiver's messaging capability if the sender does not hold it, else None."""
        return self.missing(sender, of_node(self._node, receiver), f"a request to {receiver}")

    def missing(self, sender: object, capability: Capability, what: str) -> Capability | None:
        """The capability if the sender does not hold it, else None. Logs the refusal of `what`."""
        if not isinstance(sender, Process):
            return None  # sent by the node itself
        holdings = sender.holdings
        if holdings.holds(capability):
            return None
        self._record(sender, capability, what)
        return capability

    def missing_to_keep(self, process: Process, size: int) -> Capability | None:
        """The capability to keep `size` bytes of state if the process lacks it, else None."""
        if size <= process.holdings.state_bytes():
            return None
        rounded = 1 << (size - 1).bit_length()  # so that each size is not recorded as another refusal
        self._record(process, self._state_capability(rounded), f"keeping {size} bytes")
        return self._state_capability(size)

    def _state_capability(self, size: int) -> Capability:
        return of_node(self._node, STATE, canonical_params(json.dumps({"bytes": size})))

    def _record(self, sender: Process, capability: Capability, what: str) -> None:
        holdings = sender.holdings
        if holdings.refuse(capability):
            self._log.write(
                str(sender.id),
                "warning",
                f"{what} was refused: it lacks the capability {capability}: request it in the manifest",
            )

    def handed_on(self, sender: object, receiver: object, attached: Sequence[Pair]) -> tuple[Pair, ...]:
        """The attached capabilities that the sender may pass on; the receiver then holds them. Others are dropped."""
        if not attached or not isinstance(sender, Process):
            return ()
        capabilities = read_all(attached[:MOST_IN_MESSAGE])
        passed = [capability for capability in capabilities if sender.holdings.may_attach(capability)]
        if len(passed) != len(attached):
            self._log.write(
                str(sender.id), "warning", "capabilities that it does not hold were removed from a message"
            )
        if isinstance(receiver, Process):
            same = sender.id.package_id == receiver.id.package_id
            for capability in passed:
                giver = sender.holdings.giver_of(capability) if same else f"{self._node}@{sender.id}"
                receiver.holdings.receive([capability], giver)
        return as_pairs(passed)
