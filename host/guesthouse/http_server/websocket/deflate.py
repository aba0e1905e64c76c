"""permessage-deflate (RFC 7692) as this node offers it. Pure.

`websockets` negotiates, and decodes frame by frame. Two things are done here: what a compressed message
costs in memory is kept no longer than it must be, and a message goes on after a final DEFLATE block.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.typing import ExtensionParameter

MAX_FINAL_BLOCKS: Final = 64
"""Final blocks in one frame: each makes a new zlib stream, so a client must not ask for thousands."""


class Inflater:
    """A DEFLATE stream that does not end with a final block.

    A sender may set BFINAL in any block, and what follows counts all the same (RFC 7692, sections 7.2.1
    and 7.2.3.4). zlib ends a stream there; a new one takes over, with what the same call gave as its window.

    Args:
        bits: the window.
    """

    __slots__ = ("_bits", "_stream", "unconsumed_tail")

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._stream: zlib._Decompress | None = None
        self.unconsumed_tail = b""
        """Not empty when there was more than the last call was to give."""

    def decompress(self, data: bytes, max_length: int = 0) -> bytes:
        """Give what the data stands for, at most `max_length` bytes of it (0: all).

        Raises:
            zlib.error: it is no DEFLATE data, or has too many final blocks.
        """
        stream = self._stream or zlib.decompressobj(-self._bits)
        output = stream.decompress(data, max_length)
        if stream.eof:
            stream, output = self._go_on(stream, output, max_length)
        self._stream = stream
        self.unconsumed_tail = stream.unconsumed_tail
        if max_length and len(output) > max_length:
            output, self.unconsumed_tail = output[:max_length], output[max_length:]
        return output

    def _go_on(
        self, stream: zlib._Decompress, output: bytes, max_length: int
    ) -> tuple[zlib._Decompress, bytes]:
        """Decompress what is behind a final block; the output may be over the limit by a byte."""
        window, count = 1 << self._bits, 0
        while stream.eof and not (max_length and len(output) > max_length):
            count += 1
            if count > MAX_FINAL_BLOCKS:
                raise zlib.error("too many final blocks")
            rest = stream.unused_data
            stream = zlib.decompressobj(-self._bits, zdict=output[-window:])
            output += stream.decompress(rest, max(max_length - len(output), 1) if max_length else 0)
        return stream, output


class Deflate(PerMessageDeflate):
    """One connection's compression: received messages are decompressed by an `Inflater`."""

    def __init__(self, agreed: PerMessageDeflate, compress_settings: dict[str, int]) -> None:
        # The library's own decoder would be a zlib stream, new for each message or not.
        super().__init__(
            False,
            agreed.local_no_context_takeover,
            agreed.remote_max_window_bits,
            agreed.local_max_window_bits,
            compress_settings,
        )
        self._forgets = agreed.remote_no_context_takeover
        self._forget()

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Decompress a frame.

        Raises:
            ProtocolError: it cannot be decompressed.
            PayloadTooBig: it would be larger than `max_size`.
        """
        decoded = super().decode(frame, max_size=max_size)
        if self._forgets and frame.fin and frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._forget()
        return decoded

    def _forget(self) -> None:
        self.decoder = Inflater(self.remote_max_window_bits)  # type: ignore[assignment] # what is used of zlib's


class DeflateFactory(ServerPerMessageDeflateFactory):
    """Negotiates compression for a server."""

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        """Answer an offer.

        Raises:
            NegotiationError: it is declined.
        """
        answer, agreed = super().process_request_params(params, accepted_extensions)
        return answer, Deflate(agreed, dict(self.compress_settings or {}))


DEFLATE: Final = DeflateFactory(
    server_no_context_takeover=True,
    server_max_window_bits=12,
    client_max_window_bits=12,
    compress_settings={"memLevel": 5},
)
"""Without a context of the server's own, one compressed frame serves many clients."""
