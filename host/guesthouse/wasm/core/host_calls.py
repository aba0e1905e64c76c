"""Host calls as C callbacks for core functions.

A call lifts its arguments from core parameters and guest memory, and lowers its result there. The
guest's allocator makes room for that, during the call; until it is done the guest may not
call the host, as the component model demands.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, Final, TypeAlias

from guesthouse.wasm.abi.handles import begin, drop_own, new_own, own_number, take
from guesthouse.wasm.abi.layout import core_signature
from guesthouse.wasm.abi.lift import ArgumentLimit, ResourceNumber
from guesthouse.wasm.abi.memory import LinearMemory
from guesthouse.wasm.abi.signatures import Head, Slots, lift_arguments, lower_result
from guesthouse.wasm.abi.value_budget import has_pointers
from guesthouse.wasm.core.core_capi import (
    ASYNC_CALL,
    KINDS,
    RAW_SIZE,
    TAGGED_OF,
    TAGGED_SIZE,
    UNCHECKED_CALL,
    trap_new,
)
from guesthouse.wasm.core.core_fiber import CoreFiber
from guesthouse.wasm.core.whole_calls import whole_call
from guesthouse.wasm.engine.fiber import CURRENT
from guesthouse.wasm.engine.host_functions import (
    DONE,
    PENDING,
    WAIT_ADDRESS,
    BlockedCall,
    Destructor,
    HostFunction,
    address_of_python,
    note_fault,
    put_address,
    put_wait,
)
from guesthouse.wasm.engine.native import slots
from guesthouse.wasm.errors import allocator_called_host
from guesthouse.wasm.plan.plan import HandleAction
from guesthouse.wasm.types import FunctionType

_Read: TypeAlias = Callable[[int, LinearMemory], tuple[Any, ...]] | None
"""None for a call without arguments."""
_Finish: TypeAlias = Callable[..., None]
"""`(value, fiber, address of the core parameters, address of the core results)`: lower the result."""

_Converters: TypeAlias = tuple[_Read, _Finish]
"""Compiled on the first call: a Python guest imports about a hundred functions and calls few, and compiling all would
take its worker 40 ms at each start.
"""

_HANDLE_ACTIONS: Final[dict[HandleAction, Callable[[int, int], int]]] = {
    HandleAction.NEW: new_own,
    HandleAction.REP: own_number,
    HandleAction.TAKE: drop_own,
    HandleAction.DROP: drop_own,
}
_put_number: Final = Struct("<Q").pack_into
_number: Final = slots(8)
_u32: Final = Struct("<I").unpack_from
_one_u32: Final = slots(4)
_kind: Final = slots(1)
_address: Final = slots(8)
_continuation: Final = slots(24)


def as_core_call(
    function: HostFunction,
    type_: FunctionType,
    realloc: int | None,
    number: ResourceNumber,
    *,
    whole: bool = False,
) -> Any:
    """The C callback of a lowered import: an `ASYNC_CALL` if it blocks, else an `UNCHECKED_CALL`.

    Args:
        function: the host call.
        type_: the import's type.
        realloc: the number of the allocator that makes room for the result.
        number: returns the host's number of a resource type.
        whole: whether it is compiled now, as one function where it can be, which takes up to 4 ms.
    """
    limit = ArgumentLimit(lambda: function.most(CURRENT.fiber.owner), function.beyond)

    def compiled() -> _Converters:
        slots = Slots.TAGGED if function.blocks else Slots.RAW
        types = () if function.takes_none else tuple(param for _, param in type_.params)
        read = None
        if types:
            read = lift_arguments(
                types, slots, number, utf8=function.utf8, limit=limit, views_from=function.views_from
            )
        return read, _finisher(function, type_, realloc, number)

    if whole:
        callback = whole_call(function, type_, realloc, number, limit, _SCOPE)
        if callback is not None:
            return (ASYNC_CALL if function.blocks else UNCHECKED_CALL)(callback)
    takes = bool(type_.params) and not function.takes_none
    return (_blocking if function.blocks else _plain)(function.call, compiled, takes=takes)


def as_core_drop(destructor: Destructor, type_number: int) -> Any:
    """The C callback by which a guest drops a host resource."""

    def call(owner: Any, number: int) -> None:
        destructor(owner, type_number, number)

    def read(address: int, memory: LinearMemory) -> tuple[int]:
        begin()
        return (take(type_number, _u32(_one_u32(address))[0])[1],)

    return _plain(call, lambda: (read, _no_result), takes=True)


def as_core_handle(resource: int, action: HandleAction) -> Any:
    """The C callback for handles of a component's own resource."""
    act = _HANDLE_ACTIONS[action]

    def call(owner: Any, number: int) -> int:
        return act(resource, number)

    def read(address: int, memory: LinearMemory) -> tuple[int]:
        return (_u32(_one_u32(address))[0],)

    finish = _no_number if action is HandleAction.DROP else _number_result
    return _plain(call, lambda: (read, finish), takes=True)


def as_core_check() -> Any:
    """The C callback that the gate calls before each call that may block, to be called with `CHECK`."""
    return UNCHECKED_CALL(address_of_python("PyObject_Hash"))


class _Check:
    """Its hash is the trap of a guest whose allocator calls the host, or 0."""

    __slots__ = ()

    def __hash__(self) -> int:
        fiber = CURRENT.fiber
        return _fault(fiber, allocator_called_host()) if fiber.must_finish else 0


