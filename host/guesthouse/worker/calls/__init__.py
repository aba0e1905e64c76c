"""The host's calls by name: everything a guest can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from guesthouse.wasm.engine.host_functions import Destructor, HostFunction
from guesthouse.wasm.engine.imports import where_is
from guesthouse.wasm.errors import LinkFailure
from guesthouse.wasm.types import STRING, FunctionType
from guesthouse.worker.calls import capabilities, http_server, kinode, messaging, spawning, system, wasi
from guesthouse.worker.guest import Guest
from guesthouse.worker.served import contract
from guesthouse.worker.served.matching import difference

RUN: Final = ("guesthouse:process/guest@0.1.0", "run")
"""The interface and the function that a process of this contract exports."""

INIT: Final = (None, "init")
"""What a process of the Kinode OS exports: a function of the component itself."""

ENTRIES: Final[dict[tuple[str | None, str], Callable[[Guest], tuple[Any, ...]]]] = {
    RUN: lambda guest: (guest.our_value,),
    INIT: lambda guest: (str(guest.our),),
}
"""What may run a process, the preferred one first, and what it is given."""

_ENTRY_TYPES: Final = {RUN: FunctionType((), contract.ADDRESS), INIT: FunctionType((), STRING)}
"""What each is given, as the result of a function."""
_OUR_WORLD: Final = "build it for the world `process`"

_CALLS: Final[dict[str, Mapping[str, HostFunction]]] = {
    module.INTERFACE: module.CALLS for module in (messaging, http_server, system, capabilities, spawning)
}
_NO_TYPE: Final = FunctionType((), None)


class HostCalls:
    """What this host offers to components (`boundary.component.Offer`)."""

    destructor: Destructor = staticmethod(wasi.drop)

    def function(self, interface: str, name: str, type_: FunctionType) -> HostFunction | None:
        """The call for an import, whatever version of the interface asks for it.

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


def offered(interface: str, name: str) -> bool:
    """Whether this host has a call for the import, if its types are the contract's."""
    plain, _, version = interface.partition("@")
    return _find(plain, version, name)[0] is not None or wasi.is_denied(plain)


def check_entry(entry: tuple[str | None, str], type_: FunctionType) -> None:
    """Return when what runs a process takes what it is given.

    Raises:
        LinkFailure: it does not.
    """
    where = f"exports {where_is(entry)}"
    if len(type_.params) != 1:
        raise LinkFailure(f"{where} with {len(type_.params)} parameters, where it has one: {_OUR_WORLD}")
    # It goes from host to guest, as results do.
    found = difference(FunctionType((), type_.params[0][1]), _ENTRY_TYPES[entry])
    if found is not None:
        _, has, known = found
        raise LinkFailure(f"{where} with {has} for what it is given, where it has {known}: {_OUR_WORLD}")


def _find(plain: str, version: str, name: str) -> tuple[HostFunction | None, FunctionType]:
    """The call of an interface without its version, and its type; None when there is none."""
    calls, types = _CALLS.get(plain), contract.FUNCTIONS.get(plain)
    if calls is None:
        calls, types = kinode.find(plain, version)
    if calls is None:
        calls, types = wasi.find(plain)
    function = None if calls is None else calls.get(name)
    return function, _NO_TYPE if function is None or types is None else types[name]
