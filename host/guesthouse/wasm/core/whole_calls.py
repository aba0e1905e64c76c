"""Generates the callbacks of the host calls that guests make for each message: one function that lifts the arguments,
calls, and lowers the result.

Elsewhere these are three functions, of which the first and the last are compiled when a guest first makes the call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, Final

from guesthouse.wasm.abi.layout import core_signature
from guesthouse.wasm.abi.lift import ArgumentLimit, ResourceNumber
from guesthouse.wasm.abi.signatures import Lifting, Slots, lowering
from guesthouse.wasm.abi.source_code import code_of, indented
from guesthouse.wasm.abi.value_budget import has_pointers
from guesthouse.wasm.core.core_capi import RAW_SIZE, TAGGED_OF, TAGGED_SIZE
from guesthouse.wasm.engine.fiber import CURRENT
from guesthouse.wasm.engine.host_functions import HostFunction
from guesthouse.wasm.engine.native import slots
from guesthouse.wasm.types import FunctionType

_u32: Final = Struct("<I").unpack_from

_PLAIN: Final = """\
def callback(env, caller, params):
 fiber = running.fiber
 try:
  if fiber.must_finish: raise host_called()
  if fiber.before_call is not None: fiber.before_call()
  fiber.calls += 1
  memory = fiber.memory
  passed = data = view_of(params)
{lift}  value = call(fiber.owner{arguments})
{lower} except BaseException as error:
  return fault(fiber, error)
 return 0
"""
_BLOCKING: Final = """\
def finish(value, fiber, params, results):
 memory = fiber.memory
 passed = view_of(params)
{finish}
def callback(env, caller, params, params_len, results, results_len, trap_out, continuation_out):
 fiber = running.fiber
 try:
  if fiber.before_call is not None: fiber.before_call()
  fiber.calls += 1
  memory = fiber.memory
  passed = data = view_of(params)
{lift}  value = call(fiber.owner{arguments})
  if value is pending:
   waiting = fiber.blocked = BlockedCall(fiber, finish, params, results)
   put_wait(continuation(continuation_out), 0, WAIT_ADDRESS, id(waiting), 0)
   return
{lower} except BaseException as error:
  put_address(address(trap_out), 0, fault(fiber, error))
 continuation(continuation_out)[:] = done
"""


def whole_call(
    function: HostFunction,
    type_: FunctionType,
    realloc: int | None,
    number: ResourceNumber,
    limit: ArgumentLimit,
    scope: Mapping[str, Any],
) -> Callable[..., Any] | None:
    """The callback of a host call; None unless its result is written by address.

    Args:
        function: the host call.
        type_: the import's type.
        realloc: the number of the allocator that makes room for the result.
        number: returns the host's number of a resource type.
        limit: the size limits of the arguments.
        scope: what the source refers to besides: see `host_calls.py`.
    """
    lowered = None if type_.result is None else lowering(type_.result, function.forms, number)
    if lowered is None:
        return None
    lower, names = lowered
    names |= scope
    layout, size, first = (
        (Slots.TAGGED, TAGGED_SIZE, TAGGED_OF) if function.blocks else (Slots.RAW, RAW_SIZE, 0)
    )
    types = () if function.takes_none else tuple(param for _, param in type_.params)
    lift, arguments = "", ""
    if types:
        lifting = Lifting(
            types, layout, number, utf8=function.utf8, limit=limit, views_from=function.views_from
        )
        names |= lifting.source.scope
        lift = " at = 0\n" + lifting.body()
        arguments = "".join(f", {value}" for value in lifting.values)
    params, _ = core_signature(type_)
    where = f" where, = u32(passed, {size * (len(params) - 1) + first})\n"
    if type_.result is not None and has_pointers(type_.result):
        where += " if fiber.realloc != realloc: fiber.use_allocator(realloc)\n"
    names |= {
        "running": CURRENT,
        "call": function.call,
        "view_of": slots(size * len(params)),
        "u32": _u32,
        "realloc": realloc,
    }
    source = _BLOCKING if function.blocks else _PLAIN
    lower = where + lower
    text = source.format(
        lift=indented(lift, " "), arguments=arguments, lower=indented(lower, " "), finish=lower
    )
    exec(code_of(text, "<host call>"), names)  # noqa: S102 - no names from a component
    callback: Callable[..., Any] = names["callback"]
    return callback
