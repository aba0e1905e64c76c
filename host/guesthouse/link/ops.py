"""The operations on the link, one line each. See `docs/architecture.md` for who answers what.

`handle` is the number by which node and worker name one run of one process: a process that is
started again gets a new one, so nothing meant for the old run reaches the new. Channel ids are the
node's. Payloads are bytes; a message type is its number in `WsMessageType`.

Messages that carry capabilities (SEND, RESPOND; REQUEST, RESPONSE, SEND_FAILURE) have one field more, the last:
`[[issuer, params], …]`. Most carry none, and then it is left out.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

PROTOCOL_VERSION: Final = 1

MOST_ON_EXIT: Final = 64
"""Requests that a process may leave for its end."""


class ToWorker(IntEnum):
    """What the node tells a worker."""

    CONFIGURE = 0
    """`[op, version, {setting: value}]`: first frame, once. `components`: the only folder the worker is left
    to read; without it, it is not confined."""
    START = 1
    """`[op, handle, {our, component, on_exit, …limits}]`: run a process; answered by STARTED or EXITED. `connected` is
    there when the node reaches others."""
    STOP = 2
    """`[op, handle, reason]`: end a process; answered by EXITED."""
    OPEN = 3
    """`[op, handle, channel_id, path, source_addr, forwarded_for, url_params, query_params, resumed, credit,
    bound_path, subprotocol]`"""
    PUSH = 4
    """`[op, handle, channel_id, message_type, payload]`: the client sent a message."""
    CLOSE = 5
    """`[op, handle, channel_id]`: the client is gone; with the reason, as bytes, when it sent a close frame."""
    HTTP = 6
    """`[op, handle, http_id, method, url, bound_path, headers, url_params, query_params, source_addr, mime, body]`"""
    REQUEST = 7
    """`[op, handle, request_id, source, body, inherit, expects_response, metadata, mime, blob]`; request_id 0:
    no answer wanted; blob may be None."""
    RESPONSE = 8
    """`[op, handle, source, body, inherit, metadata, context, mime, blob, await_id]`; await_id > 0: answers that
    `send-and-await-response`."""
    SEND_FAILURE = 9
    """`[op, handle, kind, target, body, inherit, expects_response, metadata, context, mime, blob, await_id]`; with
    `not-authorised`, after the capabilities that were sent one field more: the `[issuer, params]` that was missing."""
    REPLY = 10
    """`[op, handle, call_id, value]`: the answer to a CALL."""
    CREDIT = 11
    """`[op, channel_id, bytes]`: so many more bytes may be pushed to the channel."""
    CHANNEL_GONE = 12
    """`[op, channel_id]`: the node closed the channel on its own account; no event for the process."""
    PING = 13
    """`[op]`: answered by PONG, or the worker is taken for dead."""
    FINISH = 14
    """`[op, handle, reason]`: end a process once it has taken all it was sent and asks for more; answered by EXITED."""


class ToNode(IntEnum):
    """What a worker tells the node."""

    READY = 0
    """`[op, version, os_pid]`: the worker checked its wasmtime and takes processes."""
    STARTED = 1
    """`[op, handle]`: the process asked for its first message: its start, with whatever it binds, is over."""
    EXITED = 2
    """`[op, handle, cause, detail]`: the process is no more; cause is one of `ExitCause`."""
    CONSUMED = 3
    """`[op, handle, count]`: the process took that many more of the messages sent to it (OPEN … SEND_FAILURE
    without await_id), in order."""
    PUSH = 4
    """`[op, handle, channel_id, message_type, payload]`"""
    PUSH_MANY = 5
    """`[op, handle, [channel_id, …], message_type, payload]`"""
    CLOSE_CHANNEL = 6
    """`[op, handle, channel_id, code, reason]`"""
    HTTP_RESPONSE = 7
    """`[op, handle, http_id, status, headers, mime, body]`; http_id 0 never appears."""
    SEND = 8
    """`[op, handle, target, body, inherit, expects_response, metadata, context, mime, blob, await_id, inherited_id]`.
    The inherited request is one between processes, or an HTTP request as `-http_id`."""
    RESPOND = 9
    """`[op, handle, request_id, body, inherit, metadata, mime, blob]`"""
    CALL = 10
    """`[op, handle, call_id, name, [argument, …]]`: a call that the node must answer with REPLY."""
    ON_EXIT = 11
    """`[op, handle, on_exit]`: "none", "restart" or a list of `[target, body, expects_response, mime, blob]`."""
    LOG = 12
    """`[op, handle, stream, level, text]`"""
    USAGE = 13
    """`[op, {handle: [cpu_seconds, …]}]`, with the fields of `link/usage.py`: sent each second while something
    changed, and once more with what came to rest."""
    PONG = 14
    """`[op]`: the answer to PING."""


class Call:
    """Names of the calls that a worker makes on behalf of a process, with arguments and reply."""

    GET_STATE: Final = "get-state"
    """`[]` → bytes or None; "storage" when it cannot be read"""
    SET_STATE: Final = "set-state"
    """`[bytes]` → None, "storage" or `["too-big", issuer, params]`"""
    CLEAR_STATE: Final = "clear-state"
    """`[]` → None or "storage" """
    BIND_WS: Final = "bind-ws-path"
    """`[path, authenticated, secure, extension, [subprotocol, …]]` → None, a `bind-error`, or that with what was
    missing: `["not-authorised", issuer, params]`"""
    UNBIND_WS: Final = "unbind-ws-path"
    """`[path]` → None"""
    BIND_HTTP: Final = "bind-http-path"
    """`[path, authenticated, local_only, secure, response_seconds | None, mime | None, static bytes | None]`
    → as BIND_WS"""
    SERVE_UI: Final = "serve-ui"
    """`[path, authenticated, local_only, secure]` → as BIND_WS"""
    SET_CHANNEL_POLICY: Final = "set-channel-policy"
    """`[channel_id, policy]` → None or "channel-not-found" """
    AWAIT_ROOM: Final = "await-room"
    """`[channel_id, bytes]` → None once the channel has credit for a payload of that size, or a `push-error`"""
    UNBIND_HTTP: Final = "unbind-http-path"
    """`[path]` → None"""
    SAVE_CAPABILITIES: Final = "save-capabilities"
    """`[[[issuer, params], …]]` → None"""
    DROP_CAPABILITIES: Final = "drop-capabilities"
    """`[[[issuer, params], …]]` → None"""
    OUR_CAPABILITIES: Final = "our-capabilities"
    """`[]` → `[[issuer, params], …]`"""
    SPAWN: Final = "spawn"
    """`[name | None, wasm_path, on_exit, [[issuer, params], …], [[process id, params], …], public]` → `[process id]`,
    or as BIND_WS a `spawn-error`"""


class ExitCause:
    """Why a process is no more."""

    RETURNED: Final = "returned"
    TRAP: Final = "trap"
    OUT_OF_TIME: Final = "out-of-time"
    OUT_OF_MEMORY: Final = "out-of-memory"
    STACK_OVERFLOW: Final = "stack-overflow"
    HOST_FAULT: Final = "host-fault"
    STOPPED: Final = "stopped"
    NOT_STARTED: Final = "not-started"
    """The component could not be instantiated; the detail says why."""
    WORKER_LOST: Final = "worker-lost"
    """Never on the link: the node's word for a process whose worker died."""
