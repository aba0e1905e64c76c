"""The contract of `wit/` as WIT types, and where their parts lie in a guest's memory."""

from __future__ import annotations

from typing import Final

from guesthouse.wasm.types import (
    BOOL,
    STRING,
    U8,
    U16,
    U32,
    U64,
    EnumOf,
    FlagsOf,
    FunctionType,
    ListOf,
    OptionOf,
    Primitive,
    RecordOf,
    ResultOf,
    TupleOf,
    VariantOf,
    WitType,
)

BYTES: Final = ListOf(U8)
PAIRS: Final = ListOf(TupleOf((STRING, STRING)))

PROCESS_ID: Final = RecordOf((("process-name", STRING), ("package-name", STRING), ("publisher-node", STRING)))
ADDRESS: Final = RecordOf((("node", STRING), ("process", PROCESS_ID)))
BLOB: Final = RecordOf((("mime", OptionOf(STRING)), ("bytes", BYTES)))
CAPABILITY: Final = RecordOf((("issuer", ADDRESS), ("params", STRING)))
REQUEST: Final = RecordOf(
    (
        ("inherit", BOOL),
        ("expects-response", OptionOf(U64)),
        ("body", BYTES),
        ("metadata", OptionOf(STRING)),
        ("capabilities", ListOf(CAPABILITY)),
    )
)
RESPONSE: Final = RecordOf(
    (
        ("inherit", BOOL),
        ("body", BYTES),
        ("metadata", OptionOf(STRING)),
        ("capabilities", ListOf(CAPABILITY)),
    )
)
MESSAGE_TYPE: Final = EnumOf(("text", "binary", "ping", "pong", "close"))
PUSH_ERROR: Final = EnumOf(
    (
        "channel-not-found",
        "channel-full",
        "ping-pong-too-long",
        "not-utf8",
        "too-big",
        "node-unreachable",
        "bad-close",
    )
)
OPEN: Final = RecordOf(
    (
        ("path", STRING),
        ("channel-id", U32),
        ("source-socket-addr", OptionOf(STRING)),
        ("forwarded-for", OptionOf(STRING)),
        ("url-params", PAIRS),
        ("query-params", PAIRS),
        ("resumed", BOOL),
        ("subprotocol", OptionOf(STRING)),
    )
)
PUSH: Final = RecordOf((("channel-id", U32), ("message-type", MESSAGE_TYPE)))
HTTP: Final = RecordOf(
    (
        ("source-socket-addr", OptionOf(STRING)),
        ("method", STRING),
        ("url", STRING),
        ("bound-path", STRING),
        ("headers", PAIRS),
        ("url-params", PAIRS),
        ("query-params", PAIRS),
    )
)
HTTP_SERVER: Final = VariantOf(
    (("web-socket-open", OPEN), ("web-socket-push", PUSH), ("web-socket-close", U32), ("http", HTTP))
)
INCOMING_REQUEST: Final = RecordOf((("source", ADDRESS), ("request", REQUEST)))
INCOMING_RESPONSE: Final = RecordOf(
    (("source", ADDRESS), ("response", RESPONSE), ("context", OptionOf(BYTES)))
)
MESSAGE: Final = VariantOf(
    (("request", INCOMING_REQUEST), ("response", INCOMING_RESPONSE), ("http-server", HTTP_SERVER))
)
ERROR_KIND: Final = EnumOf(("offline", "timeout", "no-such-process", "mailbox-full", "not-authorised"))
SEND_ERROR: Final = RecordOf(
    (("kind", ERROR_KIND), ("target", ADDRESS), ("request", REQUEST), ("lazy-load-blob", OptionOf(BLOB)))
)
SEND_FAILURE: Final = RecordOf((("error", SEND_ERROR), ("context", OptionOf(BYTES))))
RECEIVED: Final = ResultOf(MESSAGE, SEND_FAILURE)
AWAITED: Final = ResultOf(MESSAGE, SEND_ERROR)
ON_EXIT: Final = VariantOf(
    (
        ("none", None),
        ("restart", None),
        ("requests", ListOf(TupleOf((ADDRESS, REQUEST, OptionOf(BLOB))))),
    )
)
VERBOSITY: Final = EnumOf(("error", "warning", "info", "debug"))
HTTP_BINDING: Final = RecordOf((("authenticated", BOOL), ("local-only", BOOL)))
WS_BINDING: Final = RecordOf((("authenticated", BOOL),))
WS_MESSAGE: Final = TupleOf((U32, OptionOf(STRING), OptionOf(BYTES)))
BOUND: Final = ResultOf(None, EnumOf(("bad-path", "too-many")))
PUSHED: Final = ResultOf(None, PUSH_ERROR)
REFUSED: Final = ListOf(TupleOf((U32, PUSH_ERROR)))
STORED: Final = ResultOf(None, EnumOf(("too-big", "storage")))
CLOSE_ERROR: Final = EnumOf(("channel-not-found", "bad-code", "reason-too-long"))
CLOSED: Final = ResultOf(None, CLOSE_ERROR)
UNCLOSED: Final = ListOf(TupleOf((U32, CLOSE_ERROR)))


def _function(result: WitType | None, **params: WitType) -> FunctionType:
    return FunctionType(tuple((name.replace("_", "-"), type_) for name, type_ in params.items()), result)


