"""Capabilities: what a process may do beyond being there. Pure.

A capability is named by who issued it and what it is for, `{issuer, params}`; params are JSON, compared in one
canonical form. Nothing is allowed without one, and the node keeps who holds which: a process can show what it
holds, hand it on with a message, save what it was handed, and drop what it has, but not make one up. What a
process issues itself it may hand to anybody, and recognises when it comes back.

| capability | needed for |
|---|---|
| `"messaging"` of a process | messaging it, when it is not public and of another package |
| `"messaging"` of a runtime module | messaging it; of `http-server:distro:sys`, binding paths too |
| `{"bytes": N}` of `state:distro:sys` | keeping that many bytes with `set-state` |
| `"spawn"` of `kernel:distro:sys` | starting processes of one's own package |
| `"network"` of `kernel:distro:sys` | messaging processes of other nodes, and being messaged by them |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field
from typing import Any, Final

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
"""Capabilities that came with messages of this run and may still be saved."""
MOST_SAVED: Final = 256
MOST_NAMED: Final = 256
"""Capabilities in one call, and grants of one process that another starts."""
MOST_DROPPED: Final = 1024
"""Capabilities that a process gave up and that nobody grants it any more."""
MOST_REFUSALS: Final = 64


class BadCapability(GuesthouseError, ValueError):
    """What should name a capability does not."""


@dataclass(frozen=True, slots=True, order=True)
class Capability:
    """A right. Two are the same when both texts are."""

    issuer: str
    """An address."""
    params: str
    """Canonical JSON."""

    @classmethod
    def read(cls, issuer: str, params: str) -> Capability:
        """Read one from texts, whatever their spelling.

        Raises:
            BadCapability: the issuer is no address, or the params are no JSON or too long.
        """
        try:
            address = Address.parse(issuer)
        except ValueError as error:
            raise BadCapability(f"a capability's issuer: {error}") from None
        return cls(f"{address.node}@{canonical(address.process)}", canonical_params(params))

    def __str__(self) -> str:
        return f"{self.params} of {self.issuer}"


def canonical_params(text: str) -> str:
    """The one form of JSON params.

    Raises:
        BadCapability: they are no JSON, or too long.
    """
    try:
        if len(text) > MAX_PARAMS:
            raise ValueError
        params = json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError):
        raise BadCapability(
            f"a capability's params are JSON of at most {MAX_PARAMS} characters: correct them"
        ) from None
    return params


def of_node(node: str, process: ProcessId, params: str = MESSAGING) -> Capability:
    """A capability that a process of this node issues."""
    return Capability(f"{node}@{canonical(process)}", params)


def defaults(node: str, state_bytes: int) -> frozenset[Capability]:
    """What every process is granted: the HTTP server, and state."""
    return frozenset(
        (
            of_node(node, HTTP_SERVER),
            of_node(node, STATE, json.dumps({"bytes": state_bytes}, separators=(",", ":"))),
        )
    )


@dataclass(slots=True)
class Holdings:
    """What one process holds."""

    address: str
    """The process's own."""
    default: frozenset[Capability] = frozenset()
    requested: frozenset[Capability] = frozenset()
    """What its manifest requests, granted by the operator who runs it."""
    given: Set[Capability] = field(default_factory=frozenset)
    """What other processes grant it."""
    saved: set[Capability] = field(default_factory=set)
    dropped: dict[Capability, None] = field(default_factory=dict)
    """What it gave up of what it is granted, oldest first."""
    named: bool = True
    """Whether it is of a manifest; no child, whose parent chose its name."""
    received: dict[Capability, str] = field(default_factory=dict)
    """What came with messages of this run, oldest first, and from whom."""
    givers: dict[Capability, str] = field(default_factory=dict)
    """Of what it saved: from whom that came, as far as it was handed to it."""
    signed: dict[Capability, object] = field(default_factory=dict)
    """Those of other nodes, signed: what shows there that it holds them, as it came, oldest first. Not kept."""
    refused: dict[Capability, int] = field(default_factory=dict)
    """What it lacked, and how often."""

    def all(self) -> set[Capability]:
        """Everything it holds."""
        return {*self.default, *self.requested, *self.given, *self.saved} - self.dropped.keys()

    def holds(self, capability: Capability) -> bool:
        """Whether it holds this one."""
        return capability not in self.dropped and (self._is_granted(capability) or capability in self.saved)

    def _is_granted(self, capability: Capability) -> bool:
        return capability in self.default or capability in self.requested or capability in self.given

    def refuse(self, capability: Capability) -> bool:
        """Note that it lacked this one. Returns whether that is worth a line in the log: the first time, the
        second, the fourth and so on, so that a process cannot fill the log with refusals.
        """
        if capability not in self.refused and len(self.refused) >= MOST_REFUSALS:
            return False
        count = self.refused[capability] = self.refused.get(capability, 0) + 1
        return count & (count - 1) == 0

    def may_attach(self, capability: Capability) -> bool:
        """Whether it may hand this one on: it holds it, was just handed it, or issues it."""
        return capability.issuer == self.address or self.holds(capability) or capability in self.received

    def receive(self, capabilities: Iterable[Capability], giver: str) -> None:
        """These came with a message of `giver`, an address."""
        for capability in capabilities:
            self.received.pop(capability, None)
            self.received[capability] = giver
            if len(self.received) > MOST_RECEIVED:
                del self.received[next(iter(self.received))]

    def keep_signed(self, capability: Capability, signed: object) -> None:
        """With this it can show a capability of another node there."""
        self.signed.pop(capability, None)
        self.signed[capability] = signed
        if len(self.signed) > MOST_RECEIVED:
            del self.signed[next(iter(self.signed))]

    def save(self, capabilities: Iterable[Capability]) -> list[Capability]:
        """Keep those that it was handed in this run, or holds or issues. Returns them."""
        kept = []
        for capability in capabilities:
            if self.may_attach(capability) and (capability in self.saved or len(self.saved) < MOST_SAVED):
                self.saved.add(capability)
                if capability in self.received:
                    self.givers[capability] = self.received[capability]
                self.dropped.pop(capability, None)
                kept.append(capability)
        return kept

    def drop(self, capabilities: Iterable[Capability]) -> list[Capability]:
        """Hold these no more, also in later runs. Returns those that it held."""
        lost = [capability for capability in capabilities if self.holds(capability)]
        self.saved.difference_update(lost)
        for capability in lost:
            self.givers.pop(capability, None)
        self.dropped.update((capability, None) for capability in lost if self._is_granted(capability))
        return lost

    def forget(self, void: Callable[[Capability], bool]) -> None:
        """Hold these no more, as far as they were handed over. What it gave up it gave up."""
        for capability in {*self.saved, *self.received, *self.signed}:
            if void(capability):
                self.saved.discard(capability)
                self.received.pop(capability, None)
                self.givers.pop(capability, None)
                self.signed.pop(capability, None)

    def forget_dropped(self) -> list[Capability]:
        """Forget what it gave up beyond `MOST_DROPPED`, of what nobody grants it any more. Returns those."""
        over = len(self.dropped) - MOST_DROPPED
        if over <= 0:
            return []
        void = [capability for capability in self.dropped if not self._is_granted(capability)][:over]
        for capability in void:
            del self.dropped[capability]
        return void

    def state_bytes(self) -> int:
        """How many bytes it may keep as its state."""
        mine = [capability for capability in self.all() if capability.issuer.endswith(f"@{STATE}")]
        return max((_bytes(capability.params) for capability in mine), default=0)

    def begin_run(self) -> None:
        """A new run was handed nothing yet."""
        self.received.clear()


def _bytes(params: str) -> int:
    value: Any = json.loads(params)
    size = value.get("bytes") if isinstance(value, dict) else None
    return size if type(size) is int else 0
