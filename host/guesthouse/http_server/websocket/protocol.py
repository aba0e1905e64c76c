"""`websockets`' sans-I/O server protocol, with the close codes and reasons of `close_codes`. Pure."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from operator import attrgetter
from typing import Final

from websockets.extensions import ServerExtensionFactory
from websockets.frames import CloseCode, Frame, Opcode
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

from guesthouse.http_server.close_codes import PROTOCOL_ERROR, REASON_NOT_UTF8, REGISTER_TOO_BIG, CloseReason

MAX_HEAD: Final = 64 * 1024
"""Maximum bytes of a request line and headers."""


class _Lines(StreamReader):
    """Allows lines of up to `MAX_HEAD` bytes, where `websockets` allows 8 KiB; `HttpConnection` limits the whole."""

    def read_line(
        self, m: int, too_long_exc_type: type[Exception] = RuntimeError
    ) -> Generator[None, None, bytearray]:
        """Read a line."""
        return (yield from super().read_line(max(m, MAX_HEAD), too_long_exc_type))


class Protocol(ServerProtocol):
    """Fails connections as documented in `docs/protocol.md`.

    Args:
        extensions: extensions to negotiate.
        logger: for the library's messages.
    """

    too_big: CloseReason = REGISTER_TOO_BIG
    """Close for a message over the size limit; replaced once the channel is open."""

    def __init__(self, *, extensions: Sequence[ServerExtensionFactory], logger: logging.Logger) -> None:
        super().__init__(extensions=extensions, logger=logger)
        self.reader = _Lines()
        self.forget_request()

    # Looked at for every frame: without a call of Python.
    state = property(attrgetter("_state"), ServerProtocol.state.fset)  # type: ignore[attr-defined]

    def forget_request(self) -> None:
        """Replace the parser that read the upgrade request and would keep it in memory."""
        self.parser = self.parse()
        next(self.parser)

    def recv_frame(self, frame: Frame) -> None:
        """Receive a frame. A close frame may interrupt a fragmented message (RFC 6455, section 5.4)."""
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)

    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        """Fail the connection for an error that `websockets` found."""
        if code == CloseCode.PROTOCOL_ERROR:
            self.fail_with(PROTOCOL_ERROR.because(reason) if reason else PROTOCOL_ERROR)
        elif code == CloseCode.INVALID_DATA:
            self.fail_with(REASON_NOT_UTF8)  # text messages are not decoded by `websockets`
        elif code == CloseCode.MESSAGE_TOO_BIG:
            self.fail_with(self.too_big)
        else:
            super().fail(code, reason)

    def fail_with(self, close: CloseReason) -> None:
        """Fail the connection for an error that this server found."""
        super().fail(close.code, close.reason)
