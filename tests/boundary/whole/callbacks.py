"""Host calls as C functions: the one guard between Python and wasm.

Whatever a host call raises is caught here, kept on the fiber that called, and becomes a trap of that
guest alone. An exception that crossed into wasmtime would end the worker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from tests.boundary.whole.lift import Caller, lift_arguments
from tests.boundary.whole.native import MEMORY
from tests.boundary.whole.results import WriteResult, lower_result

from guesthouse.wasm.engine import capi
from guesthouse.wasm.engine.fiber import FIBERS
from guesthouse.wasm.engine.host_functions import (
    DONE,
    PENDING,
    WAIT_ADDRESS,
    BlockedCall,
    Destructor,
    HostFunction,
    note_fault,
    put_address,
    put_wait,
)
from guesthouse.wasm.types import FunctionType

from . import capi as component_capi


def as_callback(function: HostFunction, type_: FunctionType) -> Any:
    """The C function for a host call whose import has that type."""
    read = (
        lift_arguments(tuple(param for _, param in type_.params), utf8=function.utf8)
        if type_.params
        else None
    )
    write = _no_result if type_.result is None else lower_result(type_.result, function.forms)
    make = _blocking if function.blocks else _plain
    return make(function.call, read, write)


def as_destructor(destructor: Destructor, type_number: int) -> Any:
    """The C function that tells the host of a dropped resource."""

    def callback(env: int, context: int, number: int) -> int:
        fiber = FIBERS.get(context)
        if fiber is None:  # the store itself goes
            return 0
        try:
            destructor(fiber.owner, type_number, number)
        except BaseException as error:
            return _fault(context, error)
        return 0

    return component_capi.DESTRUCTOR(callback)


def _no_result(value: Any, context: int, address: int) -> None:
    if value is not None:
        raise TypeError(f"a call without a result returned {type(value).__name__}")


_Read: TypeAlias = Callable[[int], tuple[Any, ...]] | None
"""None for a call without arguments."""


def _plain(call: Callable[..., Any], read: _Read, write: WriteResult) -> Any:
    fibers = FIBERS

    def callback(env: int, context: int, type_: int, args: int, args_len: int, results: int) -> int:
        try:
            Caller.context = context
            fiber = fibers[context]
            fiber.calls += 1
            value = call(fiber.owner) if read is None else call(fiber.owner, *read(args))
            write(value, context, results)
        except BaseException as error:
            return _fault(context, error)
        return 0

    return component_capi.HOST_CALL(callback)


def _blocking(call: Callable[..., Any], read: _Read, write: WriteResult) -> Any:
    fibers, pending, done = FIBERS, PENDING, DONE

    def callback(
        env: int,
        context: int,
        type_: int,
        args: int,
        args_len: int,
        results: int,
        results_len: int,
        error_out: int,
        continuation_out: int,
    ) -> None:
        try:
            Caller.context = context
            fiber = fibers[context]
            fiber.calls += 1
            value = call(fiber.owner) if read is None else call(fiber.owner, *read(args))
            if value is pending:
                waiting = fiber.blocked = BlockedCall(fiber, _finish(write), context, results)
                put_wait(MEMORY, continuation_out, WAIT_ADDRESS, id(waiting), 0)
                return
            write(value, context, results)
        except BaseException as error:
            put_address(MEMORY, error_out, _fault(context, error))
        MEMORY[continuation_out : continuation_out + len(done)] = done

    return component_capi.BLOCKING_HOST_CALL(callback)


def _finish(write: WriteResult) -> Callable[..., None]:
    return lambda value, fiber, context, results: write(value, context, results)


def _fault(context: int, error: BaseException) -> int:
    made: int = capi.error_new(note_fault(FIBERS.get(context), error))
    return made
