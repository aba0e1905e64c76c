"""Whether an operation from a worker has the shape that `link/ops.py` gives it.

A worker runs untrusted code, so nothing it says is believed before it passed here: the number of
fields, the type of each, and the range of each number. Sizes are limited by the frame and judged by
whoever stores them. `type(x) is T` throughout: CBOR can carry values that only look like an `int`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from guesthouse.capabilities import MOST_NAMED
from guesthouse.link.frames import LinkError
from guesthouse.link.ops import MOST_ON_EXIT, ToNode
from guesthouse.message import WsMessageType

Check = Callable[[Any], bool]

_U16: Final = 2**16
_U32: Final = 2**32
_U64: Final = 2**64
_MESSAGE_TYPES: Final = len(WsMessageType)


def check(operation: list[Any]) -> None:
    """Return when `operation` is well formed.

    Raises:
        LinkError: it is not an operation that a worker sends, or a field is of the wrong shape.
    """
    code = operation[0]
    if code == _PUSH:
        if _is_push(operation):
            return
    elif code == _CONSUMED:
        if len(operation) == 3 and type(operation[1]) is int and type(operation[2]) is int:
            return
    else:
        fields = _FIELDS.get(code)
        if fields is None:
            raise LinkError(f"a worker sent operation {code}, which does not exist")
        if code in _WITH_CAPABILITIES and len(operation) == len(fields) + 2:
            fields = (*fields, _capabilities)
        if len(operation) == len(fields) + 1 and all(map(_passes, fields, operation[1:])):
            return
    raise LinkError(f"a worker sent a malformed {ToNode(code).name}")


def _is_push(operation: list[Any]) -> bool:
    if len(operation) != 5:
        return False
    _, handle, channel_id, message_type, payload = operation
    return (
        type(handle) is int
        and type(channel_id) is int
        and type(message_type) is int
        and 0 <= message_type < _MESSAGE_TYPES
        and type(payload) is bytes
    )


def _passes(field: Check, value: Any) -> bool:
    return field(value)


def _below(limit: int) -> Check:
    return lambda value: type(value) is int and 0 <= value < limit


def _optional(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list_of(check: Check, most: int | None = None) -> Check:
    if most is None:
        return lambda value: type(value) is list and all(map(check, value))
    return lambda value: type(value) is list and len(value) <= most and all(map(check, value))


def _record(*checks: Check) -> Check:
    return lambda value: (
        type(value) is list and len(value) == len(checks) and all(map(_passes, checks, value))
    )


def _text(value: Any) -> bool:
    return type(value) is str


def _bytes(value: Any) -> bool:
    return type(value) is bytes


def _bool(value: Any) -> bool:
    return type(value) is bool


def _any(value: Any) -> bool:
    return True


def _on_exit(value: Any) -> bool:
    return (type(value) is str and value in ("none", "restart")) or _on_exit_requests(value)


def _usage(value: Any) -> bool:
    return type(value) is dict and all(_u64(handle) and _usage_of_one(used) for handle, used in value.items())


def _seconds(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < _U64


def _inherited(value: Any) -> bool:
    return type(value) is int and -_U64 < value < _U64


_u16 = _below(_U16)
_u32 = _below(_U32)
_u64 = _below(_U64)
_message_type = _below(_MESSAGE_TYPES)
_pairs = _list_of(_record(_text, _text))
_maybe_text = _optional(_text)
_maybe_bytes = _optional(_bytes)
_maybe_seconds = _optional(_u64)
_usage_of_one = _record(_seconds, _u64, _seconds, _seconds, _u64, _u64, _seconds, _u64)
_on_exit_requests = _list_of(_record(_text, _bytes, _maybe_seconds, _maybe_text, _maybe_bytes), MOST_ON_EXIT)

_capabilities = _list_of(_record(_text, _text), MOST_NAMED)

_WITH_CAPABILITIES: Final = frozenset((int(ToNode.SEND), int(ToNode.RESPOND)))
_PUSH: Final = int(ToNode.PUSH)
_CONSUMED: Final = int(ToNode.CONSUMED)

_FIELDS: Final[dict[int, tuple[Check, ...]]] = {
    ToNode.READY: (_u32, _u32),
    ToNode.STARTED: (_u64,),
    ToNode.EXITED: (_u64, _text, _text),
    ToNode.PUSH_MANY: (_u64, _list_of(_u32), _message_type, _bytes),
    ToNode.CLOSE_CHANNEL: (_u64, _u32, _u16, _text),
    ToNode.HTTP_RESPONSE: (_u64, _u64, _u16, _pairs, _maybe_text, _bytes),
    ToNode.SEND: (
        _u64,
        _text,
        _bytes,
        _bool,
        _maybe_seconds,
        _maybe_text,
        _maybe_bytes,
        _maybe_text,
        _maybe_bytes,
        _u64,
        _inherited,
    ),
    ToNode.RESPOND: (_u64, _u64, _bytes, _bool, _maybe_text, _maybe_text, _maybe_bytes),
    ToNode.CALL: (_u64, _u64, _text, _list_of(_any)),
    ToNode.ON_EXIT: (_u64, _on_exit),
    ToNode.LOG: (_u64, _text, _text, _text),
    ToNode.USAGE: (_usage,),
    ToNode.PONG: (),
}

_CALL_ARGUMENTS: Final[dict[str, tuple[Check, ...]]] = {
    "get-state": (),
    "set-state": (_bytes,),
    "clear-state": (),
    "bind-ws-path": (_text, _bool, _bool, _bool, _list_of(_text)),
    "unbind-ws-path": (_text,),
    "bind-http-path": (_text, _bool, _bool, _bool, _optional(_u32), _maybe_text, _maybe_bytes),
    "serve-ui": (_text, _bool, _bool, _bool),
    "set-channel-policy": (_u32, _text),
    "await-room": (_u32, _u32),
    "unbind-http-path": (_text,),
    "save-capabilities": (_capabilities,),
    "drop-capabilities": (_capabilities,),
    "our-capabilities": (),
    "spawn": (_maybe_text, _text, _on_exit, _capabilities, _capabilities, _bool),
}


def check_call(name: str, arguments: list[Any]) -> None:
    """Return when a CALL of `name` takes these arguments.

    Raises:
        LinkError: there is no such call, or it takes other arguments.
    """
    fields = _CALL_ARGUMENTS.get(name)
    if fields is None:
        raise LinkError(f"a worker made the call {name[:40]!a}, which does not exist")
    if len(arguments) != len(fields) or not all(map(_passes, fields, arguments)):
        raise LinkError(f"a worker made a malformed call of {name}")
