"""The node's end of a session without sockets: its own session and outbox, and a pipe in the place of a connection."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from tests.resume_client import escaped

from guesthouse.core.messages import WsMessageType
from guesthouse.http_server.channel.framing import frame
from guesthouse.http_server.channel.outbox import Policy
from guesthouse.http_server.sessions.control_messages import (
    ESCAPE,
    Acknowledge,
    Cadence,
    Control,
    Heartbeat,
    HeartbeatAnswer,
    Lost,
    Resume,
    Resumed,
    is_control,
    read_control,
    write_control,
)
from guesthouse.http_server.sessions.session import Session
from guesthouse.http_server.sessions.session_keys import SessionKeys, read_key
from guesthouse.http_server.websocket.resumable.retaining_outbox import RetainingOutbox

TEXT, BINARY = int(WsMessageType.TEXT), int(WsMessageType.BINARY)
WINDOW = 4000
CADENCE = Cadence(4, 2000, 5)


def sign(data: bytes) -> bytes:
    return bytes(each ^ 0x5A for each in data[:32].ljust(32, b"."))


class Pipe(asyncio.Transport):
    """A socket's way to the client: what is written arrives, in order, as much of it as the test lets through."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: deque[bytes] = deque()

    def write(self, data: Any) -> None:
        self.frames.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.frames))


def message_of(framed: bytes) -> str | bytes:
    """What a client reads from a frame of the node's."""
    payload = framed[2 if framed[1] < 126 else 4 :]
    return payload.decode() if framed[0] == 0x81 else payload


class NodeEnd:
    """The node's end, as `ResumableChannel` has it, with what its process got in the place of a process."""

    def __init__(self) -> None:
        self.session = Session(SessionKeys(sign), every=3)
        self.pipe = Pipe()
        self.outbox = RetainingOutbox(self, self.pipe, WINDOW, self.session.kept)
        self.outbox.set_policy(Policy.DROP_OLDEST)
        self.got: list[str | bytes] = []
        self.drops = 0

    def grant_credit(self, size: int) -> None:
        pass

    def too_slow(self) -> None:
        raise AssertionError

    def dropped(self) -> None:
        self.drops += 1

    def kept_changed(self) -> None:
        pass

    def push(self, message: str | bytes) -> None:
        if isinstance(message, str):
            data = escaped(message)
            assert isinstance(data, str)
            self.outbox.push(len(message), frame(TEXT, data.encode()))
        else:
            self.outbox.push(len(message), frame(BINARY, message))

    def take(self, message: str | bytes) -> None:
        session = self.session
        if isinstance(message, str) and message[:1].encode() == ESCAPE:
            data = message.encode()
            if is_control(data):
                self._take_control(read_control(data))
                return
            message = message[1:]
        session.received += 1
        self.got.append(message)
        if session.received == session.acknowledge_at:
            self.pipe.write(frame(TEXT, session.acknowledgement()))

    def _take_control(self, control: Control) -> None:
        session = self.session
        session.keys.confirm()
        match control:
            case Acknowledge(received):
                self.outbox.acknowledge(received)
            case Heartbeat(data):
                self.pipe.write(frame(TEXT, write_control(HeartbeatAnswer(data, session.told()))))
            case Lost(count):
                session.skip(count)
            case _:
                raise AssertionError(control)

    def cut(self) -> None:
        """The node notices that the socket is gone."""
        self.outbox.cut()
        self.session.cut()

    def resume(self, message: str | bytes) -> None:
        """The first message on another socket. Its answer is what that brings first."""
        self.cut()
        assert isinstance(message, str)
        control = read_control(message.encode())
        assert isinstance(control, Resume)
        shown = read_key(control.session, sign)
        assert shown is not None
        assert shown.genuine
        assert self.session.keys.fit(shown.secret)
        key = self.session.resume(control.received)
        answer = Resumed(1, key, self.session.told(), 60, 2**20, CADENCE)
        self.pipe = Pipe()
        self.pipe.write(frame(TEXT, write_control(answer)))
        self.outbox.attach(self.pipe, recode=False)
