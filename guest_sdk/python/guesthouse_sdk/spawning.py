"""Starting other processes of the same package."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from guesthouse_sdk import _wit
from guesthouse_sdk._checks import MAX_NAMED, checked_list, checked_text
from guesthouse_sdk._wit import Err, refusal, types
from guesthouse_sdk.address import ProcessId
from guesthouse_sdk.capabilities import Capability, capabilities_to_wit, capability_from_wit
from guesthouse_sdk.errors import NameTaken, NoFileAtPath, SpawnError, SpawnNotAuthorised, TooManyProcesses
from guesthouse_sdk.on_exit import OnExit, on_exit_to_wit

_SPAWN_ERRORS: Final[dict[type[_wit.spawning.SpawnError], tuple[type[SpawnError], str]]] = {
    _wit.spawning.SpawnError_NameTaken: (
        NameTaken,
        "the package has a process of that name, or it is no name",
    ),
    _wit.spawning.SpawnError_NoFileAtPath: (
        NoFileAtPath,
        "the package has no component there, or it cannot be compiled (the log says why)",
    ),
    _wit.spawning.SpawnError_NotAuthorised: (
        SpawnNotAuthorised,
        'request the capability "spawn" of kernel:distro:sys in package.toml',
    ),
    _wit.spawning.SpawnError_TooMany: (
        TooManyProcesses,
        "the package has as many processes as the node allows",
    ),
}


def spawn(
    wasm_path: str,
    *,
    name: str | None = None,
    on_exit: OnExit = "none",
    request_capabilities: Iterable[Capability] = (),
    grant_capabilities: Iterable[ProcessId] = (),
    public: bool = False,
) -> ProcessId:
    """Start a process from a component of this package. Needs the capability `"spawn"` of `kernel:distro:sys`.

    Args:
        wasm_path: such as `/build/child.wasm`, in the package's folder.
        name: its name in the package; None for a free one.
        on_exit: what happens when it ends; with `"restart"` it is also started again with the node.
        request_capabilities: those of this process's own capabilities that it gets.
        grant_capabilities: processes that may message it.
        public: whether any process may message it.

    Raises:
        SpawnError: it was not started; the subclass says why.
    """
    grantees = [
        types.ProcessId(each.process_name, each.package_name, each.publisher_node)
        for each in grant_capabilities
    ]
    checked_list(grantees, "processes", MAX_NAMED)
    try:
        raw = _wit.spawning.spawn(
            None if name is None else checked_text(name, "a name"),
            checked_text(wasm_path, "a path"),
            on_exit_to_wit(on_exit),
            capabilities_to_wit(request_capabilities),
            grantees,
            bool(public),
        )
    except Err as failure:
        raise _spawn_error(wasm_path, refusal(failure)) from None
    return ProcessId(raw.process_name, raw.package_name, raw.publisher_node)


def _spawn_error(wasm_path: str, raw: _wit.spawning.SpawnError) -> SpawnError:
    kind, remedy = _SPAWN_ERRORS[type(raw)]
    error = kind(f"no process was started from {wasm_path!r}: {remedy}")
    if isinstance(error, SpawnNotAuthorised) and isinstance(raw, _wit.spawning.SpawnError_NotAuthorised):
        error.missing = capability_from_wit(raw.value)
    return error
