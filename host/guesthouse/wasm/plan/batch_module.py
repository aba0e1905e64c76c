"""A core module that answers the host calls of frequent messages from a batch in a memory of its own.

A host call costs the worker several microseconds of Python. So a worker hands a guest the messages that wait for
it all at once, in the memory of this module, and the module answers `receive`, `get-blob` and the like from it. What
the guest sends meanwhile to the channel of the message in hand is written there, too; the worker carries it out before
anything else that the guest asks of the host, and when its slice ends.

The module answers only what is certain. A call with an address outside of the guest's memory, a text that may not be
UTF-8, more than the credit allows and the like get no answer here (0), and the gate passes them on to the host. It
has a function for each call that it answers, of the call's core parameters, whose result says whether it did. The
gate (`gate.py`) calls them through a table of its own, whose functions answer nothing until a worker instantiates
the module: once a guest has more than one message waiting.

What other code may change while a function waits is read again afterwards: a guest may be pre-empted at the entry of
each function, at each turn of a loop and after each `memory.copy`, and its allocator may do anything.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

from wasmtime import wat2wasm

from guesthouse.wasm.abi.layout import cases_of, shape_of
from guesthouse.wasm.plan.batch_layout import (
    ALLOCATING,
    CALLS,
    CHANNEL,
    COST,
    CREDIT_AT,
    CURRENT,
    IS_TEXT,
    KIND,
    MEMORY,
    MOST,
    NEXT,
    NODE,
    NODE_BYTES,
    PAYLOAD,
    SENT,
    SENT_END,
    SENT_LIMIT,
    SIZE,
    TABLE,
    TAKEN,
    UNREAD,
)
from guesthouse.wasm.plan.plan import ANSWERED, BatchModule, Call, Lowered, Plan
from guesthouse.wasm.types import (
    STRING,
    U8,
    U32,
    EnumOf,
    FunctionType,
    ListOf,
    OptionOf,
    RecordOf,
    ResultOf,
    TupleOf,
    VariantOf,
    WitType,
)

_PATH: Final = ("ok", "http-server", "web-socket-push")
_FIELDS: Final = ("channel-id", "message-type")
_KINDS: Final = ("text", "binary")
_BLOB: Final = RecordOf((("mime", OptionOf(STRING)), ("bytes", ListOf(U8))))


def batch_of(plan: Plan) -> tuple[BatchModule, bytes] | None:
    """What is answered of a component's calls, and the module that does; None if it cannot receive messages.

    The batch's module has the number `Plan.modules`.
    """
    if plan.memory is None:
        return None
    types = {(each.interface, each.name): each.type for each in plan.functions}
    first: dict[tuple[str, str], tuple[int, FunctionType]] = {}
    for number, call in enumerate(plan.calls):
        if isinstance(call, Lowered):
            interface, _, _ = call.interface.partition("@")
            first.setdefault((interface, call.name), (number, types[call.interface, call.name]))
    found = [first.get(name) for name in ANSWERED]
    layout = None if found[0] is None else _layout(found[0][1])
    reallocs = {_realloc(plan.calls[each[0]]) for each in found[1:4] if each is not None}
    if layout is None or len(reallocs) != 1:
        return None
    realloc = reallocs.pop()
    if realloc is None:
        return None
    answered = tuple(
        each[0] if each is not None and is_known(each[1]) else None
        for each, is_known in zip(found, _KNOWN, strict=True)
    )
    return BatchModule(plan.modules, realloc, answered), _module(layout)


def _is_blob(type_: FunctionType) -> bool:
    return type_ == FunctionType((), OptionOf(_BLOB))


def _is_text(type_: FunctionType) -> bool:
    return type_ == FunctionType((), OptionOf(STRING))


def _receives_push(type_: FunctionType) -> bool:
    return type_ == FunctionType((), OptionOf(TupleOf((U32, OptionOf(STRING), OptionOf(ListOf(U8))))))


def _sends_text(type_: FunctionType) -> bool:
    return _may_fail(type_) and [each for _, each in type_.params] == [U32, STRING]


def _sends(type_: FunctionType) -> bool:
    if not _may_fail(type_) or len(type_.params) != 4:
        return False
    node, channel, kind, blob = (each for _, each in type_.params)
    return (node, channel, blob) == (STRING, U32, _BLOB) and _has_kinds(kind)


def _may_fail(type_: FunctionType) -> bool:
    result = type_.result
    return isinstance(result, ResultOf) and result.ok is None and isinstance(result.err, EnumOf)


def _has_kinds(type_: WitType) -> bool:
    return isinstance(type_, EnumOf) and type_.names[:2] == _KINDS


_KNOWN: Final[tuple[Callable[[FunctionType], bool], ...]] = (
    lambda type_: _layout(type_) is not None,
    _is_blob,
    _is_text,
    _receives_push,
    _sends_text,
    _sends,
)
"""Whether each of `ANSWERED` has the type that it is answered for: contracts of other versions may have others."""


def _realloc(call: Call) -> int | None:
    return call.realloc if isinstance(call, Lowered) else None


def _layout(type_: FunctionType) -> tuple[int, ...] | None:
    """How the result of `receive` is written for a message of a channel: its size, its alignment, offset and number of
    each case, and the offsets of the fields. None if that is not the type of `receive`.
    """
    found: WitType | None = type_.result
    if found is None:
        return None
    shape, offset = shape_of(found), 0
    numbers = [shape.size, shape.align]
    for step in _PATH:
        if not isinstance(found, ResultOf | VariantOf) or shape.discriminant != "B":
            return None
        cases = cases_of(found)
        index = next((at for at, (name, _) in enumerate(cases) if name == step), None)
        if index is None:
            return None
        numbers += [offset, index]
        offset += shape.offsets[0]
        found, shape = cases[index][1], shape.parts[index]
    if not isinstance(found, RecordOf) or tuple(name for name, _ in found.fields) != _FIELDS:
        return None
    channel, kind = (each for _, each in found.fields)
    if channel != U32 or not _has_kinds(kind):
        return None
    return *numbers, *(offset + each for each in shape.offsets)


@cache
def _module(layout: tuple[int, ...]) -> bytes:
    size, align, at_ok, ok, at_message, message, at_event, event, at_channel, at_kind = layout
    counted = f"(i32.store $batch (i32.const {CALLS}) (i32.add (i32.load $batch (i32.const {CALLS})) (i32.const 1)))"
    # Marked before anything can interrupt it. What the batch holds does not change until the mark is gone: the host
    # does nothing for a guest whose allocator runs.
    copied = f"""
    (i32.store $batch (i32.const {ALLOCATING}) (i32.const 1))
    (local.set $address (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $size)))
    (i32.store $batch (i32.const {ALLOCATING}) (i32.const 0))
    (memory.copy $guest $batch
      (local.get $address) (i32.add (local.get $at) (i32.const {PAYLOAD})) (local.get $size))"""
    taken = f"""
    (i32.store $batch (i32.const {UNREAD}) (i32.sub (i32.load $batch (i32.const {UNREAD})) (i32.const 1)))
    (i32.store $batch (i32.const {TAKEN}) (i32.add (i32.load $batch (i32.const {TAKEN})) (i32.const 1)))
    (i32.store $batch (i32.const {CURRENT}) (local.get $at))
    (i32.store $batch (i32.const {NEXT})
      (i32.and
        (i32.add (i32.add (local.get $at) (i32.load $batch offset={SIZE} (local.get $at))) (i32.const {PAYLOAD + 3}))
        (i32.const -4)))
    {counted}"""
    return bytes(
        wat2wasm(f"""
