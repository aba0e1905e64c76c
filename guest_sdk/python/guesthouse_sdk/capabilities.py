"""Capabilities: what this process may do."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from guesthouse_sdk import _wit
from guesthouse_sdk._checks import MAX_NAMED, checked_list, checked_text
from guesthouse_sdk._wit import types
from guesthouse_sdk.address import Address, address_from_wit, address_to_wit


@dataclass(frozen=True, slots=True)
class Capability:
    """A permission: its issuer, and its purpose as JSON text.

    Equal if both are; `of` and `messaging` encode the JSON as the host does.
    """

    issuer: Address
    params: str

    @classmethod
    def of(cls, issuer: Address | str, params: Any) -> Self:
        """One whose params are a value that JSON can hold, such as `{"shelf": 7}`."""
        address = Address.parse(issuer) if isinstance(issuer, str) else issuer
        return cls(address, json.dumps(params, sort_keys=True, separators=(",", ":"), allow_nan=False))

    @classmethod
    def messaging(cls, process: Address | str) -> Self:
        """The right to message a process."""
        return cls.of(process, "messaging")

    def __str__(self) -> str:
        return f"{self.params} of {self.issuer}"


def save_capabilities(capabilities: Iterable[Capability]) -> None:
    """Keep capabilities that came with messages of this run, or that this process issues, also for later runs.
    Others are left out: `our_capabilities` tells. They are durable once this returns.
    """
    _wit.capabilities.save(capabilities_to_wit(capabilities))


def drop_capabilities(capabilities: Iterable[Capability]) -> None:
    """Give capabilities up, also for later runs; also those that every process has."""
    _wit.capabilities.drop(capabilities_to_wit(capabilities))


def our_capabilities() -> list[Capability]:
    """The capabilities that this process holds."""
    return list(capabilities_from_wit(_wit.capabilities.ours()))


def capability_from_wit(raw: types.Capability) -> Capability:
    """The SDK's form of a capability."""
    return Capability(address_from_wit(raw.issuer), raw.params)


def capabilities_from_wit(raw: Iterable[types.Capability]) -> tuple[Capability, ...]:
    """The SDK's form of capabilities."""
    return tuple(map(capability_from_wit, raw))


def capabilities_to_wit(capabilities: Iterable[Capability]) -> list[types.Capability]:
    """The bindings' form of capabilities."""
    raw = [
        types.Capability(address_to_wit(each.issuer), checked_text(each.params, "a capability's params"))
        for each in capabilities
    ]
    return checked_list(raw, "capabilities", MAX_NAMED)
