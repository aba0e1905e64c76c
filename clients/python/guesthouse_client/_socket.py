"""Opens WebSockets, and says in the words of this package what became of them."""

from __future__ import annotations

import json
import ssl
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxyStatus,
    InvalidStatus,
    NegotiationError,
)
from websockets.typing import Subprotocol

from ._control import SUBPROTOCOL
from ._encryption import OVERHEAD
from ._options import Options
from ._tokens import cookie_of
from .errors import (
    ChannelRefused,
    ConnectionLost,
    GuesthouseError,
    ProtocolViolated,
    error_of_close,
    error_of_status,
)


async def open_socket(options: Options, token: str | None) -> ClientConnection:
    """Open a WebSocket on which nothing has been said yet.

    Raises:
        GuesthouseError: it cannot be opened.
    """
    headers = dict(options.headers)
    if options.process is None and token is not None:
        cookies = [headers.pop("Cookie", ""), cookie_of(token)]
        headers["Cookie"] = "; ".join(filter(None, cookies))
    offers = [SUBPROTOCOL, *options.subprotocols]
    more: dict[str, Any] = {} if options.ssl is None else {"ssl": options.ssl}
    try:
        return await connect(
            options.url,
            subprotocols=[Subprotocol(name) for name in offers],
            additional_headers=headers,
            compression=options.compression,
            proxy=options.proxy,  # type: ignore[arg-type]  # False is None
            max_size=options.message_bytes + OVERHEAD,
            open_timeout=None,
            ping_interval=None,  # a socket that it gives up it closes with 1011, which ends the session
            close_timeout=options.close_seconds,
            **more,
        )
    except InvalidStatus as error:
        reason = bytes(error.response.body or b"").decode(errors="replace").strip()
        raise error_of_status(error.response.status_code, reason) from error
    except (InvalidProxyStatus, NegotiationError, ssl.SSLCertVerificationError) as error:
        raise ChannelRefused(f"the connection is not made: {error}") from error
    except (OSError, EOFError, InvalidHandshake) as error:
        raise ConnectionLost(f"no connection: {error}") from error


def error_of_end(closed: ConnectionClosed) -> GuesthouseError:
    """The error of a connection that is over."""
    received = closed.rcvd
    if received is not None and closed.rcvd_then_sent is not False:
        return error_of_close(received.code, received.reason)
    if closed.sent is not None and closed.sent.code in (1002, 1007, 1009):
        return ProtocolViolated(f"the node broke the protocol: {closed.sent.reason}", closed.sent.code)
    return ConnectionLost("the connection broke")


async def register(socket: ClientConnection, options: Options, token: str | None) -> int:
    """Open a plain channel on the root of a node. Returns its id.

    Raises:
        GuesthouseError: the node does not open it.
    """
    fields = {"auth_token": token, "target_process": options.process, "encrypted": options.encrypted}
    await socket.send(json.dumps(fields))
    try:
        return int(json.loads(await socket.recv())["channel_id"])
    except (ValueError, TypeError, LookupError):
        raise ProtocolViolated("the node's answer to the register message is none") from None
