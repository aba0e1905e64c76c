"""`guesthouse:process/system`: the process's address, log, state and on-exit.

Capability: none. State is limited by the node's `process.state_bytes`.
Errors: `state-error`.
Traps: `get-state`, when the node cannot read what was stored; an on-exit of more than 64 requests.
Blocks: the state calls, until the node has read or durably written the state.
"""

from __future__ import annotations

from typing import Any, Final

from guesthouse.core.exit_cause import ExitCause
from guesthouse.link.calls import GetState, Outcome, SetState, Stored
from guesthouse.link.schema import MOST_ON_EXIT, ExitRequest, OnExit
from guesthouse.link.to_node import SetOnExit
from guesthouse.wasm.engine.host_functions import Beyond, HostFunction
from guesthouse.wasm.errors import GuestTrap
from guesthouse.worker.calls import by_node
from guesthouse.worker.calls.limits import exit_bytes, operation_bytes
from guesthouse.worker.capability_errors import as_result
from guesthouse.worker.guest import Guest, address_text

INTERFACE: Final = "guesthouse:process/system"
_UNREADABLE: Final = "storage"
_VERBOSITIES: Final = ("error", "warning", "info", "debug")


def our(guest: Guest) -> dict[str, Any]:
    """The process's address."""
    return guest.our_value


def print_line(guest: Guest, verbosity: str, text: str) -> None:
    """Write to the log."""
    if type(verbosity) is not str or verbosity not in _VERBOSITIES or type(text) is not str:
        raise ValueError("a line of the log has a verbosity and a text")
    guest.log.line("print", verbosity, text)


def get_state(guest: Guest) -> Any:
    """The stored bytes."""
    return guest.call_node(GetState(), _stored)


def _stored(outcome: Outcome) -> Any:
    """The stored state; the contract has no error for state that cannot be read, and None would be wrong.

    Raises:
        GuestTrap: it cannot be read.
    """
    if outcome == _UNREADABLE:
        raise GuestTrap(ExitCause.TRAP, "its state cannot be read; the node's log of `state` says why")
    if outcome is not None and not isinstance(outcome, Stored):
        raise TypeError("the node replied something else than a state")
    return None if outcome is None else outcome.state


def set_state(guest: Guest, data: bytes) -> Any:
    """Store bytes durably."""
    return guest.call_node(SetState(data), as_result)


def get_on_exit(guest: Guest) -> Any:
    """The process's on-exit."""
    return guest.on_exit


def set_on_exit(guest: Guest, on_exit: Any) -> None:
    """Change the on-exit."""
    guest.tell(SetOnExit(guest.handle, left_for_exit(on_exit)))
    guest.on_exit = on_exit


def left_for_exit(on_exit: Any) -> OnExit:
    """The contract's on-exit as on the link."""
    if isinstance(on_exit, str):
        return on_exit  # type: ignore[return-value] # validated by the link
    if len(on_exit[1]) > MOST_ON_EXIT:
        text = f"its on-exit has {len(on_exit[1])} requests; the limit is {MOST_ON_EXIT}"
        raise GuestTrap(ExitCause.TRAP, text)
    return tuple(_left(*left) for left in on_exit[1])


def _left(target: dict[str, Any], request: dict[str, Any], blob: dict[str, Any] | None) -> ExitRequest:
    mime, payload = (None, None) if blob is None else (blob["mime"], blob["bytes"])
    return ExitRequest(address_text(target), request["body"], request["expects-response"], mime, payload)


CALLS: Final = {
    **by_node.functions(INTERFACE),
    "our": HostFunction(our),
    "print": HostFunction(print_line, beyond=Beyond.CUT),
    "get-state": HostFunction(get_state, blocks=True),
    "set-state": HostFunction(set_state, blocks=True, most=operation_bytes),
    "get-on-exit": HostFunction(get_on_exit),
    "set-on-exit": HostFunction(set_on_exit, most=exit_bytes),
}
