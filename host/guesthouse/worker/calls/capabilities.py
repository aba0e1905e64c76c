"""`guesthouse:process/capabilities`: keeping, giving up and listing what a process may do.

Capability: none; what may not be saved is left out.
Errors: none.
Traps: a list of more than 256 capabilities.
Blocks: all of it, until the node has done it.
"""

from __future__ import annotations

from typing import Any, Final

from guesthouse.link.ops import Call, ExitCause
from guesthouse.worker.boundary.errors import GuestTrap
from guesthouse.worker.boundary.host_functions import HostFunction
from guesthouse.worker.guest import Guest, address_text
from guesthouse.worker.messages import capability_values

INTERFACE: Final = "guesthouse:process/capabilities"
MOST: Final = 256


def save(guest: Guest, capabilities: list[Any]) -> Any:
    """Keep capabilities."""
    return guest.call_node(Call.SAVE_CAPABILITIES, [rights(capabilities)], _nothing)


def drop(guest: Guest, capabilities: list[Any]) -> Any:
    """Give capabilities up."""
    return guest.call_node(Call.DROP_CAPABILITIES, [rights(capabilities)], _nothing)


def ours(guest: Guest) -> Any:
    """What the process holds."""
    return guest.call_node(Call.OUR_CAPABILITIES, [], capability_values)


def rights(capabilities: list[Any]) -> list[list[str]]:
    """Capabilities as the link carries them: `[issuer, params]`."""
    if len(capabilities) > MOST:
        raise GuestTrap(ExitCause.TRAP, f"it named {len(capabilities)} capabilities; the limit is {MOST}")
    return [[address_text(capability["issuer"]), capability["params"]] for capability in capabilities]


def _nothing(value: Any) -> None:
    return None


CALLS: Final = {
    "save": HostFunction(save, blocks=True),
    "drop": HostFunction(drop, blocks=True),
    "ours": HostFunction(ours, blocks=True),
}
