"""The link as bytes, for tests that are one end of it: messages as lists `[number, field, …]`.

Written down a second time on purpose: a change of what is on the wire is a change here. Some fields are told apart
that the wire has in one: a call as name and arguments, a reply as its value, usage and settings as dictionaries.
Trailing fields that carry nothing are left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Final

import msgspec


class ToWorker(IntEnum):
    """Numbers of the messages to a worker."""

    CONFIGURE = 0
    START = 1
    STOP = 2
    OPEN = 3
    PUSH = 4
    CLOSE = 5
    HTTP = 6
    REQUEST = 7
    RESPONSE = 8
    SEND_FAILURE = 9
    REPLY = 10
    CREDIT = 11
    CHANNEL_GONE = 12
    PING = 13
    FINISH = 14
    PIECE = 15
    WHOLE = 16
    SET_CLOCK = 17
    TRACED_PUSH = 18
    TRACED_HTTP = 19
    TRACED_REQUEST = 20
    TRACED_RESPONSE = 21
    TRACED_SEND_FAILURE = 22
    PLACED = 23
    RELEASED = 24


class ToNode(IntEnum):
    """Numbers of the messages to the node."""

    READY = 0
    STARTED = 1
    EXITED = 2
    CONSUMED = 3
    PUSH = 4
    PUSH_MANY = 5
    CLOSE_CHANNEL = 6
    HTTP_RESPONSE = 7
    SEND = 8
    RESPOND = 9
    CALL = 10
    ON_EXIT = 11
    LOG = 12
    USAGE = 13
    PONG = 14
    PIECE = 15
    WHOLE = 16
    AT_REST = 17
    TRACED_PUSH = 18
    TRACED_PUSH_MANY = 19
    TRACED_HTTP_RESPONSE = 20
    TRACED_SEND = 21
    TRACED_RESPOND = 22
    TRACE_REPORT = 23
    PLACED = 24
    RELEASED = 25


class Call:
    """Names of the calls."""

    GET_STATE: Final = "get-state"
    SET_STATE: Final = "set-state"
    CLEAR_STATE: Final = "clear-state"
    BIND_WS: Final = "bind-ws-path"
    UNBIND_WS: Final = "unbind-ws-path"
    BIND_HTTP: Final = "bind-http-path"
    SERVE_UI: Final = "serve-ui"
    SET_CHANNEL_POLICY: Final = "set-channel-policy"
    AWAIT_ROOM: Final = "await-room"
    UNBIND_HTTP: Final = "unbind-http-path"
    SAVE_CAPABILITIES: Final = "save-capabilities"
    DROP_CAPABILITIES: Final = "drop-capabilities"
    OUR_CAPABILITIES: Final = "our-capabilities"
    SPAWN: Final = "spawn"


LIMITS: Final = (
    "memory_bytes",
    "table_elements",
    "cpu_seconds_per_message",
    "start_seconds",
    "cpu_share",
    "host_calls_per_second",
    "log_lines_per_second",
    "log_line_bytes",
    "wasi_handles",
    "message_bytes",
    "blob_bytes",
)
_HEADER: Final = 4


def frame(body: bytes, announced: int | None = None) -> bytes:
    """A frame of any bytes, whose header says what it likes."""
    return (len(body) if announced is None else announced).to_bytes(_HEADER, "little") + body


def to_worker(*messages: list[Any]) -> bytes:
    """One frame, as the node writes it."""
    return frame(msgspec.msgpack.encode([_to_worker(message) for message in messages]))


def to_node(*messages: list[Any]) -> bytes:
    """One frame, as a worker writes it."""
    return frame(msgspec.msgpack.encode([_to_node(message) for message in messages]))


def _to_worker(message: list[Any]) -> list[Any]:
    code, *fields = message
    if code == ToWorker.CONFIGURE:
        return [0, fields[0]]
    if code == ToWorker.START and fields[1:] and fields[1]:
        handle, said = fields
        limits = [said[name] for name in LIMITS]
        component = os.fsencode(said["component"])
        more = said.get("connected", False), said.get("traced", False)
        return [1, handle, said["our"], component, said["on_exit"], limits, *more]
    if code == ToWorker.REPLY and type(fields[2]) in (list, bytes):
        return [10, *fields[:2], _outcome(fields[2])]
    return [int(code), *fields]


def _outcome(value: list[Any] | bytes) -> list[Any]:
    if isinstance(value, bytes):
        return ["stored", value]
    if len(value) == 1 and type(value[0]) is str:
        return ["spawned", *value]
    if len(value) == 3 and type(value[0]) is str:
        return ["refused", value[0], value[1:]]
    return ["held", value]


def _to_node(message: list[Any]) -> list[Any]:
    code, *fields = message
    if code == ToNode.CALL and len(fields) == 4:
        handle, call_id, name, arguments = fields
        return [10, handle, call_id, [name, *arguments]]
    if code == ToNode.USAGE:
        return [13, [list(item) for item in fields[0].items()]]
    return [int(code), *fields]


_FIELDS: Final = {
    (False, 4): {"payload": 4},
    (False, 6): {"body": 11},
    (False, 7): {"body": 4, "blob": 9},
    (False, 8): {"body": 3, "context": 6, "blob": 8},
    (False, 9): {"body": 4, "context": 8, "blob": 10},
    (True, 4): {"payload": 4},
    (True, 5): {"payload": 4},
    (True, 7): {"body": 6},
    (True, 8): {"body": 3, "context": 7, "blob": 9},
    (True, 9): {"body": 3, "blob": 7},
}
"""Where the payloads of a message are, by whether it is a worker's and its number."""


