"""Types of `wit/`, written by `python -m tests.contract_types`: do not edit."""

from __future__ import annotations

from typing import Final

from guesthouse.wasm.types import (
    BOOL,
    F64,
    S64,
    STRING,
    U8,
    U16,
    U32,
    U64,
    EnumOf,
    FunctionType,
    ListOf,
    OptionOf,
    RecordOf,
    ResultOf,
    TupleOf,
    VariantOf,
)

ATTRIBUTE_VALUE: Final = VariantOf((("text", STRING), ("integer", S64), ("number", F64), ("truth", BOOL)))
PROCESS_ID: Final = RecordOf((("process-name", STRING), ("package-name", STRING), ("publisher-node", STRING)))
ADDRESS: Final = RecordOf((("node", STRING), ("process", PROCESS_ID)))
JSON: Final = STRING
CONTEXT: Final = ListOf(U8)
LAZY_LOAD_BLOB: Final = RecordOf((("mime", OptionOf(STRING)), ("bytes", ListOf(U8))))
CAPABILITY: Final = RecordOf((("issuer", ADDRESS), ("params", JSON)))
REQUEST: Final = RecordOf(
    (
        ("inherit", BOOL),
        ("expects-response", OptionOf(U64)),
        ("body", ListOf(U8)),
        ("metadata", OptionOf(JSON)),
        ("capabilities", ListOf(CAPABILITY)),
    )
)
RESPONSE: Final = RecordOf(
    (
        ("inherit", BOOL),
        ("body", ListOf(U8)),
        ("metadata", OptionOf(JSON)),
        ("capabilities", ListOf(CAPABILITY)),
    )
)
INCOMING_REQUEST: Final = RecordOf((("source", ADDRESS), ("request", REQUEST)))
INCOMING_RESPONSE: Final = RecordOf(
    (("source", ADDRESS), ("response", RESPONSE), ("context", OptionOf(CONTEXT)))
)
SEND_ERROR_KIND: Final = EnumOf(("offline", "timeout", "no-such-process", "mailbox-full", "not-authorised"))
SEND_ERROR: Final = RecordOf(
    (
        ("kind", SEND_ERROR_KIND),
        ("target", ADDRESS),
        ("request", REQUEST),
        ("lazy-load-blob", OptionOf(LAZY_LOAD_BLOB)),
        ("missing", OptionOf(CAPABILITY)),
    )
)
SEND_FAILURE: Final = RecordOf((("error", SEND_ERROR), ("context", OptionOf(CONTEXT))))
ON_EXIT: Final = VariantOf(
    (
        ("none", None),
        ("restart", None),
        ("requests", ListOf(TupleOf((ADDRESS, REQUEST, OptionOf(LAZY_LOAD_BLOB))))),
    )
)
WS_MESSAGE_TYPE: Final = EnumOf(("text", "binary", "ping", "pong", "close"))
WEB_SOCKET_OPEN: Final = RecordOf(
    (
        ("path", STRING),
        ("channel-id", U32),
        ("source-socket-addr", OptionOf(STRING)),
        ("forwarded-for", OptionOf(STRING)),
        ("url-params", ListOf(TupleOf((STRING, STRING)))),
        ("query-params", ListOf(TupleOf((STRING, STRING)))),
        ("resumed", BOOL),
        ("subprotocol", OptionOf(STRING)),
    )
)
WEB_SOCKET_PUSH: Final = RecordOf((("channel-id", U32), ("message-type", WS_MESSAGE_TYPE)))
INCOMING_HTTP_REQUEST: Final = RecordOf(
    (
        ("source-socket-addr", OptionOf(STRING)),
        ("method", STRING),
        ("url", STRING),
        ("bound-path", STRING),
        ("headers", ListOf(TupleOf((STRING, STRING)))),
        ("url-params", ListOf(TupleOf((STRING, STRING)))),
        ("query-params", ListOf(TupleOf((STRING, STRING)))),
    )
)
HTTP_SERVER_REQUEST: Final = VariantOf(
    (
        ("web-socket-open", WEB_SOCKET_OPEN),
        ("web-socket-push", WEB_SOCKET_PUSH),
        ("web-socket-close", U32),
        ("http", INCOMING_HTTP_REQUEST),
    )
)
MESSAGE: Final = VariantOf(
    (("request", INCOMING_REQUEST), ("response", INCOMING_RESPONSE), ("http-server", HTTP_SERVER_REQUEST))
)
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
WS_BINDING: Final = RecordOf(
    (("authenticated", BOOL), ("secure", BOOL), ("extension", BOOL), ("subprotocols", ListOf(STRING)))
)
HTTP_BINDING: Final = RecordOf(
    (("authenticated", BOOL), ("local-only", BOOL), ("secure", BOOL), ("response-seconds", OptionOf(U32)))
)
BIND_ERROR: Final = VariantOf(
    (
        ("bad-path", None),
        ("too-many", None),
        ("no-subdomain", None),
        ("bad-subprotocol", None),
        ("no-ui", None),
        ("not-authorised", CAPABILITY),
    )
)
CHANNEL_POLICY: Final = EnumOf(("refuse", "wait", "drop-oldest", "close"))
CLOSE_ERROR: Final = EnumOf(("channel-not-found", "bad-code", "reason-too-long"))
SPAWN_ERROR: Final = VariantOf(
    (("name-taken", None), ("no-file-at-path", None), ("not-authorised", CAPABILITY), ("too-many", None))
)
VERBOSITY: Final = EnumOf(("error", "warning", "info", "debug"))
STATE_ERROR: Final = VariantOf((("too-big", CAPABILITY), ("storage", None)))

