"""The types of the Kinode OS's `process/standard`, by version, sharing the contract's where they are equal."""

from __future__ import annotations

from typing import Final

from guesthouse.wasm.types import (
    BOOL,
    STRING,
    U8,
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
from guesthouse.worker.served import contract
from guesthouse.worker.served.contract import (
    ADDRESS,
    CAPABILITY,
    CONTEXT,
    LAZY_LOAD_BLOB,
    ON_EXIT,
    PROCESS_ID,
    REQUEST,
    RESPONSE,
)

MESSAGE: Final = VariantOf((("request", REQUEST), ("response", TupleOf((RESPONSE, OptionOf(CONTEXT))))))
SEND_ERROR: Final = RecordOf(
    (
        ("kind", EnumOf(("offline", "timeout"))),
        ("target", ADDRESS),
        ("message", MESSAGE),
        ("lazy-load-blob", OptionOf(LAZY_LOAD_BLOB)),
    )
)
_MESSAGE_FROM: Final = TupleOf((ADDRESS, MESSAGE))
_SHARED: Final = contract.FUNCTIONS["guesthouse:process/messaging"]


def _spawn(grants: WitType) -> FunctionType:
    return FunctionType(
        (
            ("name", OptionOf(STRING)),
            ("wasm-path", STRING),
            ("on-exit", ON_EXIT),
            ("request-capabilities", ListOf(CAPABILITY)),
            ("grant-capabilities", ListOf(grants)),
            ("public", BOOL),
        ),
        ResultOf(PROCESS_ID, EnumOf(("name-taken", "no-file-at-path"))),
    )


_CAPABILITIES: Final = FunctionType((("caps", ListOf(CAPABILITY)),), None)

_FUNCTIONS: Final[dict[str, FunctionType]] = {
    "print-to-terminal": FunctionType((("verbosity", U8), ("message", STRING)), None),
    "our": FunctionType((), ADDRESS),
    "get-on-exit": FunctionType((), ON_EXIT),
    "set-on-exit": FunctionType((("on-exit", ON_EXIT),), None),
    "get-state": FunctionType((), OptionOf(ListOf(U8))),
    "set-state": FunctionType((("bytes", ListOf(U8)),), None),
    "clear-state": FunctionType((), None),
    "save-capabilities": _CAPABILITIES,
    "drop-capabilities": _CAPABILITIES,
    "our-capabilities": FunctionType((), ListOf(CAPABILITY)),
    "spawn": _spawn(TupleOf((PROCESS_ID, STRING))),
    "receive": FunctionType((), ResultOf(_MESSAGE_FROM, TupleOf((SEND_ERROR, OptionOf(CONTEXT))))),
    "get-blob": _SHARED["get-blob"],
    "has-blob": _SHARED["has-blob"],
    "last-blob": _SHARED["last-blob"],
    "send-request": _SHARED["send-request"],
    "send-requests": _SHARED["send-requests"],
    "send-response": _SHARED["send-response"],
    "send-and-await-response": FunctionType(
        _SHARED["send-and-await-response"].params, ResultOf(_MESSAGE_FROM, SEND_ERROR)
    ),
}

BY_VERSION: Final[dict[str, dict[str, FunctionType]]] = {
    "0.7": {**_FUNCTIONS, "spawn": _spawn(PROCESS_ID)},
    "0.8": _FUNCTIONS,
    "1.0": _FUNCTIONS,
}
"""By version without the last number: `kinode:process` has all, `hyperware:process` the last."""
