"""Pushes to extensions: typed calls that are sent as JSON requests to the HTTP server.

An extension may take any time to answer, so they wait in the node's table of requests, like all requests.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from guesthouse.core.address import HTTP_SERVER
from guesthouse.link.to_node import Send
from guesthouse.link.to_worker import Response, SendFailure
from guesthouse.wasm.engine.host_functions import PENDING
from guesthouse.wasm.values import Err, Ok
from guesthouse.worker.contract_messages import MessageEncoding, blob_value

if TYPE_CHECKING:
    from guesthouse.worker.guest import Guest

_TELL_SECONDS: Final = 60
"""For the node to confirm or refuse the push, which it does at once."""

_ERRORS: Final = {
    "WsChannelFull": "channel-full",
    "WsMessageTooBig": "too-big",
}
"""All others are `channel-not-found`."""


def send(guest: Guest, channel_id: int, blob: dict[str, Any], response_seconds: int | None) -> Any:
    """Send the request and block for its outcome."""
    if len(blob["bytes"]) > guest.limits.message_bytes:
        return Err("too-big")
    kind = "Request" if response_seconds is None else "Response"
    fields = {"channel_id": channel_id, "message_type": "Binary", "desired_reply_type": kind}
    body = json.dumps({"WebSocketExtPushOutgoing": fields}).encode()
    seconds = _TELL_SECONDS if response_seconds is None else response_seconds
    await_id = guest.await_response(_OUTCOME)
    target = f"{guest.node}@{HTTP_SERVER}"
    guest.tell(
        Send(
            guest.handle,
            target,
            body,
            expects_response=seconds,
            mime=blob["mime"],
            blob=blob["bytes"],
            await_id=await_id,
        )
    )
    return PENDING


def _answered(guest: Guest, response: Response) -> Ok | Err:
    if response.blob is not None:
        return Ok(blob_value(response.mime, response.blob))
    said = json.loads(response.body)
    return Err(_ERRORS.get(said["Err"], "channel-not-found")) if "Err" in said else Ok(None)


def _not_answered(guest: Guest, failure: SendFailure) -> Ok | Err:
    if failure.kind == "timeout":
        return Ok(None)
    return Err("channel-full" if failure.kind == "mailbox-full" else "channel-not-found")


_OUTCOME: Final[MessageEncoding[Guest]] = MessageEncoding(
    received={}, awaited={Response: _answered, SendFailure: _not_answered}
)
