"""`guesthouse:process/spawning`: starting other processes of one's own package.

Capability: `"spawn"` of `kernel:distro:sys`; the node checks it.
Errors: `spawn-error`.
Traps: more than 256 capabilities or grants.
Blocks: until the component is compiled and the process begins.
"""

from __future__ import annotations

from typing import Any, Final

from guesthouse.address import ProcessId
from guesthouse.link.ops import Call
from guesthouse.worker.boundary.callbacks import HostFunction
from guesthouse.worker.boundary.values import Err, Ok
from guesthouse.worker.calls.capabilities import rights
from guesthouse.worker.calls.system import on_exit_operation
from guesthouse.worker.guest import Guest
from guesthouse.worker.refusals import as_error

INTERFACE: Final = "guesthouse:process/spawning"


def spawn(
    guest: Guest,
    name: str | None,
    wasm_path: str,
    on_exit: Any,
    request_capabilities: list[Any],
    grant_capabilities: list[Any],
    public: bool,
) -> Any:
    """Start a process of the package."""
    grants = [_grantee(item) for item in grant_capabilities]
    arguments = [name, wasm_path, on_exit_operation(on_exit), rights(request_capabilities), grants, public]
    return guest.call_node(Call.SPAWN, arguments, _as_result)


def _grantee(item: Any) -> str:
    """A process id; in some versions of Kinode's interface with params beside it, which are left out."""
    process = item[0] if isinstance(item, tuple) else item
    return f"{process['process-name']}:{process['package-name']}:{process['publisher-node']}"


def _as_result(value: Any) -> Any:
    if type(value) is str or len(value) > 1:
        return Err(as_error(value))
    process = ProcessId.parse(value[0])
    return Ok(
        {
            "process-name": process.process_name,
            "package-name": process.package_name,
            "publisher-node": process.publisher_node,
        }
    )


CALLS: Final = {"spawn": HostFunction(spawn, blocks=True)}
