"""The host's calls by name: everything a guest can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from guesthouse.wasm.core.host_calls import as_core_call
from guesthouse.wasm.engine.host_functions import Destructor, HostFunction
from guesthouse.wasm.engine.imports import where_is
from guesthouse.wasm.errors import LinkFailure
from guesthouse.wasm.types import STRING, FunctionType
from guesthouse.worker.calls import (
    capabilities,
    http_server,
    kinode,
    messaging,
    spawning,
    system,
    tracing,
    wasi,
)
from guesthouse.worker.guest import Guest
from guesthouse.worker.served import contract
from guesthouse.worker.served.matching import difference

RUN: Final = ("guesthouse:process/guest@0.1.0", "run")
"""The exported interface and function of a process of this contract."""

INIT: Final = (None, "init")
"""The exported function of a process of the Kinode OS, outside of any interface."""

ENTRIES: Final[dict[tuple[str | None, str], Callable[[Guest], tuple[Any, ...]]]] = {
    RUN: lambda guest: (guest.our_value,),
    INIT: lambda guest: (str(guest.our),),
}
"""Supported entries, in order of preference, with the type of their argument."""

_ENTRY_TYPES: Final = {RUN: FunctionType((), contract.ADDRESS), INIT: FunctionType((), STRING)}
"""The arguments of entries, as results of functions."""
_OUR_WORLD: Final = "build it for the world `process`"

_CALLS: Final[dict[str, Mapping[str, HostFunction]]] = {
    module.INTERFACE: module.CALLS
    for module in (messaging, http_server, system, capabilities, spawning, tracing)
}
_NO_TYPE: Final = FunctionType((), None)


class HostCalls:
    """What this host offers to components (see `wasm.engine.imports.HostImport`)."""

    destructor: Destructor = staticmethod(wasi.drop)

    def function(self, interface: str, name: str, type_: FunctionType) -> HostFunction | None:
        """The host call for an import, for any version of the interface.

        Raises:
            LinkFailure: the call was not written for such a type.
        """
        plain, _, version = interface.partition("@")
        function, expected = _find(plain, version, name)
        if function is None:
            return wasi.denied(plain, name, type_)
        found = difference(type_, expected)
        if found is not None:
            part, has, known = found
            raise LinkFailure(
                f"imports {name!r} of {interface} with {has} for {part}, where the interface has {known}: "
                "build it with the interface's own WIT"
            )
        return function

    def resource(self, interface: str, name: str) -> int | None:
        """The number of a resource type; only WASI has resources."""
        return wasi.RESOURCES.get(name) if interface.startswith(wasi.PREFIX) else None


def prepare_frequent() -> None:
    """Compile the calls of each message for the types of the contract, which nearly all components have: the first of
    them is then linked sooner. Takes some milliseconds.
    """
    for interface, calls in _CALLS.items():
        for name, function in calls.items():
            if function.frequent:
                type_ = contract.FUNCTIONS[interface][name]
                as_core_call(function, type_, None, _no_resource, whole=True)


def _no_resource(_: object) -> int:
    raise LookupError("no call of each message passes a resource")


def offered(interface: str, name: str) -> bool:
    """Whether this host implements the import, if its types are the contract's."""
    plain, _, version = interface.partition("@")
    return _find(plain, version, name)[0] is not None or wasi.is_denied(plain)


def check_entry(entry: tuple[str | None, str], type_: FunctionType) -> None:
    """Check that an entry takes its argument.

    Raises:
        LinkFailure: it does not.
    """
    where = f"exports {where_is(entry)}"
    if len(type_.params) != 1:
        raise LinkFailure(f"{where} with {len(type_.params)} parameters, where it has one: {_OUR_WORLD}")
    # Values go from host to guest, like results.
    found = difference(FunctionType((), type_.params[0][1]), _ENTRY_TYPES[entry])
    if found is not None:
        _, has, known = found
        raise LinkFailure(f"{where} with {has} for what it is given, where it has {known}: {_OUR_WORLD}")


def _find(plain: str, version: str, name: str) -> tuple[HostFunction | None, FunctionType]:
    """The call and type of an interface without its version; None if there is none."""
    calls, types = _CALLS.get(plain), contract.FUNCTIONS.get(plain)
    if calls is None:
        calls, types = kinode.find(plain, version)
    if calls is None:
        calls, types = wasi.find(plain)
    function = None if calls is None else calls.get(name)
    return function, _NO_TYPE if function is None or types is None else types[name]