class FrameReader:
    """Messages of a stream. Those that came in pieces are put together, and the pieces left out.

    Args:
        of_worker: whose messages they are.
        whole: False for the pieces as they are.
    """

    def __init__(self, *, of_worker: bool, whole: bool = True) -> None:
        self._buffer = bytearray()
        self._of_worker = of_worker
        self._puts_together = whole
        self._pieces: dict[str, bytes] = {}
        self._read = _from_worker if of_worker else _from_node

    def feed(self, data: bytes | bytearray) -> Iterator[list[Any]]:
        """Those that are whole now."""
        for messages in self.frames(data):
            yield from messages

    def frames(self, data: bytes | bytearray) -> Iterator[list[list[Any]]]:
        """The same, frame by frame."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _HEADER:
            end = _HEADER + int.from_bytes(buffer[:_HEADER], "little")
            if end > len(buffer):
                return
            body = bytes(buffer[_HEADER:end])
            del buffer[:end]
            messages = [self._joined(message) for message in msgspec.msgpack.decode(body)]
            yield [self._read(message) for message in messages if message]

    def _joined(self, message: list[Any]) -> list[Any]:
        """The message itself; for a piece nothing, and for the whole what it is of."""
        if not self._puts_together or message[0] not in (ToNode.PIECE, ToNode.WHOLE):
            return message
        if message[0] == ToNode.PIECE:
            _, _, field, size, data = message
            self._pieces[field] = self._pieces.get(field, b"") + data
            assert len(self._pieces[field]) <= size
            return []
        inner: list[Any] = message[2]
        for field, payload in self._pieces.items():
            if (self._of_worker and inner[0] == ToNode.CALL) or (
                not self._of_worker and inner[0] == ToWorker.REPLY
            ):
                inner[3][-1] = payload
            else:
                inner[_FIELDS[self._of_worker, inner[0]][field]] = payload
        self._pieces = {}
        return inner


def _from_worker(message: list[Any]) -> list[Any]:
    code, *fields = message
    if code == ToNode.CALL:
        name, *arguments = fields[2]
        return [code, *fields[:2], name, arguments]
    if code == ToNode.USAGE:
        return [code, dict(fields[0])]
    if code in (ToNode.SEND, ToNode.RESPOND) and not fields[-1]:
        return message[:-1]
    if code == ToNode.LOG and fields[-2:] == [0, 0]:
        return message[:-2]
    return message


def _from_node(message: list[Any]) -> list[Any]:
    code, *fields = message
    if code == ToWorker.START:
        handle, our, component, on_exit, limits, connected, traced = fields
        said = dict(zip(LIMITS, limits, strict=True))
        more = {"our": our, "component": os.fsdecode(component), "on_exit": on_exit, "connected": connected}
        more |= {"traced": True} if traced else {}
        return [code, handle, {**more, **said}]
    if code == ToWorker.REPLY and type(fields[2]) is list:
        kind, *said_ = fields[2]
        value = said_ if kind == "spawned" else [said_[0], *said_[-1]] if kind == "refused" else said_[0]
        return [code, *fields[:2], value]
    if code in (ToWorker.OPEN, ToWorker.HTTP, ToWorker.SEND_FAILURE, ToWorker.CLOSE) and fields[-1] is None:
        message = message[:-1]
    if code in (ToWorker.REQUEST, ToWorker.RESPONSE, ToWorker.SEND_FAILURE) and message[-1] == []:
        return message[:-1]
    return message
