"""The host's calls by name: everything a guest can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from guesthouse.worker.boundary.host_functions import Destructor, HostFunction
from guesthouse.worker.boundary.types import FunctionType
from guesthouse.worker.calls import capabilities, http_server, kinode, messaging, spawning, system, wasi
from guesthouse.worker.guest import Guest

RUN: Final = ("guesthouse:process/guest@0.1.0", "run")
"""The interface and the function that a process of this contract exports."""

INIT: Final = (None, "init")
"""What a process of the Kinode OS exports: a function of the component itself."""

ENTRIES: Final[dict[tuple[str | None, str], Callable[[Guest], tuple[Any, ...]]]] = {
    RUN: lambda guest: (guest.our_value,),
    INIT: lambda guest: (str(guest.our),),
}
"""What may run a process, the preferred one first, and what it is given."""

_CALLS: Final[dict[str, Mapping[str, HostFunction]]] = {
    module.INTERFACE: module.CALLS for module in (messaging, http_server, system, capabilities, spawning)
}
_TYPES_ONLY: Final = frozenset(("guesthouse:process/types",))
_NO_TYPE: Final = FunctionType((), None)


class HostCalls:
    """What this host offers to components (`boundary.component.Offer`)."""

    destructor: Destructor = staticmethod(wasi.drop)

    def function(self, interface: str, name: str, type_: FunctionType) -> HostFunction | None:
        """The call for an import, whatever version of the interface asks for it."""
        plain, _, version = interface.partition("@")
        calls = _CALLS.get(plain)
        if calls is None:
            calls = kinode.find(plain, version)
        return calls.get(name) if calls is not None else wasi.find(plain, name, type_)

    def resource(self, interface: str, name: str) -> int | None:
        """The number of a resource type; only WASI has resources."""
        return wasi.RESOURCES.get(name) if interface.startswith(wasi.PREFIX) else None


def offered(interface: str, name: str) -> bool:
    """Whether this host has a call for the import; for people who inspect a component."""
    return HostCalls().function(interface, name, _NO_TYPE) is not None
