"""Imports of WASI 0.2 for tiny guests."""

from __future__ import annotations

from typing import Final

from .guests import Wasi

POLL: Final = Wasi(
    "wasi:io/poll@0.2.0",
    """(export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.ready" (func (param "self" (borrow $pollable)) (result bool)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))
    (type $borrows (list (borrow $pollable))) (type $numbers (list u32))
    (export "poll" (func (param "in" $borrows) (result $numbers)))""",
    {
        "[method]pollable.ready": "(param i32) (result i32)",
        "[method]pollable.block": "(param i32)",
        "poll": "(param i32 i32 i32)",
    },
    resources=("pollable",),
)
CLOCK: Final = Wasi(
    "wasi:clocks/monotonic-clock@0.2.0",
    """(export "now" (func (result u64)))
    (export "resolution" (func (result u64)))
    (export "subscribe-instant" (func (param "when" u64) (result (own $pollable))))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))""",
    {
        "now": "(result i64)",
        "resolution": "(result i64)",
        "subscribe-instant": "(param i64) (result i32)",
        "subscribe-duration": "(param i64) (result i32)",
    },
)
ERROR: Final = Wasi(
    "wasi:io/error@0.2.0",
    '(export "error" (type $error (sub resource)))',
    resources=("error",),
)
STREAMS: Final = Wasi(
    "wasi:io/streams@0.2.0",
    """(export "output-stream" (type $output-stream (sub resource)))
    (export "input-stream" (type $input-stream (sub resource)))
    (type $failure' (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $failure (eq $failure')))
    (type $done (result (error $failure))) (type $bytes (list u8)) (type $read (result $bytes (error $failure)))
    (type $room (result u64 (error $failure)))
    (export "[method]output-stream.check-write" (func (param "self" (borrow $output-stream)) (result $room)))
    (export "[method]output-stream.write"
      (func (param "self" (borrow $output-stream)) (param "contents" $bytes) (result $done)))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $output-stream)) (param "contents" $bytes) (result $done)))
    (export "[method]output-stream.write-zeroes"
      (func (param "self" (borrow $output-stream)) (param "len" u64) (result $done)))
    (export "[method]input-stream.read"
      (func (param "self" (borrow $input-stream)) (param "len" u64) (result $read)))""",
    {
        "[method]output-stream.check-write": "(param i32 i32)",
        "[method]output-stream.write": "(param i32 i32 i32 i32)",
        "[method]output-stream.blocking-write-and-flush": "(param i32 i32 i32 i32)",
        "[method]output-stream.write-zeroes": "(param i32 i64 i32)",
        "[method]input-stream.read": "(param i32 i64 i32)",
    },
    resources=("output-stream", "input-stream"),
)
STDOUT: Final = Wasi(
    "wasi:cli/stdout@0.2.0",
    '(export "get-stdout" (func (result (own $output-stream))))',
    {"get-stdout": "(result i32)"},
)
STDERR: Final = Wasi(
    "wasi:cli/stderr@0.2.0",
    '(export "get-stderr" (func (result (own $output-stream))))',
    {"get-stderr": "(result i32)"},
)
STDIN: Final = Wasi(
    "wasi:cli/stdin@0.2.0",
    '(export "get-stdin" (func (result (own $input-stream))))',
    {"get-stdin": "(result i32)"},
)
EXIT: Final = Wasi(
    "wasi:cli/exit@0.2.0",
    '(type $end (result)) (export "exit" (func (param "status" $end)))',
    {"exit": "(param i32)"},
)
RANDOM: Final = Wasi(
    "wasi:random/random@0.2.0",
    """(type $bytes (list u8))
    (export "get-random-bytes" (func (param "len" u64) (result $bytes)))
    (export "get-random-u64" (func (result u64)))""",
    {"get-random-bytes": "(param i64 i32)", "get-random-u64": "(result i64)"},
)
ENVIRONMENT: Final = Wasi(
    "wasi:cli/environment@0.2.0",
    """(type $pairs (list (tuple string string))) (type $words (list string)) (type $path (option string))
    (export "get-environment" (func (result $pairs)))
    (export "get-arguments" (func (result $words)))
    (export "initial-cwd" (func (result $path)))""",
    {"get-environment": "(param i32)", "get-arguments": "(param i32)", "initial-cwd": "(param i32)"},
)
PREOPENS: Final = Wasi(
    "wasi:filesystem/preopens@0.2.0",
    """(export "descriptor" (type $descriptor (sub resource)))
    (type $folders (list (tuple (own $descriptor) string)))
    (export "get-directories" (func (result $folders)))""",
    {"get-directories": "(param i32)"},
)
SOCKETS: Final = Wasi(
    "wasi:sockets/tcp-create-socket@0.2.0",
    """(export "tcp-socket" (type $socket (sub resource)))
    (type $code' (enum "unknown" "access-denied" "not-supported")) (export "error-code" (type $code (eq $code')))
    (type $family' (enum "ipv4" "ipv6")) (export "ip-address-family" (type $family (eq $family')))
    (type $made (result (own $socket) (error $code)))
    (export "create-tcp-socket" (func (param "address-family" $family) (result $made)))""",
    {"create-tcp-socket": "(param i32 i32)"},
)
WALL_CLOCK: Final = Wasi(
    "wasi:clocks/wall-clock@0.2.0",
    """(type $time' (record (field "seconds" u64) (field "nanoseconds" u32)))
    (export "datetime" (type $time (eq $time')))
    (export "now" (func (result $time)))""",
    {"now": "(param i32)"},
)
SLEEP: Final = (POLL, CLOCK)
OUTPUT: Final = (ERROR, STREAMS, STDOUT, STDERR)
