"""A small echo server that can be made to break the rules, one by one: what the suite is tested with."""

from __future__ import annotations

import asyncio
import base64
import binascii
import codecs
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Flag, auto
from typing import Final, cast

from .frames import masked
from .opening import Target

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_LIMIT: Final = 1024 * 1024
_CODES: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})


class Fault(Flag):
    """A rule that the server breaks."""

    ANY_REQUEST = auto()
    """It upgrades whatever it is asked."""
    UNMASKED = auto()
    """It takes unmasked frames."""
    LONG_LENGTHS = auto()
    """It takes lengths in any form, and ignores the most significant bit."""
    WRONG_PONG = auto()
    """Its pongs have a payload of their own."""
    RESERVED_BITS = auto()
    """It ignores the reserved bits."""
    RESERVED_OPCODES = auto()
    """It passes over frames of reserved opcodes."""
    ANY_ORDER = auto()
    """It begins a message whenever it likes, and takes a continuation of nothing for one."""
    ANY_TEXT = auto()
    """It does not look whether text is UTF-8."""
    LATE_TEXT = auto()
    """It looks whether text is UTF-8 when the message is whole, and not before."""
    ANY_CODE = auto()
    """It answers every close frame with 1000."""
    NO_LIMIT = auto()
    """It waits for the payload, however large."""
    MASKS = auto()
    """It masks what it sends."""
    LOSES = auto()
    """It loses every seventh message."""
    STAYS = auto()
    """It leaves TCP open after the closing handshake."""


