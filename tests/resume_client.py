"""A client of `guesthouse.v1`, written from `docs/resume.md` alone: its state without I/O, and one on `websockets`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, Self

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

ESCAPE: Final = "\x10"
SUBPROTOCOL: Final = "guesthouse.v1"
AWAY: Final = 4100
SECONDS: Final = 20.0

Message = str | bytes


def control(**fields: object) -> str:
    """A control message."""
    return ESCAPE + json.dumps(fields)


def escaped(message: Message) -> Message:
    """A payload as it is sent."""
    return ESCAPE + message if isinstance(message, str) and message.startswith(ESCAPE) else message


class ClientSession:
    """What a client keeps of its session."""

    def __init__(self) -> None:
        self.key = ""
        self.channel_id = 0
        self.limits: dict[str, Any] = {}
        self.received = 0
        self.lost = 0
        self.acknowledged = 0
        """Of ours, by the node."""
        self.unacknowledged: deque[Message] = deque()
        self._told = 0

    @property
    def sent(self) -> int:
        return self.acknowledged + len(self.unacknowledged)

    def take(self, message: Message) -> Message | dict[str, Any]:
        """A message that came: a payload, or a control message, which is dealt with."""
        if not isinstance(message, str) or not message.startswith(ESCAPE):
            self.received += 1
            return message
        if message[1:2] == ESCAPE:
            self.received += 1
            return message[1:]
        fields: dict[str, Any] = json.loads(message[1:])
        self._take_control(fields)
        return fields

    def _take_control(self, fields: dict[str, Any]) -> None:
        if fields["type"] in ("opened", "resumed"):
            self.key, self.channel_id, self.limits = fields["session"], fields["channel_id"], fields
        if fields["type"] == "lost":
            self.received += fields["count"]
            self.lost += fields["count"]
        elif "received" in fields:
            assert self.acknowledged <= fields["received"] <= self.sent, fields
            while self.acknowledged < fields["received"]:
                self.unacknowledged.popleft()
                self.acknowledged += 1

    @property
    def owes(self) -> bool:
        """Whether it is to acknowledge by count."""
        return self.received - self._told >= int(self.limits["ack"]["messages"])

    def acknowledgement(self) -> str:
        self._told = self.received
        return control(type="ack", received=self.received)

    def resumption(self, **more: object) -> str:
        self._told = self.received
        return control(type="resume", session=self.key, received=self.received, **more)


class ResumableClient:
    """The same with a socket, which may be cut.

    Args:
        url: of the node, or of a bound path.
        register: the fields of a register message, for the register form.
        headers: of the upgrade request.
        compression: as of `websockets`.
        offers: subprotocols that it offers besides.
    """

    def __init__(
        self,
        url: str,
        *,
        register: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        compression: str | None = None,
        offers: tuple[str, ...] = (),
    ) -> None:
        self._url, self._register, self._headers = url, dict(register or {}), dict(headers or {})
        self.compression = compression
        self._offers = offers
        self.session = ClientSession()
        self.socket: ClientConnection | None = None
        self.controls: list[dict[str, Any]] = []
        self.acknowledged: list[int] = []
        """The counts of the node's acknowledgements that `hear` passed over."""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.socket is not None:
            await self.socket.close()

    async def connect(self) -> ClientConnection:
        """A socket on which nothing was said."""
        async with asyncio.timeout(SECONDS):
            opened = await connect(
                self._url,
                subprotocols=[Subprotocol(name) for name in (*self._offers, SUBPROTOCOL)],
                additional_headers=self._headers,
                compression=self.compression,
                ping_interval=None,
                max_size=2**24,
                proxy=None,
                close_timeout=SECONDS,
            )
        assert opened.subprotocol == SUBPROTOCOL
        return opened

    def moved(self, url: str) -> None:
        """The node is at another address now."""
        self._url = url

    async def open(self) -> dict[str, Any]:
        self.socket = await self.connect()
        await self.socket.send(control(type="open", **self._register))
        return await self._answer("opened")

    async def resume(self, key: str | None = None) -> dict[str, Any]:
        """Come back by another socket, and send what the node lacks."""
        if key is not None:
            self.session.key = key
        self.socket = await self.connect()
        token = {"auth_token": self._register["auth_token"]} if self._register else {}
        await self.socket.send(self.session.resumption(**token))
        answer = await self._answer("resumed")
        with contextlib.suppress(ConnectionClosed):  # what came before the close is still to be read
            for message in tuple(self.session.unacknowledged):
                await self.socket.send(escaped(message))
        return answer

    async def _answer(self, kind: str) -> dict[str, Any]:
        assert self.socket is not None
        async with asyncio.timeout(SECONDS):
            fields = self.session.take(await self.socket.recv())
        assert isinstance(fields, dict)
        assert fields["type"] == kind, fields
        return fields

    async def send(self, message: Message) -> None:
        """Send a payload; it waits for the next socket when this one is gone."""
        self.session.unacknowledged.append(message)
        if self.socket is not None:
            try:
                await self.socket.send(escaped(message))
            except ConnectionClosed:
                self.socket = None

    async def say(self, **fields: object) -> None:
        """Send a control message."""
        assert self.socket is not None
        await self.socket.send(control(**fields))

    async def receive(self) -> Message:
        """The next payload. Raises `ConnectionClosed` when the socket is gone."""
        while True:
            assert self.socket is not None
            async with asyncio.timeout(SECONDS):
                taken = self.session.take(await self.socket.recv())
            if isinstance(taken, dict):
                self.controls.append(taken)
                continue
            if self.session.owes:
                await self.socket.send(self.session.acknowledgement())
            return taken

    async def hear(self, kind: str) -> dict[str, Any]:
        """The next control message of a kind; payloads before it are not expected."""
        assert self.socket is not None
        while True:
            async with asyncio.timeout(SECONDS):
                fields = self.session.take(await self.socket.recv())
            assert isinstance(fields, dict), fields
            if fields["type"] == kind:
                return fields
            if fields["type"] == "ack":
                self.acknowledged.append(fields["received"])

    async def closed(self) -> tuple[int, str]:
        """Read to the end: how the node closed."""
        assert self.socket is not None
        with pytest.raises(ConnectionClosed) as end:
            await asyncio.wait_for(self._read_all(self.socket), SECONDS)
        assert end.value.rcvd is not None, "the connection ended without a close frame"
        return end.value.rcvd.code, end.value.rcvd.reason

    async def _read_all(self, opened: ClientConnection) -> None:
        while True:
            self.session.take(await opened.recv())

    def cut(self) -> None:
        """Reset the TCP connection: what is under way is lost."""
        if self.socket is not None:
            transport = self.socket.transport
            raw = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
            self.socket = None
