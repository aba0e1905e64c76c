"""Records every event, for `GET /events`, and pushes what a client asks for in JSON.

`{"push": "Ping", "payload": HEX}` pushes to the client's own channel, or to `"channel"`; `"size"` adds so many
zeros. `{"sleep": SECONDS}` sleeps and answers "awake". `{"close": CODE, "reason": TEXT}` closes the channel.
Everything else is recorded only.
"""

from __future__ import annotations

import json
import time
from typing import Any, cast

from guesthouse_sdk import (
    Address,
    GuestError,
    Http,
    LazyLoadBlob,
    WebSocketClose,
    WebSocketOpen,
    WebSocketPush,
    WsMessageType,
    bind_http_path,
    bind_ws_path,
    close_channel,
    get_blob,
    receive,
    send_http_response,
    send_ws_push,
)

Event = dict[str, Any]


def opened(event: WebSocketOpen) -> Event:
    return {
        "event": "open",
        "channel": event.channel_id,
        "path": event.path,
        "resumed": event.resumed,
        "source": event.source_socket_addr,
        "url_params": dict(event.url_params),
        "query_params": dict(event.query_params),
    }


def pushed(our: Address, event: WebSocketPush) -> Event:
    blob = get_blob()
    payload = b"" if blob is None else blob.bytes
    try:
        obey(our, event, payload)
    except GuestError as error:
        text = LazyLoadBlob.from_text(type(error).__name__)
        send_ws_push(our.node, event.channel_id, WsMessageType.Text, text)
    return {
        "event": "push",
        "channel": event.channel_id,
        "type": event.message_type.value,
        "payload": payload.hex(),
    }


def obey(our: Address, event: WebSocketPush, payload: bytes) -> None:
    if event.message_type is not WsMessageType.Text or not payload.startswith(b"{"):
        return
    match json.loads(payload):
        case {"push": kind, **given}:
            more = cast(dict[str, Any], given)
            blob = LazyLoadBlob(None, bytes.fromhex(more.get("payload", "")) + bytes(more.get("size", 0)))
            send_ws_push(our.node, more.get("channel", event.channel_id), WsMessageType(kind), blob)
        case {"sleep": seconds}:
            time.sleep(seconds)
            send_ws_push(our.node, event.channel_id, WsMessageType.Text, LazyLoadBlob(None, b"awake"))
        case {"close": code, "reason": reason}:
            close_channel(event.channel_id, code, reason)


def main(our: Address) -> None:
    events: list[Event] = []
    bind_ws_path("/")
    bind_ws_path("/open", authenticated=False)
    bind_ws_path("/items/:id", authenticated=False)
    bind_http_path("/events")
    while True:
        match receive():
            case WebSocketOpen() as event:
                events.append(opened(event))
            case WebSocketPush() as event:
                events.append(pushed(our, event))
            case WebSocketClose(channel_id):
                events.append({"event": "close", "channel": channel_id})
            case Http():
                send_http_response(200, body=json.dumps(events), mime="application/json")