class _Fail(Exception):
    """The connection fails."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Refuse(Exception):
    """The request is not one to upgrade."""


class FaultyServer(asyncio.Protocol):
    """One connection of the server."""

    def __init__(self, faults: Fault) -> None:
        self._faults = faults
        self._transport: asyncio.Transport
        self._held = bytearray()
        self._upgraded = False
        self._deaf = False
        self._opcode = 0
        self._message = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """The client sent bytes."""
        if self._deaf:
            return
        self._held += data
        try:
            if not self._upgraded:
                self._upgrade()
            while self._upgraded and not self._deaf and self._frame():
                pass
        except _Refuse as refusal:
            self._transport.write(str(refusal).encode())
            self._stop()
        except _Fail as failure:
            self._send(8, failure.code.to_bytes(2, "big"))
            self._stop()

    def _stop(self) -> None:
        """Hear no more, but do not cut off a client that is still sending."""
        self._deaf = True
        if not self._faults & Fault.STAYS:
            self._transport.write_eof()

    # The handshake.

    def _upgrade(self) -> None:
        head, end, rest = bytes(self._held).partition(b"\r\n\r\n")
        if not end:
            return
        request, *lines = head.decode("latin-1").split("\r\n")
        headers: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers.setdefault(name.strip().lower(), []).append(value.strip())
        if not self._faults & Fault.ANY_REQUEST:
            _check_request(request, headers)
        key = "".join(headers.get("sec-websocket-key", [])).encode()
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self._upgraded, self._held = True, bytearray(rest)

    # Frames.

    def _frame(self) -> bool:
        held, faults = self._held, self._faults
        if len(held) < 2:
            return False
        first, second = held[0], held[1]
        opcode, fin = first & 0x0F, bool(first & 0x80)
        self._check_header(first, second)
        length, start = second & 0x7F, 2
        if length > 125:
            start = 4 if length == 126 else 10
            if len(held) < start:
                return False
            least, length = 126 if start == 4 else 65536, int.from_bytes(held[2:start], "big")
            if faults & Fault.LONG_LENGTHS:
                length &= 2**63 - 1
            elif length < least or length >> 63:
                raise _Fail(1002)
        if opcode < 8 and length + len(self._message) > _LIMIT and not faults & Fault.NO_LIMIT:
            raise _Fail(1009)
        key = b""
        if second & 0x80:
            key, start = bytes(held[start : start + 4]), start + 4
        if len(held) < start + length:
            return False
        payload = bytes(memoryview(held)[start : start + length])
        del held[: start + length]
        self._take(opcode, masked(payload, key) if key else payload, fin)
        return True

    def _check_header(self, first: int, second: int) -> None:
        faults, opcode = self._faults, first & 0x0F
        if first & 0x70 and not faults & Fault.RESERVED_BITS:
            raise _Fail(1002)
        if not second & 0x80 and not faults & Fault.UNMASKED:
            raise _Fail(1002)
        if opcode not in (0, 1, 2, 8, 9, 10):
            if not faults & Fault.RESERVED_OPCODES:
                raise _Fail(1002)
        elif opcode >= 8 and (not first & 0x80 or (second & 0x7F) > 125):
            raise _Fail(1002)

    def _take(self, opcode: int, payload: bytes, fin: bool) -> None:
        if opcode == 8:
            self._closed(payload)
        elif opcode == 9:
            self._send(10, b"pong" if self._faults & Fault.WRONG_PONG else payload)
        elif opcode in (0, 1, 2):
            self._data(opcode, payload, fin)

    def _data(self, opcode: int, payload: bytes, fin: bool) -> None:
        if (opcode == 0) != bool(self._opcode):
            if not self._faults & Fault.ANY_ORDER:
                raise _Fail(1002)
            opcode = opcode or 1
        if opcode:
            self._opcode, self._decoder = opcode, codecs.getincrementaldecoder("utf-8")()
            self._message.clear()
        self._message += payload
        if self._opcode == 1 and not self._faults & Fault.ANY_TEXT:
            self._check_text(payload, fin)
        if fin:
            message, self._message = bytes(self._message), bytearray()
            opcode, self._opcode = self._opcode, 0
            self._count += 1
            if not self._faults & Fault.LOSES or self._count % 7:
                self._send(opcode, message)

    def _check_text(self, payload: bytes, fin: bool) -> None:
        try:
            if not self._faults & Fault.LATE_TEXT:
                self._decoder.decode(payload, fin)
            elif fin:
                self._message.decode()
        except UnicodeDecodeError:
            raise _Fail(1007) from None

    def _closed(self, payload: bytes) -> None:
        if self._faults & Fault.ANY_CODE:
            payload = b"\x03\xe8"
        elif payload:
            if len(payload) == 1 or int.from_bytes(payload[:2], "big") not in _CODES:
                raise _Fail(1002)
            try:
                payload[2:].decode()
            except UnicodeDecodeError:
                raise _Fail(1007) from None
        self._send(8, payload[:2])
        self._stop()

    def _send(self, opcode: int, payload: bytes) -> None:
        if self._transport.is_closing():
            return
        size = len(payload)
        bit = 0x80 if self._faults & Fault.MASKS else 0
        if size < 126:
            header = bytes((0x80 | opcode, bit | size))
        elif size < 65536:
            header = bytes((0x80 | opcode, bit | 126)) + size.to_bytes(2, "big")
        else:
            header = bytes((0x80 | opcode, bit | 127)) + size.to_bytes(8, "big")
        self._transport.write(header + (bytes(4) if bit else b"") + payload)


def _check_request(request: str, headers: dict[str, list[str]]) -> None:
    def tokens(name: str) -> set[str]:
        return {token.strip().lower() for value in headers.get(name, []) for token in value.split(",")}

    if headers.get("sec-websocket-version") not in (None, ["13"]):
        raise _Refuse(
            "HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n"
        )
    good = request.startswith("GET ") and request.endswith(" HTTP/1.1")
    good = good and all(len(headers.get(name, [])) == 1 for name in ("host", "sec-websocket-version"))
    good = good and "websocket" in tokens("upgrade") and "upgrade" in tokens("connection")
    if not good or not _is_key(headers.get("sec-websocket-key", [])):
        raise _Refuse("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def _is_key(values: list[str]) -> bool:
    try:
        return len(values) == 1 and len(base64.b64decode(values[0], validate=True)) == 16
    except binascii.Error:
        return False


@asynccontextmanager
async def faulty_server(faults: Fault) -> AsyncIterator[Target]:
    """A server with these faults; it serves inside the block."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: FaultyServer(faults), "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield Target(host, port, max_message=_LIMIT)
