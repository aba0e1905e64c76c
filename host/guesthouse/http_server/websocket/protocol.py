"""`websockets`' server protocol, which ends connections with the codes and reasons of `closes`. Pure."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from typing import Final

from websockets.extensions import ServerExtensionFactory
from websockets.frames import CloseCode, Frame, Opcode
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

from guesthouse.http_server.close_codes import PROTOCOL_ERROR, REASON_NOT_UTF8, REGISTER_TOO_BIG, Close

MAX_HEAD: Final = 64 * 1024
"""Bytes of a request line and its headers."""


class _Lines(StreamReader):
    """Reads lines as long as a whole head, which `HttpConnection` has limited; `websockets` stops at 8 KiB."""

    def read_line(
        self, m: int, too_long_exc_type: type[Exception] = RuntimeError
    ) -> Generator[None, None, bytearray]:
        """As the base class, with another limit."""
        return (yield from super().read_line(max(m, MAX_HEAD), too_long_exc_type))


class Protocol(ServerProtocol):
    """A protocol that says what `docs/protocol.md` says, whoever finds the fault.

    Args:
        extensions: that may be agreed on.
        logger: of the library.
    """

    too_big: Close = REGISTER_TOO_BIG
    """The close for a message over the limit. Another one once the channel is open."""

    def __init__(self, *, extensions: Sequence[ServerExtensionFactory], logger: logging.Logger) -> None:
        super().__init__(extensions=extensions, logger=logger)
        self.reader = _Lines()
        self.forget_request()

    def forget_request(self) -> None:
        """The connection is open: let go of the request, which the parser that read it would keep as long."""
        self.parser = self.parse()
        next(self.parser)

    def recv_frame(self, frame: Frame) -> None:
        """Take a frame. A close frame may come within a message (RFC 6455, section 5.4), which then has no end."""
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)

    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        """End the connection for what `websockets` found wrong with a frame."""
        if code == CloseCode.PROTOCOL_ERROR:
            self.fail_with(PROTOCOL_ERROR.because(reason) if reason else PROTOCOL_ERROR)
        elif code == CloseCode.INVALID_DATA:
            self.fail_with(REASON_NOT_UTF8)  # messages are decoded by the server
        elif code == CloseCode.MESSAGE_TOO_BIG:
            self.fail_with(self.too_big)
        else:
            super().fail(code, reason)

    def fail_with(self, close: Close) -> None:
        """End the connection for what this server found."""
        super().fail(close.code, close.reason)
