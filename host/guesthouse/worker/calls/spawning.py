"""`guesthouse:process/spawning`: starting other processes of the same package.

Capability: `"spawn"` of `kernel:distro:sys`; the node checks it.
Errors: `spawn-error`.
Traps: more than 256 capabilities or grants; an on-exit of more than 64 requests.
Blocks: until the component is compiled and the process starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from guesthouse.core.address import ProcessId
from guesthouse.core.capabilities import MESSAGING
from guesthouse.link.calls import Outcome, Spawn, Spawned
from guesthouse.link.schema import Pair
from guesthouse.wasm.engine.host_functions import HostFunction
from guesthouse.wasm.values import Err, Ok
from guesthouse.worker.calls.capabilities import refuse_many, rights
from guesthouse.worker.calls.limits import exit_bytes
from guesthouse.worker.calls.system import left_for_exit
from guesthouse.worker.capability_errors import as_error
from guesthouse.worker.guest import Guest, name_part

INTERFACE: Final = "guesthouse:process/spawning"


def spawn(
    guest: Guest,
    name: str | None,
    wasm_path: str,
    on_exit: Any,
    request_capabilities: list[dict[str, Any]],
    grant_capabilities: Sequence[Any],
    public: bool,
) -> Any:
    """Start a process of the package."""
    refuse_many(grant_capabilities, "grants")
    grants = tuple(_grant(item) for item in grant_capabilities)
    call = Spawn(name, wasm_path, left_for_exit(on_exit), rights(request_capabilities), grants, public)
    return guest.call_node(call, _as_result)


def _grant(item: Any) -> Pair:
    """To whom, and the params: a process id alone may message the child; in some versions of Kinode's interface the
    params stand beside it.
    """
    process, params = item if isinstance(item, tuple) else (item, MESSAGING)
    names = (process["process-name"], process["package-name"], process["publisher-node"])
    return ":".join(map(name_part, names)), params


def _as_result(outcome: Outcome) -> Any:
    if not isinstance(outcome, Spawned):
        return Err(as_error(outcome))
    process = ProcessId.parse(outcome.process)
    return Ok(
        {
            "process-name": process.process_name,
            "package-name": process.package_name,
            "publisher-node": process.publisher_node,
        }
    )


CALLS: Final = {"spawn": HostFunction(spawn, blocks=True, most=exit_bytes)}