FUNCTIONS: Final[dict[str, dict[str, FunctionType]]] = {
    "messaging": {
        "receive": _function(RECEIVED),
        "receive-ws-push": _function(OptionOf(WS_MESSAGE)),
        "get-blob": _function(OptionOf(BLOB)),
        "get-blob-text": _function(OptionOf(STRING)),
        "has-blob": _function(BOOL),
        "last-blob": _function(OptionOf(BLOB)),
        "send-request": _function(
            None, target=ADDRESS, request=REQUEST, context=OptionOf(BYTES), lazy_load_blob=OptionOf(BLOB)
        ),
        "send-response": _function(None, response=RESPONSE, lazy_load_blob=OptionOf(BLOB)),
        "send-and-await-response": _function(
            AWAITED, target=ADDRESS, request=REQUEST, lazy_load_blob=OptionOf(BLOB)
        ),
    },
    "http-server": {
        "send-ws-push": _function(PUSHED, node=STRING, channel_id=U32, message_type=MESSAGE_TYPE, blob=BLOB),
        "send-ws-text": _function(PUSHED, channel_id=U32, text=STRING),
        "send-ws-push-many": _function(
            REFUSED, channel_ids=ListOf(U32), message_type=MESSAGE_TYPE, blob=BLOB
        ),
        "send-ws-text-many": _function(REFUSED, channel_ids=ListOf(U32), text=STRING),
        "close-channel": _function(CLOSED, channel_id=U32, code=OptionOf(U16), reason=STRING),
        "close-channels": _function(UNCLOSED, channel_ids=ListOf(U32), code=OptionOf(U16), reason=STRING),
        "channel-claims": _function(OptionOf(STRING), channel_id=U32),
        "http-request-claims": _function(OptionOf(STRING)),
        "bind-ws-path": _function(BOUND, path=STRING, binding=WS_BINDING),
        "unbind-ws-path": _function(None, path=STRING),
        "bind-http-path": _function(BOUND, path=STRING, binding=HTTP_BINDING),
        "bind-http-static-path": _function(BOUND, path=STRING, binding=HTTP_BINDING, content=BLOB),
        "send-http-response": _function(None, status=U16, headers=PAIRS, body=OptionOf(BLOB)),
    },
    "system": {
        "our": _function(ADDRESS),
        "print": _function(None, verbosity=VERBOSITY, text=STRING),
        "get-state": _function(OptionOf(BYTES)),
        "set-state": _function(STORED, bytes=BYTES),
        "clear-state": _function(STORED),
        "get-on-exit": _function(ON_EXIT),
        "set-on-exit": _function(None, on_exit=ON_EXIT),
    },
}
"""The functions of the contract by interface, with the types of `wit/`."""

_SIZES: Final = {"bool": 1, "8": 1, "16": 2, "32": 4, "64": 8, "char": 4}


def size_and_alignment(type_: WitType) -> tuple[int, int]:
    """What a value takes of linear memory (the canonical ABI's `elem_size` and `alignment`)."""
    match type_:
        case Primitive("string") | ListOf():
            return 8, 4
        case Primitive(name):
            size = _SIZES[name] if name in _SIZES else _SIZES[name[1:]]
            return size, size
        case RecordOf(fields):
            return _in_a_row([field for _, field in fields])
        case TupleOf(elements):
            return _in_a_row(list(elements))
        case FlagsOf(names):
            size = 1 if len(names) <= 8 else 2 if len(names) <= 16 else 4
            return size, size
    payloads = [case for case in _cases(type_) if case is not None]
    alignment = max([1] + [size_and_alignment(case)[1] for case in payloads])
    end = payload_offset(type_) + max([0] + [size_and_alignment(case)[0] for case in payloads])
    return _aligned(end, alignment), alignment


def payload_offset(type_: WitType) -> int:
    """Where a variant, option or result with fewer than 257 cases keeps what its case carries."""
    return max([1] + [size_and_alignment(case)[1] for case in _cases(type_) if case is not None])


def field_offset(type_: RecordOf | TupleOf, field: str | int) -> int:
    """Where a record keeps a field, or a tuple an element."""
    elements = (
        list(type_.elements) if isinstance(type_, TupleOf) else [element for _, element in type_.fields]
    )
    index = field if isinstance(field, int) else [name for name, _ in type_.fields].index(field)  # type: ignore[union-attr]
    before, _ = _in_a_row(elements[:index], whole=False)
    return _aligned(before, size_and_alignment(elements[index])[1])


def _cases(type_: WitType) -> list[WitType | None]:
    match type_:
        case VariantOf(cases):
            return [payload for _, payload in cases]
        case EnumOf(names):
            return [None for _ in names]
        case OptionOf(some):
            return [None, some]
        case ResultOf(ok, err):
            return [ok, err]
    raise AssertionError(f"{type_} has no cases")


def _in_a_row(types: list[WitType], *, whole: bool = True) -> tuple[int, int]:
    end, alignment = 0, 1
    for type_ in types:
        size, own = size_and_alignment(type_)
        end, alignment = _aligned(end, own) + size, max(alignment, own)
    return (_aligned(end, alignment) if whole else end), alignment


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment
