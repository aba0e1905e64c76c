"""Ids by which tokens are revoked. An id names its token and is signed, so the node stores none of them. Pure."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable
from typing import Final, TypeAlias

from msgspec import Struct

_MAC_BYTES: Final = 16

Sign: TypeAlias = Callable[[bytes], bytes]


class IssuedFor(Struct, frozen=True):
    """What an id says of its token."""

    family: str
    ends: int
    process: str


def id_of(token: IssuedFor, sign: Sign) -> str:
    """The id of a token."""
    told = f"{token.family} {token.ends} {token.process}".encode()
    return f"{_text(told)}.{_text(sign(told)[:_MAC_BYTES])}"


def read_id(text: str, sign: Sign) -> IssuedFor | None:
    """What an id says; None if this node did not sign it, or signs with another key now."""
    told_text, _, mac_text = text.partition(".")
    try:
        told, mac = _bytes(told_text), _bytes(mac_text)
    except (binascii.Error, ValueError):
        return None
    if not hmac.compare_digest(mac, sign(told)[:_MAC_BYTES]):
        return None
    family, ends, process = told.decode().split(" ")
    return IssuedFor(family, int(ends), process)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
