"""Recognises the upgrade of a connection whose messages a gateway will compress. Pure."""

from __future__ import annotations

import re
from typing import Final

from websockets.exceptions import InvalidHeaderFormat
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.headers import parse_extension

from guesthouse.http_server.channel.deflate import Deflate
from guesthouse.http_server.websocket.protocol import MAX_HEAD

HEAD_END: Final = b"\r\n\r\n"
_METHOD: Final = b"GET "
_WIDEST: Final = 15
_UPGRADE: Final = re.compile(rb"\r\nupgrade:[ \t]*websocket[ \t]*\r\n", re.IGNORECASE)
_OFFER: Final = re.compile(rb"\r\nsec-websocket-extensions:[^\r\n]*permessage-deflate", re.IGNORECASE)
_SWITCHED: Final = b"HTTP/1.1 101 "
_AGREED: Final = re.compile(rb"\r\nsec-websocket-extensions:[ \t]*([^\r\n]*)\r\n", re.IGNORECASE)


def may_begin_upgrade(head: bytes) -> bool:
    """Whether more of this may make it one that `offers_compression`."""
    return head[: len(_METHOD)] == _METHOD[: len(head)] and HEAD_END not in head and len(head) < MAX_HEAD


def offers_compression(head: bytes) -> bool:
    """Whether a connection begins with this, and it is a request to speak WebSocket with compression."""
    whole = head.find(HEAD_END) + len(HEAD_END)
    asked = head[:whole]
    return asked.startswith(_METHOD) and bool(_UPGRADE.search(asked) and _OFFER.search(asked))


def agreed(answer: bytes) -> tuple[Deflate, int] | None:
    """What the node has agreed to: how to decompress what the client sends, and the window for what it is sent.

    Args:
        answer: the head of the response.
    """
    found = _AGREED.search(answer) if answer.startswith(_SWITCHED) else None
    if found is None:
        return None
    try:
        extensions = parse_extension(found[1].decode("ascii", "replace"))
    except InvalidHeaderFormat:
        return None
    for name, parameters in extensions:
        if name == "permessage-deflate":
            given = dict(parameters)
            sent = int(given.get("server_max_window_bits") or _WIDEST)
            received = int(given.get("client_max_window_bits") or _WIDEST)
            negotiated = PerMessageDeflate("client_no_context_takeover" in given, True, received, sent)
            return Deflate(negotiated, {}), sent
    return None
