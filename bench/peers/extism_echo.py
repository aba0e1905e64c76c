"""An extism plug-in that copies its input to its output, called from Python.

It copies by words through extism's own memory, as extism's C kit does.
"""

from __future__ import annotations

from time import thread_time
from typing import Final

import wasmtime
from extism import Plugin

_PLUGIN: Final = """(module
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u64" (func $input_load_u64 (param i64) (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (memory (export "memory") 512)
  (func $load (param $length i64) (local $at i64) (local $words i64)
    (local.set $words (i64.and (local.get $length) (i64.const -8)))
    (block $end (loop $more
      (br_if $end (i64.ge_u (local.get $at) (local.get $words)))
      (i64.store (i32.wrap_i64 (local.get $at)) (call $input_load_u64 (local.get $at)))
      (local.set $at (i64.add (local.get $at) (i64.const 8)))
      (br $more)))
    (block $end (loop $more
      (br_if $end (i64.ge_u (local.get $at) (local.get $length)))
      (i32.store8 (i32.wrap_i64 (local.get $at)) (call $input_load_u8 (local.get $at)))
      (local.set $at (i64.add (local.get $at) (i64.const 1)))
      (br $more))))
  (func $store (param $to i64) (param $length i64) (local $at i64) (local $words i64)
    (local.set $words (i64.and (local.get $length) (i64.const -8)))
    (block $end (loop $more
      (br_if $end (i64.ge_u (local.get $at) (local.get $words)))
      (call $store_u64 (i64.add (local.get $to) (local.get $at)) (i64.load (i32.wrap_i64 (local.get $at))))
      (local.set $at (i64.add (local.get $at) (i64.const 8)))
      (br $more)))
    (block $end (loop $more
      (br_if $end (i64.ge_u (local.get $at) (local.get $length)))
      (call $store_u8 (i64.add (local.get $to) (local.get $at)) (i32.load8_u (i32.wrap_i64 (local.get $at))))
      (local.set $at (i64.add (local.get $at) (i64.const 1)))
      (br $more))))
  (func (export "echo") (result i32) (local $length i64) (local $to i64)
    (local.set $length (call $input_length))
    (call $load (local.get $length))
    (local.set $to (call $alloc (local.get $length)))
    (call $store (local.get $to) (local.get $length))
    (call $output_set (local.get $to) (local.get $length))
    (i32.const 0)))"""


class ExtismEcho:
    """The plug-in, loaded."""

    def __init__(self) -> None:
        self._plugin = Plugin(bytes(wasmtime.wat2wasm(_PLUGIN)), wasi=False)

    def seconds_of(self, payload: bytes, text: bool, count: int) -> float:
        """Send a payload through `count` times; returns the CPU seconds. Text and bytes are the same to it."""
        call = self._plugin.call
        begin = thread_time()
        for _ in range(count):
            answer = call("echo", payload)
        seconds = thread_time() - begin
        if answer != payload:
            raise SystemExit("the extism plug-in returned something else than it was given")
        return seconds
