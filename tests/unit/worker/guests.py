"""Tiny guests of the world `process`, as WAT.

`process` writes the component around a core function: the imports it names, their lowering, a memory
and an allocator. What the function sees of the contract is in `contract.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from guesthouse.wasm.types import FunctionType

from ...boundary.components import MAX_FLAT, TypeWriter, core_types
from .contract import (
    ADDRESS,
    BLOB,
    FUNCTIONS,
    HTTP_SERVER,
    MESSAGE,
    OPEN,
    PUSH,
    RECEIVED,
    field_offset,
    payload_offset,
)

HEAP: Final = 131_072
"""Where the allocator begins, and begins again after `$reset`. Below it is the guest's own."""

LIBC: Final = f"""
  (core module $libc
    (memory (export "memory") 4)
    (global $next (mut i32) (i32.const {HEAP}))
    (func (export "reset") (global.set $next (i32.const {HEAP})))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
      (local $start i32) (local $end i32)
      (local.set $start (i32.and
        (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get 2))))
      (local.set $end (i32.add (local.get $start) (local.get 3)))
      (block $enough (loop $more
        (br_if $enough (i32.le_u (local.get $end) (i32.mul (memory.size) (i32.const 65536))))
        (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
        (br $more)))
      (global.set $next (local.get $end))
      (local.get $start)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "cabi_realloc" (core func $realloc))
"""


@dataclass(frozen=True, slots=True)
class Wasi:
    """An import of WASI: an interface, the exports it is expected to have, and their core signatures."""

    interface: str
    exports: str
    functions: dict[str, str] = field(default_factory=dict)
    resources: tuple[str, ...] = ()
    """Its resource types, of these names in WAT; `$drop-NAME` drops one."""


def process(
    calls: tuple[str, ...],
    body: str,
    more: str = "",
    wasi: tuple[Wasi, ...] = (),
    types: dict[str, FunctionType] | None = None,
    libc: str = LIBC,
) -> str:
    """A process as WAT.

    Args:
        calls: the contract's functions that it imports, such as `messaging.receive`; each is a core
            function of that name without the interface.
        body: what its run function does, with locals if it needs any.
        more: further fields of the core module.
        wasi: what it imports besides.
        types: other types than the contract's for some calls, for guests that lie.
        libc: another module of memory and allocator.
    """
    imports, lowered, core_imports, offered = [], [], [], []
    for number, (interface, names) in enumerate(_by_interface(calls).items()):
        writer = TypeWriter(prefix=f"i{number}-")
        exports = []
        for name in names:
            type_ = (types or {}).get(name) or FUNCTIONS[interface][name]
            exports.append(f'(export "{name}" (func {writer.signature(type_)}))')
            lowered.append(_lowered(f"$i{number}", name))
            core_imports.append(f'(import "host" "{name}" (func ${name} {_core_signature(type_)}))')
            offered.append(f'(export "{name}" (func ${name}))')
        lines = "\n    ".join([*writer.inside, *exports])
        imports.append(f'(import "guesthouse:process/{interface}@0.1.0" (instance $i{number}\n    {lines}))')
    for number, each in enumerate(wasi):
        imports.append(f'(import "{each.interface}" (instance $w{number} {each.exports}))')
        for name in each.resources:
            imports.append(f'(alias export $w{number} "{name}" (type ${name}))')
            lowered.append(f"(core func $drop-{name} (canon resource.drop ${name}))")
            core_imports.append(f'(import "host" "drop-{name}" (func $drop-{name} (param i32)))')
            offered.append(f'(export "drop-{name}" (func $drop-{name}))')
        for name, signature in each.functions.items():
            lowered.append(_lowered(f"$w{number}", name))
            core_imports.append(f'(import "host" "{name}" (func ${_plain(name)} {signature}))')
            offered.append(f'(export "{name}" (func ${_plain(name)}))')
    run = TypeWriter(prefix="run-")
    address = run.reference(ADDRESS)
    return f"""(component
  {chr(10).join(imports)}
  (import "guesthouse:process/types@0.1.0" (instance $host {" ".join(run.inside)}))
  {chr(10).join(run.outside)}
  {libc}
  {chr(10).join(lowered)}
  (core module $main
    (import "libc" "memory" (memory 0))
    (import "libc" "reset" (func $reset))
    {chr(10).join(core_imports)}
    {more}
    (func $run (export "run") (param i32 i32 i32 i32 i32 i32 i32 i32) {body}))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc)) (with "host" (instance {" ".join(offered)}))))
  (func $run (param "our" {address})
    (canon lift (core func $main "run") (memory $memory) (realloc $realloc)))
  (instance $guest (export "run" (func $run)))
  (export "guesthouse:process/guest@0.1.0" (instance $guest)))"""


def _by_interface(calls: tuple[str, ...]) -> dict[str, list[str]]:
    interfaces: dict[str, list[str]] = {}
    for call in calls:
        interface, _, name = call.partition(".")
        interfaces.setdefault(interface, []).append(name)
    return interfaces


