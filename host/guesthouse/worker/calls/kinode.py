"""The Kinode OS's `process/standard`, in the versions that its applications were built for.

A table from its functions to the contract's calls.
Versions differ in records and functions; a component is linked by its own types.

Capability: as the contract's calls.
Errors: `receive` and `send-and-await-response` return send errors; `spawn` its two errors, the nearest one for other
    refusals.
Traps: as the contract's calls; a `set-state` or `clear-state` that fails, since these have no errors.
Blocks: `receive`, `send-and-await-response`, the calls for state and capabilities, `spawn`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from guesthouse.core.address import Address, canonical
from guesthouse.core.errors import BadAddress
from guesthouse.core.exit_cause import ExitCause
from guesthouse.link.calls import CallDenied, ClearState, Outcome, SetState
from guesthouse.wasm.engine.host_functions import Beyond, HostFunction
from guesthouse.wasm.errors import GuestTrap
from guesthouse.wasm.types import FunctionType
from guesthouse.worker.calls import capabilities, messaging, spawning, system
from guesthouse.worker.calls.limits import blob_bytes, exit_bytes, operation_bytes
from guesthouse.worker.guest import Guest, address_text
from guesthouse.worker.kinode_messages import STANDARD, closed
from guesthouse.worker.served.kinode_types import BY_VERSION

VERSIONS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "kinode:process/standard": frozenset(("0.7", "0.8", "1.0")),
        "hyperware:process/standard": frozenset(("1.0",)),
    }
)
"""The interfaces, and their supported versions (without the last number)."""


def find(interface: str, version: str) -> tuple[Mapping[str, HostFunction] | None, dict[str, FunctionType]]:
    """The calls and types of an interface without its version; None if it is not Kinode's.

    Of a version that is not known there are none.
    """
    versions = VERSIONS.get(interface)
    if versions is None:
        return None, {}
    known, _, _ = version.rpartition(".")
    return (CALLS, BY_VERSION[known]) if known in versions else (_NONE, {})


def _print(guest: Guest, verbosity: int, text: str) -> None:
    """Verbosity 0 is logged at info, others at debug."""
    if type(verbosity) is not int or type(text) is not str:
        raise TypeError("a line of the log has a verbosity and a text")
    guest.log.line("print", "info" if verbosity == 0 else "debug", text)


def _receive(guest: Guest) -> Any:
    if guest.closed_channel:
        guest.slice_budget = guest.limits.cpu_seconds_per_message
        return closed(guest, guest.closed_channel)
    return guest.receive(STANDARD)


def _send_request(
    guest: Guest, target: dict[str, Any], request: dict[str, Any], context: bytes | None, blob: Any
) -> None:
    messaging.send_request(guest, _resolved(guest, target), request, context, blob)


def _send_requests(guest: Guest, requests: list[tuple[Any, Any, Any, Any]]) -> None:
    messaging.check_inherited(
        guest, [request["inherit"] and blob is None for _, request, _, blob in requests]
    )
    for request in requests:
        _send_request(guest, *request)


def _send_and_await(guest: Guest, target: dict[str, Any], request: dict[str, Any], blob: Any) -> Any:
    return messaging.send_and_await(guest, _resolved(guest, target), request, blob, STANDARD)


def _set_on_exit(guest: Guest, on_exit: Any) -> None:
    if not isinstance(on_exit, str):
        case, requests = on_exit
        on_exit = case, [(_resolved(guest, target), *rest) for target, *rest in requests]
    system.set_on_exit(guest, on_exit)


def _resolved(guest: Guest, target: dict[str, Any]) -> dict[str, Any]:
    """A target with the node's name in place of `our`, which means the guest's own node."""
    _learn_spelling(guest, target)
    return target | {"node": guest.node} if target["node"] == _OUR_NODE else target


def _learn_spelling(guest: Guest, target: dict[str, Any]) -> None:
    """Record which name the guest uses for a runtime module that has several."""
    process = target["process"]
    if process["publisher-node"] not in _RUNTIME_PUBLISHERS:
        return
    try:
        written = Address.parse(address_text(target)).process
    except BadAddress:
        return
    known = canonical(written)
    if written != known:
        guest.spellings[str(known)] = str(written)
    else:
        guest.spellings.pop(str(known), None)


def _set_state(guest: Guest, data: bytes) -> Any:
    return guest.call_node(SetState(data), _stored)


def _clear_state(guest: Guest) -> Any:
    return guest.call_node(ClearState(), _stored)


def _stored(outcome: Outcome) -> None:
    if outcome is None:
        return
    what = str(outcome)
    if isinstance(outcome, CallDenied):
        issuer, params = outcome.missing
        what = f"{outcome.error}: it lacks {params} of {issuer}"
    raise GuestTrap(ExitCause.TRAP, f"its state was not stored ({what}), and its interface cannot say so")


def _spawn(guest: Guest, *arguments: Any) -> Any:
    """`spawning.spawn`; this interface has two errors, so all other refusals are `no-file-at-path`."""
    name, wasm_path, on_exit, requests, grants, public = arguments
    held = [item[0] if isinstance(item, tuple) else item for item in requests]
    return spawning.spawn(guest, name, wasm_path, on_exit, held, grants, public)


_NONE: Final[Mapping[str, HostFunction]] = MappingProxyType({})
_OUR_NODE: Final = "our"
_RUNTIME_PUBLISHERS: Final = frozenset(("sys", "nectar"))

CALLS: Final[Mapping[str, HostFunction]] = MappingProxyType(
    {
        "print-to-terminal": HostFunction(_print, beyond=Beyond.CUT),
        "our": HostFunction(system.our),
        "get-on-exit": HostFunction(system.get_on_exit),
        "set-on-exit": HostFunction(_set_on_exit, most=exit_bytes),
        "get-state": HostFunction(system.get_state, blocks=True),
        "set-state": HostFunction(_set_state, blocks=True, most=operation_bytes),
        "clear-state": HostFunction(_clear_state, blocks=True),
        "save-capabilities": HostFunction(capabilities.save, blocks=True),
        "drop-capabilities": HostFunction(capabilities.drop, blocks=True),
        "our-capabilities": HostFunction(capabilities.ours, blocks=True),
        "spawn": HostFunction(_spawn, blocks=True, most=exit_bytes),
        "receive": HostFunction(_receive, blocks=True),
        "get-blob": HostFunction(messaging.get_blob),
        "has-blob": HostFunction(messaging.has_blob),
        "last-blob": HostFunction(messaging.last_blob),
        "send-request": HostFunction(_send_request, most=blob_bytes, beyond=Beyond.MARK),
        "send-requests": HostFunction(_send_requests, most=blob_bytes, beyond=Beyond.MARK),
        "send-response": HostFunction(messaging.send_response, most=blob_bytes, beyond=Beyond.MARK),
        "send-and-await-response": HostFunction(
            _send_and_await, blocks=True, most=blob_bytes, beyond=Beyond.MARK
        ),
    }
)
