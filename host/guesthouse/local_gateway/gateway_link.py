"""What the node and a local gateway tell each other, beside the connections that they share. Pure but for the sockets.

Each message is a packet of its own. With `TakeClient` come two descriptors: the client's socket, and the gateway's end
of the way to the node. With `ConfigureGateway` may come those of a certificate.
"""

from __future__ import annotations

import os
import socket
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta, Struct

from guesthouse.core.errors import GuesthouseError

MOST_PACKET: Final = 16 * 1024
_PASSED: Final = 2

_Text: TypeAlias = Annotated[str, Meta(max_length=4096)]
_Number: TypeAlias = Annotated[int, Meta(ge=0, lt=2**53)]


class BadGatewayPacket(GuesthouseError):
    """What came from the other end is no message."""


class _Packet(Struct, frozen=True, array_like=True):
    """Base of all."""


class ConfigureGateway(_Packet, tag=0, frozen=True):
    """Settings, from now on. Times are seconds, sizes bytes."""

    tls: bool
    """Whether a certificate comes with it: one file of it and its key, or two."""
    handshake_seconds: float
    close_seconds: float
    ping_seconds: float
    pong_seconds: float
    message_bytes: int
    """Beyond which a message is refused whatever it is."""
    unfinished_bytes: int


class TakeClient(_Packet, tag=1, frozen=True):
    """A client has connected."""

    number: _Number
    secure: bool
    """Whether it speaks TLS."""


class PingGateway(_Packet, tag=2, frozen=True):
    """Whether the gateway still runs."""


class GatewayReady(_Packet, tag=0, frozen=True):
    """The gateway has taken the settings, and takes clients."""


class ClientHeard(_Packet, tag=1, frozen=True):
    """A client sends a message that is not whole yet."""

    number: _Number


class ClientCrowded(_Packet, tag=2, frozen=True):
    """All clients' messages that are not whole take too much memory, and this one's is to be given up."""

    number: _Number


class GatewayFault(_Packet, tag=3, frozen=True):
    """Something that the node should log."""

    text: _Text


class GatewayPong(_Packet, tag=4, frozen=True):
    """It does."""


ToLocalGateway: TypeAlias = ConfigureGateway | TakeClient | PingGateway
FromLocalGateway: TypeAlias = GatewayReady | ClientHeard | ClientCrowded | GatewayFault | GatewayPong

encode: Final = msgspec.msgpack.Encoder().encode
_from_gateway: Final = msgspec.msgpack.Decoder(FromLocalGateway)
_to_gateway: Final = msgspec.msgpack.Decoder(ToLocalGateway)


def read_packet(packet: bytes) -> FromLocalGateway:
    """A message of a gateway.

    Raises:
        BadGatewayPacket: it is none.
    """
    try:
        return _from_gateway.decode(packet)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadGatewayPacket(str(error)) from None


def receive(link: socket.socket) -> tuple[ToLocalGateway, list[int]] | None:
    """The next message of the node and the descriptors that came with it, which are the caller's to close; None at the
    end. Files for which there was no descriptor are missing.

    Raises:
        BlockingIOError: there is none yet.
        BadGatewayPacket: it is no message.
    """
    packet, descriptors, _, _ = socket.recv_fds(link, MOST_PACKET, _PASSED)
    for each in descriptors:
        os.set_inheritable(each, False)
    if not packet:
        return None
    try:
        message = _to_gateway.decode(packet)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadGatewayPacket(str(error)) from None
    return message, descriptors
