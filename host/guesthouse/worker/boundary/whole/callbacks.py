"""Host calls as C functions: the one guard between Python and wasm.

Whatever a host call raises is caught here, kept on the fiber that called, and becomes a trap of that
guest alone. An exception that crossed into wasmtime would end the worker.
"""

from __future__ import annotations

import ctypes
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from guesthouse.worker.boundary import capi
from guesthouse.worker.boundary.capi import CONTINUATION_STRUCT, MEMORY
from guesthouse.worker.boundary.errors import GuestTrap
from guesthouse.worker.boundary.fiber import FIBERS, Fiber
from guesthouse.worker.boundary.types import FunctionType
from guesthouse.worker.boundary.whole.lift import Caller, lift_arguments
from guesthouse.worker.boundary.whole.results import Form, WriteResult, lower_result


class _Pending:
    """The type of `PENDING`."""


PENDING: Final = _Pending()
"""What a blocking host call returns when it has no result yet: `Fiber.answer` gives it later."""


@dataclass(frozen=True, slots=True)
class HostFunction:
    """A host call. `call` gets the fiber's owner and the lifted arguments."""

    call: Callable[..., Any]
    blocks: bool = False
    """Whether it may return `PENDING`."""
    utf8: bool = False
    """Whether it gets its strings as the bytes of their UTF-8."""
    forms: tuple[Form, ...] = ()
    """What it may return besides values of its type."""


Destructor: TypeAlias = Callable[[Any, int, int], None]
"""`(owner, resource type number, number)`."""

_MAX_ERROR: Final = 500
"""Characters of what a host call raised that wasmtime gets to see; the fiber keeps the rest."""


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

    return capi.DESTRUCTOR(callback)


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

    return capi.HOST_CALL(callback)


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
                fiber.blocked = _waiting(write, context, results)
                put_wait(MEMORY, continuation_out, WAIT_ADDRESS, context, 0)
                return
            write(value, context, results)
        except BaseException as error:
            put_address(MEMORY, error_out, _fault(context, error))
        MEMORY[continuation_out : continuation_out + len(done)] = done

    return capi.BLOCKING_HOST_CALL(callback)


def _waiting(write: WriteResult, context: int, address: int) -> Callable[[Any], None]:
    return lambda value: write(value, context, address)


def _wait(context: int) -> bool:
    """Whether the host call that the guest waits in has its result now.

    wasmtime looks for an error when a host call begins, not when it ends. So a guest whose answer cannot be
    made stays where it is, and `Fiber.poll` ends it.
    """
    fiber = FIBERS.get(context)
    if fiber is None:
        return False
    produce, fiber.pending_answer = fiber.pending_answer, None
    if produce is None:
        return False
    try:
        fiber.blocked(produce())
    except BaseException as error:
        fiber.fault = error
        return False
    fiber.blocked = None
    return True


_WAIT: Final = capi.CONTINUATION(_wait)
WAIT_ADDRESS: Final = ctypes.cast(_WAIT, ctypes.c_void_p).value or 0
"""The continuation of a host call that waits, with the context of its store."""

# A continuation that is done at once needs no Python: `abs(1)` answers with 1, which is true.
_ABS_ADDRESS: Final = ctypes.cast(ctypes.CDLL(None).abs, ctypes.c_void_p).value or 0
DONE: Final = CONTINUATION_STRUCT.pack(_ABS_ADDRESS, 1, 0)
"""The continuation of a blocking host call that has its result."""

put_wait: Final = CONTINUATION_STRUCT.pack_into
put_address: Final = capi.ADDRESS.pack_into


def _fault(context: int, error: BaseException) -> int:
    made: int = capi.error_new(note_fault(FIBERS.get(context), error))
    return made


def note_fault(fiber: Fiber | None, error: BaseException) -> bytes:
    """Keep what a host call raised; returns what wasmtime gets to see of it."""
    if fiber is not None and fiber.fault is None:
        fiber.fault = error
    text = str(error) if isinstance(error, GuestTrap) else traceback.format_exception_only(error)[-1].strip()
    return text[:_MAX_ERROR].encode("utf-8", "replace").replace(b"\0", b" ")
