"""What the process of a fake host may do: the capabilities that it holds, and the children that it started."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from guesthouse_sdk._native import spawning, types
from guesthouse_sdk._native.http_server import BindError_NotAuthorised
from guesthouse_sdk._native.system import StateError_TooBig
from guesthouse_sdk._native.types import Err
from guesthouse_sdk.address import HTTP_SERVER, Address, ProcessId, address_to_wit
from guesthouse_sdk.capabilities import Capability, capabilities_from_wit, capabilities_to_wit

_STATE: Final = ProcessId("state", "distro", "sys")
_KERNEL: Final = ProcessId("kernel", "distro", "sys")


@dataclass(frozen=True)
class Spawned:
    """A process that the process started; it runs nothing here."""

    id: ProcessId
    wasm_path: str
    on_exit: types.OnExit
    capabilities: tuple[Capability, ...]
    """What it got of its parent's."""
    granted: tuple[ProcessId, ...]
    public: bool


class FakeRights:
    """Public names of a test: `held`, `components` and `spawned`. The rest are the contract's calls.

    Attributes:
        held: the capabilities of the process. Like any process it begins with the HTTP server and its state;
            a test adds what a manifest would request.
        components: the paths that `spawn` finds a component at.
        spawned: the children that the process started.
    """

    def __init__(self, our: Address, state_bytes: int) -> None:
        self._node = our.node
        self._our = our
        http_server, state = Address(our.node, HTTP_SERVER), Address(our.node, _STATE)
        self.held = {Capability.messaging(http_server), Capability.of(state, {"bytes": state_bytes})}
        self.components: set[str] = set()
        self.spawned: list[Spawned] = []
        self._received: set[Capability] = set()

    def save_capabilities(self, raw: list[types.Capability]) -> None:
        self.held.update(self._may_attach(capabilities_from_wit(raw)))

    def drop_capabilities(self, raw: list[types.Capability]) -> None:
        self.held.difference_update(map(_canonical, capabilities_from_wit(raw)))

    def our_capabilities(self) -> list[types.Capability]:
        return capabilities_to_wit(sorted(self.held, key=str))

    def spawn(
        self,
        name: str | None,
        wasm_path: str,
        on_exit: types.OnExit,
        request_capabilities: list[types.Capability],
        grant_capabilities: list[types.ProcessId],
        public: bool,
    ) -> types.ProcessId:
        right = Capability.of(Address(self._node, _KERNEL), "spawn")
        if right not in self.held:
            raise Err(spawning.SpawnError_NotAuthorised(_raw(right)))
        if wasm_path not in self.components:
            raise Err(spawning.SpawnError_NoFileAtPath())
        package = self._our.process
        child = ProcessId(
            f"child-{len(self.spawned)}" if name is None else name,
            package.package_name,
            package.publisher_node,
        )
        if child in {package, *(known.id for known in self.spawned)}:
            raise Err(spawning.SpawnError_NameTaken())
        asked = map(_canonical, capabilities_from_wit(request_capabilities))
        given = tuple(capability for capability in asked if capability in self.held)
        grantees = tuple(
            ProcessId(raw.process_name, raw.package_name, raw.publisher_node) for raw in grant_capabilities
        )
        self.spawned.append(Spawned(child, wasm_path, on_exit, given, grantees, public))
        return types.ProcessId(child.process_name, child.package_name, child.publisher_node)

    def check_may_bind(self) -> None:
        """Refuse a binding of a process that gave up the HTTP server."""
        needed = Capability.messaging(Address(self._node, HTTP_SERVER))
        if needed not in self.held:
            raise Err(BindError_NotAuthorised(_raw(needed)))

    def check_may_keep(self, size: int) -> None:
        """Refuse state that is more than a capability of the process allows."""
        rights = (json.loads(each.params) for each in self.held if each.issuer.process == _STATE)
        if size > max((right["bytes"] for right in rights), default=0):
            needed = Capability.of(Address(self._node, _STATE), {"bytes": size})
            raise Err(StateError_TooBig(_raw(needed)))

    def missing_to_message(self, target: Address) -> types.Capability | None:
        """The messaging capability of another process, when the process does not hold it."""
        needed = Capability.messaging(target)
        return None if needed in self.held else _raw(needed)

    def handed_on(self, raw: list[types.Capability]) -> tuple[Capability, ...]:
        """Of the capabilities of a message that the process sends, those that the host lets through."""
        return tuple(self._may_attach(capabilities_from_wit(raw)))

    def receive_capabilities(self, raw: list[types.Capability]) -> None:
        """These came with a message."""
        self._received.update(map(_canonical, capabilities_from_wit(raw)))

    def _may_attach(self, capabilities: Iterable[Capability]) -> Iterable[Capability]:
        for capability in map(_canonical, capabilities):
            known = capability in self.held or capability in self._received
            if known or capability.issuer == self._our:
                yield capability


def _canonical(capability: Capability) -> Capability:
    """The one form in which the host compares capabilities."""
    return Capability.of(capability.issuer, json.loads(capability.params))


def _raw(capability: Capability) -> types.Capability:
    return types.Capability(address_to_wit(capability.issuer), capability.params)
