"""Capabilities: what a process may do. Pure.

A capability is `{issuer, params}`: who issued it and what it is for; params are JSON, compared in a
canonical form. Everything is denied without one, and the node records who holds which: a process can show what it
holds, pass it on with a message, save what it was given, and drop what it holds, but not forge one. Capabilities that
it issues itself it may give to any process, and recognises when they come back.

| capability | needed for |
|---|---|
| `"messaging"` of a process | messaging it, when it is not public and of another package |
| `"messaging"` of a runtime module | messaging it; of `http-server:distro:sys`, binding paths too |
| `{"bytes": N}` of `state:distro:sys` | storing that many bytes with `set-state` |
| `"spawn"` of `kernel:distro:sys` | starting processes of its own package |
| `"network"` of `kernel:distro:sys` | messaging processes of other nodes, and being messaged by them |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Set
from typing import Any, Final

from msgspec import Struct, field

from guesthouse.core.address import HTTP_SERVER, Address, ProcessId, canonical
from guesthouse.core.errors import GuesthouseError

MESSAGING: Final = '"messaging"'
NETWORK: Final = '"network"'
SPAWN: Final = '"spawn"'
KERNEL: Final = ProcessId("kernel", "distro", "sys")
STATE: Final = ProcessId("state", "distro", "sys")

MAX_PARAMS: Final = 1024
MOST_IN_MESSAGE: Final = 32
MOST_RECEIVED: Final = 256
"""Capabilities that came with messages of this run and can still be saved."""
MOST_SAVED: Final = 256
MOST_NAMED: Final = 256
"""Capabilities in one call; grants of one child process."""
MOST_DROPPED: Final = 1024
"""Dropped capabilities that it would not be granted any more."""
MOST_REFUSALS: Final = 64


class BadCapability(GuesthouseError, ValueError):
    """Text does not name a capability."""


class Capability(Struct, frozen=True, order=True):
    """A permission. Equal if both texts are."""

    issuer: str
    """An address."""
    params: str
    """Canonical JSON."""

    @classmethod
    def read(cls, issuer: str, params: str) -> Capability:
        """Parse texts in any equivalent form.

        Raises:
            BadCapability: the issuer is not an address, or the params are not JSON or too long.
        """
        try:
            address = Address.parse(issuer)
        except ValueError as error:
            raise BadCapability(f"a capability's issuer: {error}") from None
        return cls(f"{address.node}@{canonical(address.process)}", canonical_params(params))

    def __str__(self) -> str:
        return f"{self.params} of {self.issuer}"


def canonical_params(text: str) -> str:
    """The canonical form of JSON params.

    Raises:
        BadCapability: they are not JSON, or too long.
    """
    try:
        if len(text) > MAX_PARAMS:
            raise ValueError
        params = json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError):
        raise BadCapability(
            f"a capability's params are JSON of at most {MAX_PARAMS} characters: fix them"
        ) from None
    return params


def of_node(node: str, process: ProcessId, params: str = MESSAGING) -> Capability:
    """A capability issued by a process of this node."""
    return Capability(f"{node}@{canonical(process)}", params)


def defaults(node: str, state_bytes: int) -> frozenset[Capability]:
    """What every process is granted: the HTTP server, and state."""
    return frozenset(
        (
            of_node(node, HTTP_SERVER),
            of_node(node, STATE, json.dumps({"bytes": state_bytes}, separators=(",", ":"))),
        )
    )


class Holdings(Struct):
    """The capabilities of one process."""

    address: str
    """The process's own."""
    default: frozenset[Capability] = frozenset()
    requested: frozenset[Capability] = frozenset()
    """Requested by its manifest, granted by the operator."""
    given: Set[Capability] = field(default_factory=frozenset)
    """Granted to it by other processes."""
    saved: set[Capability] = field(default_factory=set)
    dropped: dict[Capability, None] = field(default_factory=dict)
    """Dropped although granted, oldest first."""
    named: bool = True
    """False for a child process, whose parent chose its name."""
    of_package: Set[Capability] = field(default_factory=frozenset)
    """What its package is granted: each of its processes by the manifest, or by other processes."""
    received: dict[Capability, str] = field(default_factory=dict)
    """Received with messages of this run, oldest first, and from whom."""
    givers: dict[Capability, str] = field(default_factory=dict)
    """The givers of those that it saved, if they were given to it. Of what a process of its own package handed on, the
    one outside that gave it, if any."""
    signed: dict[Capability, object] = field(default_factory=dict)
    """Signed capabilities of other nodes, to be shown there, oldest first. Not stored."""
    refused: dict[Capability, int] = field(default_factory=dict)
    """Those that were missing, and how often."""

    def all(self) -> set[Capability]:
        """Everything it holds."""
        saved = filter(self._is_saved, self.saved)
        return {*self.default, *self.requested, *self.given, *saved} - self.dropped.keys()

    def holds(self, capability: Capability) -> bool:
        """Whether it holds this one."""
        return capability not in self.dropped and (self._is_granted(capability) or self._is_saved(capability))

    def _is_saved(self, capability: Capability) -> bool:
        """Whether it saved this one and still has it. What its package is granted, its processes cannot give each other
        for longer: a version that asks for less has less.
        """
        if capability not in self.saved:
            return False
        ours = _package(self.address)
        return (
            _package(self._giver(capability)) != ours
            or _package(capability.issuer) == ours
            or capability in self.of_package
            or capability in self.default
        )

    def _giver(self, capability: Capability) -> str:
        """Who gave one that it saved. 0.1.0 did not note that: most likely its issuer, or the manifest if that is the
        runtime.
        """
        of_runtime = _package(capability.issuer)[1] == HTTP_SERVER.package_id
        return self.givers.get(capability, self.address if of_runtime else capability.issuer)

    def giver_of(self, capability: Capability) -> str:
        """Who gives this one when this process hands it on within its package: who gave it, if that is another one."""
        granted = capability in self.of_package or capability in self.default
        if not self.named and capability in self.requested and not granted:
            return capability.issuer  # its parent was given it
        if self._is_granted(capability):
            return self.address
        received = self.received.get(capability, self.address)
        giver = self._giver(capability) if capability in self.saved else received
        return self.address if _package(giver) == _package(self.address) else giver

    def _is_granted(self, capability: Capability) -> bool:
        return capability in self.default or capability in self.requested or capability in self.given

    def refuse(self, capability: Capability) -> bool:
        """Record that this one was missing. Returns whether to log it: the first time, the
        second, the fourth and so on, so that a process cannot flood the log with refusals.
        """
        if capability not in self.refused and len(self.refused) >= MOST_REFUSALS:
            return False
        count = self.refused[capability] = self.refused.get(capability, 0) + 1
        return count & (count - 1) == 0

    def may_attach(self, capability: Capability) -> bool:
        """Whether it may pass this one on: it holds it, was just given it, or issues it."""
        return capability.issuer == self.address or self.holds(capability) or capability in self.received

    def receive(self, capabilities: Iterable[Capability], giver: str) -> None:
        """Record capabilities that came with a message of `giver`, an address."""
        for capability in capabilities:
            self.received.pop(capability, None)
            self.received[capability] = giver
            if len(self.received) > MOST_RECEIVED:
                del self.received[next(iter(self.received))]

    def keep_signed(self, capability: Capability, signed: object) -> None:
        """Record the signed form of another node's capability."""
        self.signed.pop(capability, None)
        self.signed[capability] = signed
        if len(self.signed) > MOST_RECEIVED:
            del self.signed[next(iter(self.signed))]

    def save(self, capabilities: Iterable[Capability]) -> list[Capability]:
        """Save those that it was given in this run, or holds or issues. Returns them. What it holds because it is
        granted is only no longer dropped: it lasts as long as the grant.
        """
        kept = []
        for capability in capabilities:
            if not self.may_attach(capability):
                continue
            lasts = capability in self.received or not self._is_granted(capability)
            if lasts and capability not in self.saved and len(self.saved) >= MOST_SAVED:
                continue
            if lasts:
                self.saved.add(capability)
            if capability in self.received and not self._has_from_outside(capability):
                self.givers[capability] = self.received[capability]
            self.dropped.pop(capability, None)
            kept.append(capability)
        return kept

    def _has_from_outside(self, capability: Capability) -> bool:
        giver = self.givers.get(capability)
        return giver is not None and _package(giver) != _package(self.address)

    def drop(self, capabilities: Iterable[Capability]) -> list[Capability]:
        """Drop these, for later runs too. Returns those that it held."""
        lost = [each for each in capabilities if self.holds(each) or each in self.saved]
        self.saved.difference_update(lost)
        for capability in lost:
            self.givers.pop(capability, None)
        self.dropped.update((capability, None) for capability in lost if self._is_granted(capability))
        return lost

    def forget(self, void: Callable[[Capability], bool]) -> None:
        """Drop those that were given to it; what it dropped stays dropped."""
        for capability in {*self.saved, *self.received, *self.signed}:
            if void(capability):
                self.saved.discard(capability)
                self.received.pop(capability, None)
                self.givers.pop(capability, None)
                self.signed.pop(capability, None)

    def forget_dropped(self) -> list[Capability]:
        """Forget the oldest dropped ones beyond `MOST_DROPPED` that it is not granted any more. Returns them."""
        over = len(self.dropped) - MOST_DROPPED
        if over <= 0:
            return []
        void = [capability for capability in self.dropped if not self._is_granted(capability)][:over]
        for capability in void:
            del self.dropped[capability]
        return void

    def state_bytes(self) -> int:
        """The size limit of its state in bytes."""
        mine = [capability for capability in self.all() if capability.issuer.endswith(f"@{STATE}")]
        return max((_bytes(capability.params) for capability in mine), default=0)

    def begin_run(self) -> None:
        """Forget what the last run was given."""
        self.received.clear()


def _package(address: str) -> tuple[str, str]:
    """The node and the package of an address."""
    node, _, process = address.partition("@")
    return node, process.partition(":")[2]


def _bytes(params: str) -> int:
    value: Any = json.loads(params)
    size = value.get("bytes") if isinstance(value, dict) else None
    return size if type(size) is int else 0
