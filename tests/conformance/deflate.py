"""permessage-deflate (RFC 7692) from the client's side: offers, answers, compression. Pure."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

NAME: Final = "permessage-deflate"
TAIL: Final = b"\x00\x00\xff\xff"
"""What a sender cuts off the end of a compressed message, and a receiver puts back (section 7.2.1)."""

SERVER_TAKEOVER: Final = "server_no_context_takeover"
CLIENT_TAKEOVER: Final = "client_no_context_takeover"
SERVER_BITS: Final = "server_max_window_bits"
CLIENT_BITS: Final = "client_max_window_bits"

_BITS: Final = {str(bits): bits for bits in range(8, 16)}
_STEP: Final = 512

Parameters = tuple[tuple[str, str | None], ...]


class Violation(Exception):
    """The server did what the RFC forbids."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a server answered to an offer."""

    server_no_takeover: bool = False
    client_no_takeover: bool = False
    server_bits: int = 15
    client_bits: int = 15


def offer(
    *,
    server_no_takeover: bool = False,
    client_no_takeover: bool = False,
    server_bits: int | None = None,
    client_bits: int | bool = False,
) -> str:
    """An offer as a header's value. `client_bits` of True names the parameter without a value."""
    parts = [NAME]
    if server_no_takeover:
        parts.append(SERVER_TAKEOVER)
    if client_no_takeover:
        parts.append(CLIENT_TAKEOVER)
    if server_bits is not None:
        parts.append(f"{SERVER_BITS}={server_bits}")
    if client_bits is True:
        parts.append(CLIENT_BITS)
    elif client_bits:
        parts.append(f"{CLIENT_BITS}={client_bits}")
    return "; ".join(parts)


def parse(header: str) -> list[tuple[str, Parameters]]:
    """A header's extensions with their parameters, in order. No value in our offers has a comma in it."""
    found = []
    for extension in header.split(","):
        name, *rest = (part.strip() for part in extension.split(";"))
        parameters = []
        for part in rest:
            key, equals, value = part.partition("=")
            parameters.append((key.strip(), value.strip().strip('"') if equals else None))
        found.append((name, tuple(parameters)))
    return found


def read_answer(offered: str | None, answer: str | None) -> Agreed | None:
    """What the server agreed to; None when it declined.

    Raises:
        Violation: no valid offer allows this answer (RFC 6455, section 4.1; RFC 7692, sections 5.1 and 7.1).
    """
    if answer is None:
        return None
    extensions = parse(answer)
    if len(extensions) != 1 or extensions[0][0] != NAME:
        raise Violation(f"the server answered with extensions that were not offered: {answer}")
    parameters = _well_formed(extensions[0][1], answer=True)
    if parameters is None:
        raise Violation(f"the server's extension parameters are not in order: {answer}")
    if not any(_allows(known, parameters) for known in _valid_offers(offered)):
        raise Violation(f"the server answered {answer!r}, which the offer {offered!r} does not allow")
    return Agreed(
        SERVER_TAKEOVER in parameters,
        CLIENT_TAKEOVER in parameters,
        parameters.get(SERVER_BITS) or 15,
        parameters.get(CLIENT_BITS) or 15,
    )


def may_accept(offered: str | None) -> bool:
    """Whether there is anything in the offer that a server may accept."""
    return bool(_valid_offers(offered))


def _valid_offers(offered: str | None) -> list[dict[str, int | None]]:
    found = [
        _well_formed(parameters, answer=False) for name, parameters in parse(offered or "") if name == NAME
    ]
    return [parameters for parameters in found if parameters is not None]


def _well_formed(parameters: Parameters, *, answer: bool) -> dict[str, int | None] | None:
    """The parameters by name, or None when one of them is unknown, twice or out of range (section 7.1)."""
    found: dict[str, int | None] = {}
    for name, value in parameters:
        if name in found:
            return None
        if name in (SERVER_TAKEOVER, CLIENT_TAKEOVER):
            good = value is None
        elif name in (SERVER_BITS, CLIENT_BITS):
            good = value in _BITS or (value is None and name == CLIENT_BITS and not answer)
        else:
            good = False
        if not good:
            return None
        found[name] = None if value is None else _BITS[value]
    return found


def _allows(offered: dict[str, int | None], answered: dict[str, int | None]) -> bool:
    if SERVER_TAKEOVER in offered and SERVER_TAKEOVER not in answered:
        return False
    if SERVER_BITS in offered and (answered.get(SERVER_BITS) or 15) > (offered[SERVER_BITS] or 15):
        return False
    return CLIENT_BITS not in answered or (
        CLIENT_BITS in offered and (answered[CLIENT_BITS] or 15) <= (offered[CLIENT_BITS] or 15)
    )


class Deflater:
    """Compresses a client's messages, one after another, as agreed."""

    def __init__(self, agreed: Agreed, *, level: int = 6) -> None:
        self._agreed = agreed
        self._level = level
        self._encoder = self._new()

    def compress(self, payload: bytes) -> bytes:
        """A message's payload on the wire."""
        compressed = self._encoder.compress(payload) + self._encoder.flush(zlib.Z_SYNC_FLUSH)
        if self._agreed.client_no_takeover:
            self._encoder = self._new()
        return compressed.removesuffix(TAIL)

    def _new(self) -> zlib._Compress:
        bits = self._agreed.client_bits
        if bits == 8:  # zlib has no such window; without back references any window will do
            return zlib.compressobj(self._level, zlib.DEFLATED, -9, 8, zlib.Z_HUFFMAN_ONLY)
        return zlib.compressobj(self._level, zlib.DEFLATED, -bits)


class Inflater:
    """Decompresses a server's messages, and holds it to the window and the takeover that it agreed to."""

    def __init__(self, agreed: Agreed) -> None:
        self._agreed = agreed
        self._decoder = self._new()

    def decompress(self, compressed: bytes) -> bytes:
        """A message's payload.

        Raises:
            Violation: it is no DEFLATE data, or refers to what is not in the window.
        """
        try:
            payload = self._inflate(compressed + TAIL)
        except zlib.error as error:
            raise Violation(f"the server's compressed message does not decompress: {error}") from None
        if self._agreed.server_no_takeover or self._decoder.eof:
            self._decoder = self._new()
        return payload

    def _inflate(self, data: bytes) -> bytes:
        """In small steps: zlib looks at the window only for what is not in the output of the same call."""
        pieces = []
        while data:
            piece = self._decoder.decompress(data, _STEP)
            data = self._decoder.unconsumed_tail
            pieces.append(piece)
            if self._decoder.eof and self._decoder.unused_data:
                data, self._decoder = self._decoder.unused_data, self._new()
        while len(pieces[-1]) == _STEP:
            pieces.append(self._decoder.decompress(b"", _STEP))
        return b"".join(pieces)

    def _new(self) -> zlib._Decompress:
        return zlib.decompressobj(-self._agreed.server_bits)
