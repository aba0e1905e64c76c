"""Types of the WASI 0.2 functions that the host implements, the same in all versions, release candidates included.

Functions that are denied or trap do not convert arguments, so they have no types here.
"""

from __future__ import annotations

from typing import Final

from guesthouse.wasm.types import (
    BOOL,
    STRING,
    U8,
    U32,
    U64,
    EnumOf,
    FunctionType,
    Handle,
    ListOf,
    OptionOf,
    RecordOf,
    ResultOf,
    TupleOf,
    VariantOf,
    WitType,
)


def _own(name: str) -> Handle:
    return Handle(True, ("wasi", name))


def _borrow(name: str) -> Handle:
    return Handle(False, ("wasi", name))


def _takes(*params: WitType, gives: WitType | None = None) -> FunctionType:
    return FunctionType(tuple((f"parameter {number}", each) for number, each in enumerate(params, 1)), gives)


_BYTES: Final = ListOf(U8)
_FAILURE: Final = VariantOf((("last-operation-failed", _own("error")), ("closed", None)))
_DONE: Final = ResultOf(None, _FAILURE)
_DATETIME: Final = RecordOf((("seconds", U64), ("nanoseconds", U32)))
_IN: Final = _borrow("input-stream")
_OUT: Final = _borrow("output-stream")
_POLLABLE: Final = _own("pollable")
_READ: Final = _takes(_IN, U64, gives=ResultOf(_BYTES, _FAILURE))
_SKIPPED: Final = _takes(_IN, U64, gives=ResultOf(U64, _FAILURE))
_WRITE: Final = _takes(_OUT, _BYTES, gives=_DONE)
_FLUSHED: Final = _takes(_OUT, gives=_DONE)
_ZEROES: Final = _takes(_OUT, U64, gives=_DONE)
_RANDOM: Final = _takes(U64, gives=_BYTES)
_FILE_ERROR: Final = EnumOf(
    tuple(
        "access would-block already bad-descriptor busy deadlock quota exist file-too-large illegal-byte-sequence "  # noqa: SIM905 - reads as the list in WIT does
        "in-progress interrupted invalid io is-directory loop too-many-links message-size name-too-long no-device "
        "no-entry no-lock insufficient-memory insufficient-space not-directory not-empty not-recoverable unsupported "
        "no-tty no-such-device overflow not-permitted pipe read-only invalid-seek text-file-busy cross-device".split()
    )
)

FUNCTIONS: Final[dict[str, dict[str, FunctionType]]] = {
    "clocks/monotonic-clock": {
        "now": _takes(gives=U64),
        "resolution": _takes(gives=U64),
        "subscribe-instant": _takes(U64, gives=_POLLABLE),
        "subscribe-duration": _takes(U64, gives=_POLLABLE),
    },
    "clocks/wall-clock": {"now": _takes(gives=_DATETIME), "resolution": _takes(gives=_DATETIME)},
    "io/poll": {
        "poll": _takes(ListOf(_borrow("pollable")), gives=ListOf(U32)),
        "[method]pollable.ready": _takes(_borrow("pollable"), gives=BOOL),
        "[method]pollable.block": _takes(_borrow("pollable")),
    },
    "io/error": {"[method]error.to-debug-string": _takes(_borrow("error"), gives=STRING)},
    "io/streams": {
        "[method]input-stream.read": _READ,
        "[method]input-stream.blocking-read": _READ,
        "[method]input-stream.skip": _SKIPPED,
        "[method]input-stream.blocking-skip": _SKIPPED,
        "[method]input-stream.subscribe": _takes(_IN, gives=_POLLABLE),
        "[method]output-stream.check-write": _takes(_OUT, gives=ResultOf(U64, _FAILURE)),
        "[method]output-stream.write": _WRITE,
        "[method]output-stream.blocking-write-and-flush": _WRITE,
        "[method]output-stream.flush": _FLUSHED,
        "[method]output-stream.blocking-flush": _FLUSHED,
        "[method]output-stream.write-zeroes": _ZEROES,
        "[method]output-stream.blocking-write-zeroes-and-flush": _ZEROES,
        "[method]output-stream.subscribe": _takes(_OUT, gives=_POLLABLE),
    },
    "cli/environment": {
        "get-environment": _takes(gives=ListOf(TupleOf((STRING, STRING)))),
        "get-arguments": _takes(gives=ListOf(STRING)),
        "initial-cwd": _takes(gives=OptionOf(STRING)),
    },
    "cli/exit": {"exit": _takes(ResultOf(None, None)), "exit-with-code": _takes(U8)},
    "cli/stdin": {"get-stdin": _takes(gives=_own("input-stream"))},
    "cli/stdout": {"get-stdout": _takes(gives=_own("output-stream"))},
    "cli/stderr": {"get-stderr": _takes(gives=_own("output-stream"))},
    "cli/terminal-stdin": {"get-terminal-stdin": _takes(gives=OptionOf(_own("terminal-input")))},
    "cli/terminal-stdout": {"get-terminal-stdout": _takes(gives=OptionOf(_own("terminal-output")))},
    "cli/terminal-stderr": {"get-terminal-stderr": _takes(gives=OptionOf(_own("terminal-output")))},
    "random/random": {"get-random-bytes": _RANDOM, "get-random-u64": _takes(gives=U64)},
    "random/insecure": {"get-insecure-random-bytes": _RANDOM, "get-insecure-random-u64": _takes(gives=U64)},
    "random/insecure-seed": {"insecure-seed": _takes(gives=TupleOf((U64, U64)))},
    "filesystem/preopens": {"get-directories": _takes(gives=ListOf(TupleOf((_own("descriptor"), STRING))))},
    "filesystem/types": {"filesystem-error-code": _takes(_borrow("error"), gives=OptionOf(_FILE_ERROR))},
    "sockets/instance-network": {"instance-network": _takes(gives=_own("network"))},
}
"""By interface, without `wasi:` and its version, and name."""