(module $batch
  (import "" "memory" (memory $guest 0))
  (import "" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
  (import "" "{TABLE}" (table {len(ANSWERED)} {len(ANSWERED)} funcref))
  (memory $batch (export "{MEMORY}") 1 1)
  (elem (i32.const 0) func
    $receive $get_blob $get_blob_text $receive_ws_push $send_ws_text $send_ws_push)

  ;; Whether a result of so many bytes may be written there.
  (func $fits (param $at i32) (param $size i32) (param $align i32) (result i32)
    (i32.and
      (i32.eqz (i32.and (local.get $at) (i32.sub (local.get $align) (i32.const 1))))
      (i64.le_u
        (i64.add (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $size)))
        (i64.shl (i64.extend_i32_u (memory.size $guest)) (i64.const 16)))))

  ;; The message in hand, if the batch has it and its blob is wanted by the guest itself; 0 if not.
  (func $current (result i32)
    (if (i32.load $batch (i32.const {ALLOCATING})) (then (return (i32.const 0))))
    (i32.load $batch (i32.const {CURRENT})))

  (func $receive (param $out i32) (result i32) (local $at i32)
    (if (i32.eqz (call $fits (local.get $out) (i32.const {size}) (i32.const {align})))
      (then (return (i32.const 0))))
    (if (i32.or
          (i32.eqz (i32.load $batch (i32.const {UNREAD})))
          (i32.load $batch (i32.const {ALLOCATING})))
      (then (return (i32.const 0))))
    (local.set $at (i32.load $batch (i32.const {NEXT})))
    (i32.store8 $guest offset={at_ok} (local.get $out) (i32.const {ok}))
    (i32.store8 $guest offset={at_message} (local.get $out) (i32.const {message}))
    (i32.store8 $guest offset={at_event} (local.get $out) (i32.const {event}))
    (i32.store $guest offset={at_channel} (local.get $out) (i32.load $batch offset={CHANNEL} (local.get $at)))
    (i32.store8 $guest offset={at_kind} (local.get $out) (i32.load $batch offset={KIND} (local.get $at)))
    {taken}
    (i32.const 1))

  (func $receive_ws_push (param $out i32) (result i32)
    (local $at i32) (local $size i32) (local $address i32) (local $payload i32)
    (if (i32.eqz (call $fits (local.get $out) (i32.const 32) (i32.const 4))) (then (return (i32.const 0))))
    (if (i32.or
          (i32.eqz (i32.load $batch (i32.const {UNREAD})))
          (i32.load $batch (i32.const {ALLOCATING})))
      (then (return (i32.const 0))))
    (local.set $at (i32.load $batch (i32.const {NEXT})))
    (local.set $size (i32.load $batch offset={SIZE} (local.get $at)))
    (if (i32.or
          (i32.eqz (local.get $size))
          (i32.eqz (i32.or
            (i32.load $batch offset={KIND} (local.get $at))
            (i32.load $batch offset={IS_TEXT} (local.get $at)))))
      (then (return (i32.const 0))))
    {taken}
    {copied}
    ;; The text comes before the bytes, and one of them is there.
    (local.set $payload (i32.add (local.get $out)
      (i32.mul (i32.load $batch offset={KIND} (local.get $at)) (i32.const 12))))
    (i32.store8 $guest offset=8 (local.get $out) (i32.const 0))
    (i32.store8 $guest offset=20 (local.get $out) (i32.const 0))
    (i32.store8 $guest offset=8 (local.get $payload) (i32.const 1))
    (i32.store $guest offset=12 (local.get $payload) (local.get $address))
    (i32.store $guest offset=16 (local.get $payload) (local.get $size))
    (i32.store $guest offset=4 (local.get $out) (i32.load $batch offset={CHANNEL} (local.get $at)))
    (i32.store8 $guest (local.get $out) (i32.const 1))
    (i32.const 1))

  (func $get_blob (param $out i32) (result i32)
    (local $at i32) (local $size i32) (local $address i32)
    (if (i32.eqz (call $fits (local.get $out) (i32.const 24) (i32.const 4))) (then (return (i32.const 0))))
    (local.set $at (call $current))
    (if (i32.eqz (local.get $at)) (then (return (i32.const 0))))
    (local.set $size (i32.load $batch offset={SIZE} (local.get $at)))
    (if (i32.eqz (local.get $size)) (then (return (i32.const 0))))
    {counted}
    {copied}
    (i32.store $guest offset=16 (local.get $out) (local.get $address))
    (i32.store $guest offset=20 (local.get $out) (local.get $size))
    (i32.store8 $guest offset=4 (local.get $out) (i32.const 0))
    (i32.store8 $guest (local.get $out) (i32.const 1))
    (i32.const 1))

  (func $get_blob_text (param $out i32) (result i32)
    (local $at i32) (local $size i32) (local $address i32)
    (if (i32.eqz (call $fits (local.get $out) (i32.const 12) (i32.const 4))) (then (return (i32.const 0))))
    (local.set $at (call $current))
    (if (i32.eqz (local.get $at)) (then (return (i32.const 0))))
    (local.set $size (i32.load $batch offset={SIZE} (local.get $at)))
    (if (i32.eqz (i32.and
          (i32.ne (local.get $size) (i32.const 0))
          (i32.load $batch offset={IS_TEXT} (local.get $at))))
      (then (return (i32.const 0))))
    {counted}
    {copied}
    (i32.store $guest offset=4 (local.get $out) (local.get $address))
    (i32.store $guest offset=8 (local.get $out) (local.get $size))
    (i32.store8 $guest (local.get $out) (i32.const 1))
    (i32.const 1))

  ;; Note a message to the channel of the one in hand. The guest may be pre-empted once the payload is copied, too, and
  ;; the batch be closed: then the host has to be asked. What follows cannot be interrupted.
  (func $push (param $channel i32) (param $kind i32) (param $from i32) (param $size i32) (param $out i32)
    (result i32) (local $at i32) (local $left i32) (local $end i32)
    (local.set $at (i32.load $batch (i32.const {CURRENT})))
    (if (i32.or
          (i32.eqz (local.get $at))
          (i32.or
            (i32.load $batch (i32.const {ALLOCATING}))
            (i32.gt_u (local.get $size) (i32.load $batch (i32.const {MOST})))))
      (then (return (i32.const 0))))
    (if (i32.ne (local.get $channel) (i32.load $batch offset={CHANNEL} (local.get $at)))
      (then (return (i32.const 0))))
    (local.set $left (i32.sub
      (i32.load $batch (i32.load $batch offset={CREDIT_AT} (local.get $at)))
      (i32.add (local.get $size) (i32.load $batch (i32.const {COST})))))
    (local.set $end (i32.load $batch (i32.const {SENT_END})))
    (if (i32.or
          (i32.lt_s (local.get $left) (i32.const 0))
          (i32.gt_u
            (i32.add (local.get $end) (i32.add (local.get $size) (i32.const {SENT + 3})))
            (i32.load $batch (i32.const {SENT_LIMIT}))))
      (then (return (i32.const 0))))
    (memory.copy $batch $guest (i32.add (local.get $end) (i32.const {SENT})) (local.get $from) (local.get $size))
    (if (i32.ne (local.get $at) (i32.load $batch (i32.const {CURRENT}))) (then (return (i32.const 0))))
    (i32.store $batch offset=0 (local.get $end) (local.get $channel))
    (i32.store $batch offset=4 (local.get $end) (local.get $kind))
    (i32.store $batch offset=8 (local.get $end) (local.get $size))
    (i32.store $batch offset=12 (local.get $end) (i32.load $batch (i32.const {TAKEN})))
    (i32.store $batch (i32.const {SENT_END})
      (i32.and
        (i32.add (local.get $end) (i32.add (local.get $size) (i32.const {SENT + 3})))
        (i32.const -4)))
    (i32.store $batch (i32.load $batch offset={CREDIT_AT} (local.get $at)) (local.get $left))
    {counted}
    (i32.store8 $guest (local.get $out) (i32.const 0))
    (i32.const 1))

  ;; The host checks that it is UTF-8 when it carries it out.
  (func $send_ws_text (param $channel i32) (param $from i32) (param $size i32) (param $out i32) (result i32)
    (call $push (local.get $channel) (i32.const 0) (local.get $from) (local.get $size) (local.get $out)))

  (func $send_ws_push
    (param $node i32) (param $node_size i32) (param $channel i32) (param $kind i32)
    (param $has_mime i32) (param $mime i32) (param $mime_size i32) (param $from i32) (param $size i32)
    (param $out i32) (result i32) (local $at i32)
    (if (i32.or
          (i32.or
            (i32.gt_u (local.get $kind) (i32.const 1))
            (i32.gt_u (local.get $size) (i32.load $batch (i32.const {MOST}))))
          (i32.or
            (local.get $has_mime)
            (i32.ne (local.get $node_size) (i32.load $batch (i32.const {NODE_BYTES})))))
      (then (return (i32.const 0))))
    (block $same (loop $next
      (br_if $same (i32.ge_u (local.get $at) (local.get $node_size)))
      (if (i32.ne
            (i32.load8_u $guest (i32.add (local.get $node) (local.get $at)))
            (i32.load8_u $batch offset={NODE} (local.get $at)))
        (then (return (i32.const 0))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
    (if (i32.eqz (local.get $kind)) (then
      (if (i32.eqz (call $ascii (local.get $from) (local.get $size))) (then (return (i32.const 0))))))
    (call $push (local.get $channel) (local.get $kind) (local.get $from) (local.get $size) (local.get $out)))

  (func $ascii (param $from i32) (param $size i32) (result i32)
    (if (i32.eqz (call $fits (local.get $from) (local.get $size) (i32.const 1)))
      (then (return (i32.const 0))))
    (block $short (loop $next
      (br_if $short (i32.lt_u (local.get $size) (i32.const 16)))
      (if (i8x16.bitmask (v128.load $guest align=1 (local.get $from))) (then (return (i32.const 0))))
      (local.set $from (i32.add (local.get $from) (i32.const 16)))
      (local.set $size (i32.sub (local.get $size) (i32.const 16)))
      (br $next)))
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $size)))
      (if (i32.ge_u (i32.load8_u $guest (local.get $from)) (i32.const 128)) (then (return (i32.const 0))))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      (local.set $size (i32.sub (local.get $size) (i32.const 1)))
      (br $next)))
    (i32.const 1)))
""")
    )
