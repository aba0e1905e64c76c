"""Host calls whose arguments are sent to the node unchanged, as declared in `link/calls.py`."""

from __future__ import annotations

from typing import Any, TypeVar

from guesthouse.link.calls import CALLS, HostCall, Outcome
from guesthouse.wasm.engine.host_functions import HostFunction
from guesthouse.wasm.types import U8, FunctionType, ListOf, RecordOf, ResultOf
from guesthouse.worker.capability_errors import as_result
from guesthouse.worker.guest import Guest
from guesthouse.worker.served import contract

_C = TypeVar("_C", bound=HostCall)


def functions(interface: str) -> dict[str, HostFunction]:
    """The functions of an interface that the node executes with the guest's arguments."""
    found = {}
    for kind in CALLS:
        if kind.interface == interface:
            name = str(kind.__struct_config__.tag)
            found[name] = _function(kind, contract.FUNCTIONS[interface][name])
    return found


def made(kind: type[_C], values: dict[str, Any]) -> _C:
    """A call of these values by the names of the contract. Components of older contracts know fewer; what the call has
    no field for is left out.
    """
    fields = {}
    for name in kind.__struct_fields__:
        plain = name.replace("_", "-")
        if plain in values:
            value = values[plain]
            fields[name] = tuple(value) if isinstance(value, list) else value
    return kind(**fields)


def _function(kind: type[HostCall], type_: FunctionType) -> HostFunction:
    result = type_.result
    returns_value = result is not None and not (isinstance(result, ResultOf) and result.ok is None)
    if returns_value or any(param == ListOf(U8) for _, param in type_.params):
        raise TypeError(f"{kind.__name__} has bytes or returns a value: it needs a function of its own")
    convert = _nothing if result is None else as_result
    params = [(name, isinstance(param, RecordOf)) for name, param in type_.params]

    def call(guest: Guest, *arguments: Any) -> Any:
        values: dict[str, Any] = {}
        for (name, is_record), argument in zip(params, arguments, strict=True):
            values.update(argument if is_record else {name: argument})
        made_of_them: Any = made(kind, values)
        return guest.call_node(made_of_them, convert)

    call.__doc__ = kind.__doc__
    return HostFunction(call, blocks=True)


def _nothing(outcome: Outcome) -> None:
    """The result of a call without one."""
