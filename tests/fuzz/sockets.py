"""A whole node with a real guest, and clients that say anything to its sockets."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from guesthouse.core.config import ConnectionLimits, HttpSettings, ProcessLimits, Settings
from guesthouse.http_server.auth.credentials import set_password
from guesthouse.node.node import Node

from ..e2e.packages import package
from .catalogue import target

ECHO: Final = "echo-c:echo-c:guesthouse.os"
PASSWORD: Final = "correct horse"
_SECONDS: Final = 10.0
SILENCE: Final = 0.03
_LIMITS: Final = ConnectionLimits(
    message_bytes=65536, handshake_seconds=2.0, register_seconds=2.0, close_seconds=1.0
)


class Running:
    """A node on a thread of its own, from when it is made until `end`."""

    node: Node
    token: str

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="guesthouse-fuzz-"))
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), daemon=True)
        self._thread.start()
        assert self._ready.wait(60), "the node did not start"

    async def _live(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        settings = Settings(
            home=str(self._folder / "home"),
            node="fuzz-node.os",
            workers=1,
            http=HttpSettings(port=0),
            connections=_LIMITS,
            process=ProcessLimits(log_lines_per_second=20),
        )
        async with Node(settings, None) as self.node:
            set_password(self.node.home.path, PASSWORD)
            await self.node.add([await self.node.load(str(package("echo-c")))])
            self.token = self.node.http.issue_token(86400)
            self._ready.set()
            await self._stop.wait()

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def port(self) -> int:
        return self.node.http.port

    def errors(self) -> list[str]:
        """What it logged that a person would have to look at."""
        return [line.text for line in self.node.log.recent(10_000) if line.level == "error"]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=_SECONDS)


@cache
def node() -> Running:
    """The one node, started when it is first asked for."""
    return Running()


def end() -> None:
    """End the node, if there is one."""
    if node.cache_info().currsize:
        node().end()
        node.cache_clear()


def answer_to(client: socket.socket, *pieces: bytes, silence: float = SILENCE) -> bytes:
    """All that the node says to a client that says this, until it is silent for so long."""
    said = b""
    client.settimeout(_SECONDS)
    try:
        for piece in pieces:
            client.sendall(piece)
    except OSError:
        pass  # it was closed already, which may be right
    client.settimeout(silence)
    try:
        while piece := client.recv(65536):
            said += piece
    except (ConnectionResetError, TimeoutError):
        pass
    return said


def answer_to_request(data: bytes, silence: float = SILENCE) -> bytes:
    """What the node answers; `TOKEN`, `SECRET` and `PORT` stand for its own."""
    secret = (node().node.home.path / "local.secret").read_bytes().strip()
    own = data.replace(b"TOKEN", node().token.encode()).replace(b"PORT", b"%d" % node().port)
    with node().connect() as client:
        return answer_to(client, own.replace(b"SECRET", secret), silence=silence)


@target(80)
def http_request(data: bytes) -> None:
    """Whatever is sent, the answer is HTTP and blames the client; the node has nothing to log as an error."""
    said = answer_to_request(data)
    assert not said or said.startswith(b"HTTP/1.1 ")
    assert not said.startswith(b"HTTP/1.1 500"), said
    assert not node().errors()


def _upgraded(extensions: bytes) -> socket.socket:
    client = node().connect()
    client.sendall(
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" % node().port
        + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        + extensions
        + b"\r\n"
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    assert head.startswith(b"HTTP/1.1 101"), head
    return client


def _client_frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    head = bytes((first, 0x80 | size)) if size < 126 else bytes((first, 0xFE)) + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + payload


def _frames(said: bytes) -> Iterator[tuple[int, bytes]]:
    """The frames of a server, each checked (RFC 6455, 5.2); the last may be cut off."""
    at = 0
    while at + 2 <= len(said):
        first, size = said[at], said[at + 1]
        assert size < 128, "a server masks nothing"
        assert first & 0x0F in (1, 2, 8, 9, 10), hex(first)
        assert first & 0x80, "the node sends whole messages"
        at += 2
        if size >= 126:
            length = 2 if size == 126 else 8
            size = int.from_bytes(said[at : at + length], "big")
            at += length
        yield first, said[at : at + size]
        at += size


def echoed(data: bytes, extensions: bytes = b"", silence: float = SILENCE) -> list[tuple[int, bytes]]:
    """The frames that come back from a channel of the echo process."""
    register = json.dumps({"auth_token": node().token, "target_process": ECHO, "encrypted": False}).encode()
    with _upgraded(extensions) as client:
        return list(_frames(answer_to(client, _client_frame(0x81, register), data, silence=silence)))


def _talk(data: bytes, extensions: bytes) -> None:
    frames = echoed(data, extensions)
    closes = [payload for first, payload in frames if first == 0x88]
    assert len(closes) <= 1
    for payload in closes:
        assert len(payload) != 1
        payload[2:].decode()
    for _ in (payload.decode() for first, payload in frames if first == 0x81 and len(payload) < 1000):
        pass
    assert not node().errors()


@target(80)
def websocket(data: bytes) -> None:
    """Frames are echoed or refused by a close code; what comes back is what RFC 6455 lets a server send."""
    _talk(data, b"")


@target(80)
def websocket_deflate(data: bytes) -> None:
    """The same with permessage-deflate."""
    _talk(data, b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n")


@target(80)
def register_on_a_socket(data: bytes) -> None:
    """A first message that is none closes the socket by a documented code."""
    with _upgraded(b"") as client:
        said = answer_to(client, _client_frame(0x81, data[:65535]), _client_frame(0x88, b"\x03\xe8"))
    closes = [payload for first, payload in _frames(said) if first == 0x88]
    assert len(closes) <= 1
    for payload in closes:
        assert 1000 <= int.from_bytes(payload[:2], "big") < 5000
    assert not node().errors()


@target(80)
def control_request(data: bytes) -> None:
    """Every line is answered by lines of JSON, log queries too."""
    with socket.socket(socket.AF_UNIX) as client, node().node.home.control_address() as address:
        client.connect(address)
        said = answer_to(client, data + b"\n")
    for line in said.splitlines():
        assert json.loads(line).keys() <= {"item", "end", "error"}
    assert not node().errors()