def _lowered(instance: str, name: str) -> str:
    return f'(core func ${_plain(name)} (canon lower (func {instance} "{name}") (memory $memory) (realloc $realloc)))'


def _plain(name: str) -> str:
    """A function's name without what says that it is a method."""
    return name.removeprefix("[method]")


def _core_signature(type_: FunctionType) -> str:
    parameters = [core for _, param in type_.params for core in core_types(param)]
    if len(parameters) > MAX_FLAT:
        parameters = ["i32"]
    results = [] if type_.result is None else core_types(type_.result)
    if len(results) > 1:
        parameters, results = [*parameters, "i32"], []
    return f"(param {' '.join(parameters)}) (result {' '.join(results)})"


# Where `receive` puts things when it is given `RETURN`.

RETURN: Final = 1024
SCRATCH: Final = 4096
MESSAGE_AT: Final = RETURN + payload_offset(RECEIVED)
EVENT_AT: Final = MESSAGE_AT + payload_offset(MESSAGE)
EVENT_PAYLOAD_AT: Final = EVENT_AT + payload_offset(HTTP_SERVER)
PUSH_CHANNEL_AT: Final = EVENT_PAYLOAD_AT + field_offset(PUSH, "channel-id")
PUSH_TYPE_AT: Final = EVENT_PAYLOAD_AT + field_offset(PUSH, "message-type")
OPEN_CHANNEL_AT: Final = EVENT_PAYLOAD_AT + field_offset(OPEN, "channel-id")
BLOB_BYTES_AT: Final = field_offset(BLOB, "bytes")

IS_PUSH: Final = f"""(i32.and (i32.eqz (i32.load8_u (i32.const {RETURN}))) (i32.and
        (i32.eq (i32.load8_u (i32.const {MESSAGE_AT})) (i32.const 2))
        (i32.eq (i32.load8_u (i32.const {EVENT_AT})) (i32.const 1))))"""
RECEIVE: Final = f"(call $reset) (call $receive (i32.const {RETURN}))"
PUSH_CHANNEL: Final = f"(i32.load (i32.const {PUSH_CHANNEL_AT}))"
TEXT: Final = f"""(call $get-blob-text (i32.const {SCRATCH}))
        """
TEXT_AT: Final = f"(i32.load (i32.const {SCRATCH + 4})) (i32.load (i32.const {SCRATCH + 8}))"
"""Address and length of the text that `get-blob-text` put at `SCRATCH`."""

RECEIVE_FOR_EVER: Final = f"(loop {RECEIVE} (br 0))"

ECHO_CALLS: Final = ("messaging.receive", "messaging.get-blob-text", "http-server.send-ws-text")
ECHO: Final = process(
    ECHO_CALLS,
    f"""(loop $next {RECEIVE}
      (if {IS_PUSH} (then {TEXT}
        (call $send-ws-text {PUSH_CHANNEL} {TEXT_AT} (i32.const {SCRATCH + 64}))))
      (br $next))""",
)
"""Answers each text with itself."""

HOG: Final = process((), "(loop (br 0))")
"""Computes for ever."""

HOG_WHEN_SPOKEN_TO: Final = process(
    ("messaging.receive",), f"(loop $next {RECEIVE} (if {IS_PUSH} (then (loop (br 0)))) (br $next))"
)
"""Computes for ever once it gets a message."""

SLEEPER: Final = process(("messaging.receive",), RECEIVE_FOR_EVER)
"""Takes messages and answers none."""


def data(text: str, at: int) -> str:
    """A data segment with the UTF-8 of a text, for `more`."""
    encoded = "".join(f"\\{byte:02x}" for byte in text.encode())
    return f'(data (i32.const {at}) "{encoded}")'


def say_result(at: int) -> str:
    """Instructions that print `ok`, or `e` and the number of the error, of a result without payloads at an
    address. Needs `system.print` and `RESULT_NAMES`.
    """
    return f"""(call $print (i32.const 2) (if (result i32) (i32.load8_u (i32.const {at}))
        (then (i32.add (i32.const 602) (i32.mul (i32.const 2) (i32.load8_u (i32.const {at + 1})))))
        (else (i32.const 600))) (i32.const 2))"""


RESULT_NAMES: Final = data("oke0e1e2e3e4e5e6", 600)


def text_to(channel: int) -> str:
    """A process that pushes each text to a channel and prints the result."""
    return process(
        (*ECHO_CALLS, "system.print"),
        f"""(loop $next {RECEIVE}
      (if {IS_PUSH} (then {TEXT}
        (call $send-ws-text (i32.const {channel}) {TEXT_AT} (i32.const {SCRATCH + 64}))
        {say_result(SCRATCH + 64)}))
      (br $next))""",
        more=RESULT_NAMES,
    )
