"""What the host offers to components, and link errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from guesthouse.wasm.engine.host_functions import Destructor, HostFunction
from guesthouse.wasm.errors import LinkFailure
from guesthouse.wasm.types import STRING, FunctionType

MAX_IMPORTED_FUNCTIONS: Final = 512
"""Linking one takes the worker nearly 0.1 ms, in which no guest runs."""


class HostImport(Protocol):
    """What the host offers to components, by name."""

    def function(self, interface: str, name: str, type_: FunctionType) -> HostFunction | None:
        """The call of that name; None when there is none.

        Raises:
            LinkFailure: its type does not match.
        """

    def resource(self, interface: str, name: str) -> int | None:
        """The number of the host's resource type of that name; None when there is none."""

    @property
    def destructor(self) -> Destructor:
        """Called when a guest drops a host resource."""


def no_entry(entries: Sequence[tuple[str | None, str]]) -> LinkFailure:
    """The error for a component without a supported entry."""
    names = " and no ".join(interface or f"function {name!r}" for interface, name in entries)
    return LinkFailure(f"exports no {names}: build it for the world `process`")


def host_function(offer: HostImport, interface: str, name: str, type_: FunctionType) -> HostFunction:
    """The host call for an imported function.

    Raises:
        LinkFailure: the host has none, or its type does not match.
    """
    function = offer.function(interface, name, type_)
    if function is None:
        raise LinkFailure(f"imports {name!r} of {interface}, which this host does not offer")
    if function.utf8 and all(param != STRING for _, param in type_.params):
        raise LinkFailure(
            f"imports {name!r} of {interface} without a string parameter: build it for the contract"
        )
    return function


def host_resource(offer: HostImport, interface: str, name: str) -> int:
    """The number of an imported resource type.

    Raises:
        LinkFailure: the host has none of that name.
    """
    number = offer.resource(interface, name)
    if number is None:
        raise LinkFailure(f"imports the resource {name!r} of {interface}, which this host does not offer")
    return number


def with_result(entry: str) -> LinkFailure:
    """The error for a component whose entry returns a value."""
    return LinkFailure(f"exports {entry} with a result: build it for the world `process`")


def too_many_functions() -> LinkFailure:
    """The error for a component with too many imports."""
    return LinkFailure(f"imports over {MAX_IMPORTED_FUNCTIONS} functions: import fewer")


def where_is(entry: tuple[str | None, str]) -> str:
    """An entry, for error messages."""
    interface, name = entry
    return repr(name) if interface is None else f"{name!r} of {interface}"
