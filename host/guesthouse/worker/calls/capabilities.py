"""`guesthouse:process/capabilities`: saving, dropping and listing a process's capabilities.

Capability: none; what may not be saved is left out.
Errors: none.
Traps: a list of more than 256 capabilities.
Blocks: all of it, until the node has done it.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import Any, Final

from guesthouse.core.capabilities import MOST_NAMED
from guesthouse.core.exit_cause import ExitCause
from guesthouse.link.calls import DropCapabilities, Held, OurCapabilities, Outcome, SaveCapabilities
from guesthouse.link.schema import Pair
from guesthouse.wasm.engine.host_functions import HostFunction
from guesthouse.wasm.errors import GuestTrap
from guesthouse.worker.contract_messages import capability_values
from guesthouse.worker.guest import Guest, address_text

INTERFACE: Final = "guesthouse:process/capabilities"


def save(guest: Guest, capabilities: list[dict[str, Any]]) -> Any:
    """Save capabilities."""
    return guest.call_node(SaveCapabilities(rights(capabilities)), _nothing)


def drop(guest: Guest, capabilities: list[dict[str, Any]]) -> Any:
    """Drop capabilities."""
    return guest.call_node(DropCapabilities(rights(capabilities)), _nothing)


def ours(guest: Guest) -> Any:
    """The process's capabilities."""
    return guest.call_node(OurCapabilities(), _held)


def rights(capabilities: list[dict[str, Any]]) -> tuple[Pair, ...]:
    """Capabilities as on the link: issuer and params of each."""
    refuse_many(capabilities, "capabilities")
    return tuple((address_text(capability["issuer"]), capability["params"]) for capability in capabilities)


def refuse_many(items: Sized, what: str) -> None:
    """Check the number of capabilities in a call.

    Raises:
        GuestTrap: it does.
    """
    if len(items) > MOST_NAMED:
        raise GuestTrap(ExitCause.TRAP, f"it named {len(items)} {what}; the limit is {MOST_NAMED}")


def _held(outcome: Outcome) -> list[dict[str, Any]]:
    if not isinstance(outcome, Held):
        raise TypeError("the node replied something else than capabilities")
    return capability_values(outcome.capabilities)


def _nothing(outcome: Outcome) -> None:
    return None


CALLS: Final = {
    "save": HostFunction(save, blocks=True),
    "drop": HostFunction(drop, blocks=True),
    "ours": HostFunction(ours, blocks=True),
}