CHECK: Final = _Check()
"""What `as_core_check` is called with."""


def _number_result(value: int, fiber: CoreFiber, params: int, results: int) -> None:
    _put_number(_number(results), 0, value)


def _no_number(value: int, fiber: CoreFiber, params: int, results: int) -> None:
    """Discards the representation of a dropped handle."""


def _finisher(
    function: HostFunction, type_: FunctionType, realloc: int | None, number: ResourceNumber
) -> _Finish:
    if type_.result is None:
        return _no_result
    params, results = core_signature(type_)
    last = len(params) - 1
    at = last * TAGGED_SIZE + TAGGED_OF if function.blocks else last * RAW_SIZE
    writer = lower_result(
        type_.result, function.forms, number, _head(at, realloc, has_pointers(type_.result))
    )
    if writer.by_address:
        return writer.write
    if function.blocks:
        return _into_tagged(writer.write, KINDS[results[0]])
    return lambda value, fiber, params, results: writer.write(value, fiber.memory, results)


def _no_result(value: Any, fiber: CoreFiber, params: int, results: int) -> None:
    if value is not None:
        raise TypeError(f"a call without a result returned {type(value).__name__}")


def _head(at: int, realloc: int | None, allocates: bool) -> Head:
    """The beginning of a `_Finish` whose result's address is the core parameter at that offset."""
    allocator = "\n if fiber.realloc != realloc: fiber.use_allocator(realloc)" if allocates else ""
    return Head(
        f"def write(value, fiber, params, results):\n memory = fiber.memory\n"
        f" where, = u32(parameter(params + {at})){allocator}",
        {"u32": _u32, "parameter": _one_u32, "realloc": realloc},
    )


def _into_tagged(write: Callable[[Any, Any, int], None], kind: int) -> _Finish:
    def finish(value: Any, fiber: CoreFiber, params: int, results: int) -> None:
        _kind(results)[0] = kind
        write(value, fiber.memory, results + TAGGED_OF)

    return finish


def _plain(call: Callable[..., Any], compiled: Callable[[], _Converters], *, takes: bool) -> Any:
    """A callback that returns. `takes` is whether the call has arguments."""
    running = CURRENT
    read: _Read = None
    finish: _Finish = _no_result

    def read_first(values: int, memory: LinearMemory) -> tuple[Any, ...]:
        nonlocal read, finish
        read, finish = compiled()
        return () if read is None else read(values, memory)

    def finish_first(value: Any, fiber: CoreFiber, params: int, results: int) -> None:
        nonlocal finish
        _, finish = compiled()
        finish(value, fiber, params, results)

    read, finish = read_first, finish_first

    def callback(env: int, caller: int, values: int) -> int:
        fiber = running.fiber
        try:
            if fiber.must_finish:
                raise allocator_called_host()
            if fiber.before_call is not None:
                fiber.before_call()
            fiber.calls += 1
            value = call(fiber.owner, *read(values, fiber.memory))
            finish(value, fiber, values, values)
        except BaseException as error:
            return _fault(fiber, error)
        return 0

    def callback_without(env: int, caller: int, values: int) -> int:
        fiber = running.fiber
        try:
            if fiber.must_finish:
                raise allocator_called_host()
            if fiber.before_call is not None:
                fiber.before_call()
            fiber.calls += 1
            finish(call(fiber.owner), fiber, values, values)
        except BaseException as error:
            return _fault(fiber, error)
        return 0

    return UNCHECKED_CALL(callback if takes else callback_without)


def _blocking(call: Callable[..., Any], compiled: Callable[[], _Converters], *, takes: bool) -> Any:
    """A callback whose guest may wait for the result."""
    running, pending, done = CURRENT, PENDING, DONE
    read: _Read = None
    finish: _Finish | None = None

    def callback(
        env: int,
        caller: int,
        params: int,
        params_len: int,
        results: int,
        results_len: int,
        trap_out: int,
        continuation_out: int,
    ) -> None:
        nonlocal read, finish
        fiber = running.fiber
        try:
            if finish is None:
                read, finish = compiled()
            if fiber.before_call is not None:
                fiber.before_call()
            fiber.calls += 1
            value = call(fiber.owner, *read(params, fiber.memory)) if takes else call(fiber.owner)  # type: ignore[misc]
            if value is pending:
                waiting = fiber.blocked = BlockedCall(fiber, finish, params, results)
                put_wait(_continuation(continuation_out), 0, WAIT_ADDRESS, id(waiting), 0)
                return
            finish(value, fiber, params, results)
        except BaseException as error:
            put_address(_address(trap_out), 0, _fault(fiber, error))
        _continuation(continuation_out)[:] = done

    return ASYNC_CALL(callback)


def _fault(fiber: CoreFiber, error: BaseException) -> int:
    text = note_fault(fiber, error)
    made: int = trap_new(text, len(text))
    return made


_SCOPE: Final[dict[str, Any]] = {
    "fault": _fault,
    "host_called": allocator_called_host,
    "pending": PENDING,
    "BlockedCall": BlockedCall,
    "put_wait": put_wait,
    "WAIT_ADDRESS": WAIT_ADDRESS,
    "put_address": put_address,
    "address": _address,
    "continuation": _continuation,
    "done": DONE,
}
"""What the source of a `whole_call` refers to."""
