"""permessage-deflate (RFC 7692). Pure.

`websockets` negotiates and decodes frames. This adds two things: the decompressor is freed when its context is no
longer needed, and data after a final DEFLATE block is decompressed, too.
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
"""Final blocks in one frame; each costs a new zlib stream."""


_SYNC_TAIL: Final = b"\x00\x00\xff\xff"
"""What a sender removes from the end of each message (RFC 7692, section 7.2.1)."""


class Inflater:
    """A DEFLATE stream that does not end with a final block.

    A sender may set BFINAL in any block, and more data may follow (RFC 7692, sections 7.2.1 and 7.2.3.4). zlib ends
    the stream there; a new one continues, with the output of the same call as its dictionary.

    Args:
        bits: window size, as a power of two.
    """

    __slots__ = ("_bits", "_stream", "unconsumed_tail")

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._stream: zlib._Decompress | None = None
        self.unconsumed_tail = b""
        """Input left over because the last call reached `max_length`."""

    def decompress(self, data: bytes, max_length: int = 0) -> bytes:
        """Decompress data into at most `max_length` bytes (0: no limit).

        Raises:
            zlib.error: the data is not valid DEFLATE or has too many final blocks.
        """
        stream = self._stream or zlib.decompressobj(-self._bits)
        output = stream.decompress(data, max_length)
        if stream.eof:
            stream, output = self._continue(stream, output, max_length)
        self._stream = stream
        self.unconsumed_tail = stream.unconsumed_tail
        if max_length and len(output) > max_length:
            output, self.unconsumed_tail = output[:max_length], output[max_length:]
        return output

    def _continue(
        self, stream: zlib._Decompress, output: bytes, max_length: int
    ) -> tuple[zlib._Decompress, bytes]:
        """Decompress what follows a final block. The output may exceed the limit by one byte."""
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
    """Compression of one connection, decompressing with `Inflater`."""

    def __init__(self, agreed: PerMessageDeflate, compress_settings: dict[str, int]) -> None:
        super().__init__(
            False,
            agreed.local_no_context_takeover,
            agreed.remote_max_window_bits,
            agreed.local_max_window_bits,
            compress_settings,
        )
        self._no_takeover = agreed.remote_no_context_takeover
        self._reset()

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Decompress a frame.

        Raises:
            ProtocolError: its payload is not valid DEFLATE data.
            PayloadTooBig: it decompresses to more than `max_size` bytes.
        """
        decoded = super().decode(frame, max_size=max_size)
        if self._no_takeover and frame.fin and frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._reset()
        return decoded

    def decompressed(self, payload: bytes, most: int) -> bytes | None:
        """Decompress the whole message of an unfragmented frame; None if it is over `most` bytes, after which nothing
        may be decompressed.

        Raises:
            zlib.error: it is not valid DEFLATE data.
        """
        # One byte more than allowed has room, so that no output is held back by the limit.
        message = self.decoder.decompress(payload + _SYNC_TAIL, most + 1)
        if len(message) > most:
            return None
        if self._no_takeover:
            self._reset()
        return message

    def _reset(self) -> None:
        self.decoder = Inflater(self.remote_max_window_bits)  # type: ignore[assignment] # has the methods used


class DeflateFactory(ServerPerMessageDeflateFactory):
    """Negotiates compression on the server's side."""

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        """Process a client's offer.

        Raises:
            NegotiationError: the offer is declined.
        """
        answer, agreed = super().process_request_params(params, accepted_extensions)
        return answer, Deflate(agreed, dict(self.compress_settings or {}))


DEFLATE: Final = DeflateFactory(
    server_no_context_takeover=True,
    server_max_window_bits=12,
    client_max_window_bits=12,
    compress_settings={"memLevel": 5},
)
"""Without server context takeover, one compressed frame can be sent to many clients."""