FUNCTIONS: Final[dict[str, dict[str, FunctionType]]] = {
    "guesthouse:process/tracing": {
        "traceparent": FunctionType((), OptionOf(STRING)),
        "start-span": FunctionType((("name", STRING),), U32),
        "end-span": FunctionType((("span", U32), ("error", OptionOf(STRING))), None),
        "set-attributes": FunctionType(
            (("span", U32), ("attributes", ListOf(TupleOf((STRING, ATTRIBUTE_VALUE))))), None
        ),
        "add-event": FunctionType(
            (("span", U32), ("name", STRING), ("attributes", ListOf(TupleOf((STRING, ATTRIBUTE_VALUE))))),
            None,
        ),
    },
    "guesthouse:process/capabilities": {
        "save": FunctionType((("capabilities", ListOf(CAPABILITY)),), None),
        "drop": FunctionType((("capabilities", ListOf(CAPABILITY)),), None),
        "ours": FunctionType((), ListOf(CAPABILITY)),
    },
    "guesthouse:process/http-server": {
        "send-ws-push": FunctionType(
            (
                ("node", STRING),
                ("channel-id", U32),
                ("message-type", WS_MESSAGE_TYPE),
                ("blob", LAZY_LOAD_BLOB),
            ),
            ResultOf(None, PUSH_ERROR),
        ),
        "send-ws-text": FunctionType((("channel-id", U32), ("text", STRING)), ResultOf(None, PUSH_ERROR)),
        "send-ws-push-many": FunctionType(
            (("channel-ids", ListOf(U32)), ("message-type", WS_MESSAGE_TYPE), ("blob", LAZY_LOAD_BLOB)),
            ListOf(TupleOf((U32, PUSH_ERROR))),
        ),
        "send-ws-text-many": FunctionType(
            (("channel-ids", ListOf(U32)), ("text", STRING)), ListOf(TupleOf((U32, PUSH_ERROR)))
        ),
        "send-ws-push-to-path": FunctionType(
            (("path", STRING), ("message-type", WS_MESSAGE_TYPE), ("blob", LAZY_LOAD_BLOB)),
            ListOf(TupleOf((U32, PUSH_ERROR))),
        ),
        "send-ws-text-to-path": FunctionType(
            (("path", STRING), ("text", STRING)), ListOf(TupleOf((U32, PUSH_ERROR)))
        ),
        "send-ws-push-waiting": FunctionType(
            (("channel-id", U32), ("message-type", WS_MESSAGE_TYPE), ("blob", LAZY_LOAD_BLOB)),
            ResultOf(None, PUSH_ERROR),
        ),
        "set-channel-policy": FunctionType(
            (("channel-id", U32), ("policy", CHANNEL_POLICY)), ResultOf(None, PUSH_ERROR)
        ),
        "send-ws-extension-push": FunctionType(
            (("channel-id", U32), ("blob", LAZY_LOAD_BLOB), ("response-seconds", OptionOf(U32))),
            ResultOf(OptionOf(LAZY_LOAD_BLOB), PUSH_ERROR),
        ),
        "close-channel": FunctionType(
            (("channel-id", U32), ("code", OptionOf(U16)), ("reason", STRING)), ResultOf(None, CLOSE_ERROR)
        ),
        "close-channels": FunctionType(
            (("channel-ids", ListOf(U32)), ("code", OptionOf(U16)), ("reason", STRING)),
            ListOf(TupleOf((U32, CLOSE_ERROR))),
        ),
        "channel-claims": FunctionType((("channel-id", U32),), OptionOf(STRING)),
        "http-request-claims": FunctionType((), OptionOf(STRING)),
        "bind-ws-path": FunctionType((("path", STRING), ("binding", WS_BINDING)), ResultOf(None, BIND_ERROR)),
        "unbind-ws-path": FunctionType((("path", STRING),), None),
        "bind-http-path": FunctionType(
            (("path", STRING), ("binding", HTTP_BINDING)), ResultOf(None, BIND_ERROR)
        ),
        "bind-http-static-path": FunctionType(
            (("path", STRING), ("binding", HTTP_BINDING), ("content", LAZY_LOAD_BLOB)),
            ResultOf(None, BIND_ERROR),
        ),
        "serve-ui": FunctionType((("path", STRING), ("binding", HTTP_BINDING)), ResultOf(None, BIND_ERROR)),
        "unbind-http-path": FunctionType((("path", STRING),), None),
        "send-http-response": FunctionType(
            (
                ("status", U16),
                ("headers", ListOf(TupleOf((STRING, STRING)))),
                ("body", OptionOf(LAZY_LOAD_BLOB)),
            ),
            None,
        ),
    },
    "guesthouse:process/messaging": {
        "receive": FunctionType((), ResultOf(MESSAGE, SEND_FAILURE)),
        "receive-ws-push": FunctionType((), OptionOf(TupleOf((U32, OptionOf(STRING), OptionOf(ListOf(U8)))))),
        "get-blob": FunctionType((), OptionOf(LAZY_LOAD_BLOB)),
        "get-blob-text": FunctionType((), OptionOf(STRING)),
        "has-blob": FunctionType((), BOOL),
        "last-blob": FunctionType((), OptionOf(LAZY_LOAD_BLOB)),
        "send-request": FunctionType(
            (
                ("target", ADDRESS),
                ("request", REQUEST),
                ("context", OptionOf(CONTEXT)),
                ("lazy-load-blob", OptionOf(LAZY_LOAD_BLOB)),
            ),
            None,
        ),
        "send-requests": FunctionType(
            (("requests", ListOf(TupleOf((ADDRESS, REQUEST, OptionOf(CONTEXT), OptionOf(LAZY_LOAD_BLOB))))),),
            None,
        ),
        "send-response": FunctionType(
            (("response", RESPONSE), ("lazy-load-blob", OptionOf(LAZY_LOAD_BLOB))), None
        ),
        "send-and-await-response": FunctionType(
            (("target", ADDRESS), ("request", REQUEST), ("lazy-load-blob", OptionOf(LAZY_LOAD_BLOB))),
            ResultOf(MESSAGE, SEND_ERROR),
        ),
    },
    "guesthouse:process/spawning": {
        "spawn": FunctionType(
            (
                ("name", OptionOf(STRING)),
                ("wasm-path", STRING),
                ("on-exit", ON_EXIT),
                ("request-capabilities", ListOf(CAPABILITY)),
                ("grant-capabilities", ListOf(PROCESS_ID)),
                ("public", BOOL),
            ),
            ResultOf(PROCESS_ID, SPAWN_ERROR),
        ),
    },
    "guesthouse:process/system": {
        "our": FunctionType((), ADDRESS),
        "print": FunctionType((("verbosity", VERBOSITY), ("text", STRING)), None),
        "get-state": FunctionType((), OptionOf(ListOf(U8))),
        "set-state": FunctionType((("bytes", ListOf(U8)),), ResultOf(None, STATE_ERROR)),
        "clear-state": FunctionType((), ResultOf(None, STATE_ERROR)),
        "get-on-exit": FunctionType((), ON_EXIT),
        "set-on-exit": FunctionType((("on-exit", ON_EXIT),), None),
    },
}
"""By interface, without its version, and name."""
