"""The host's calls by name: everything a guest can do."""

from __future__ import annotations

from typing import Final

from guesthouse.worker.boundary.callbacks import Destructor, HostFunction
from guesthouse.worker.boundary.types import FunctionType
from guesthouse.worker.calls import http_server, messaging, system, wasi

RUN: Final = ("guesthouse:process/guest@0.1.0", "run")
"""The interface and the function that every process exports."""

_CALLS: Final = {module.INTERFACE: module.CALLS for module in (messaging, http_server, system)}
_TYPES_ONLY: Final = frozenset(("guesthouse:process/types",))
_NO_TYPE: Final = FunctionType((), None)


class HostCalls:
    """What this host offers to components (`boundary.component.Offer`)."""

    destructor: Destructor = staticmethod(wasi.drop)

    def function(self, interface: str, name: str, type_: FunctionType) -> HostFunction | None:
        """The call for an import, whatever version of the interface asks for it."""
        plain = interface.partition("@")[0]
        calls = _CALLS.get(plain)
        return calls.get(name) if calls is not None else wasi.find(plain, name, type_)

    def resource(self, interface: str, name: str) -> int | None:
        """The number of a resource type; only WASI has resources."""
        return wasi.RESOURCES.get(name) if interface.startswith(wasi.PREFIX) else None


def offered(interface: str, name: str) -> bool:
    """Whether this host has a call for the import; for people who inspect a component."""
    return HostCalls().function(interface, name, _NO_TYPE) is not None
