"""The WebSocket API's full handler example, in the low-level form and with its names.

Each channel may send a chat request as JSON, text or binary:

- `{"Send": {"target": NODE, "message": TEXT}}` archives the message and shows it to all channels; for another
  node it is sent to this process there.
- `"History"` asks for the archive.
"""

from __future__ import annotations

import json
import logging
from typing import Any, TypeAlias

from guesthouse_sdk import (
    HTTP_SERVER,
    Address,
    Http,
    HttpServerRequest,
    IncomingRequest,
    IncomingResponse,
    LazyLoadBlob,
    Message,
    PushError,
    Request,
    Response,
    SendError,
    WebSocketClose,
    WebSocketOpen,
    WebSocketPush,
    WsMessageType,
    bind_http_path,
    bind_ws_path,
    get_blob,
    receive,
    send_http_response,
    send_ws_push,
)

MessageArchive: TypeAlias = list[dict[str, str]]
"""What was said, oldest first: `{"author": NODE, "content": TEXT}`."""

MAX_ARCHIVE = 1000

log = logging.getLogger("seed-chat")


def handle_http_server_request(
    our: Address,
    message_archive: MessageArchive,
    source: Address,
    server_request: HttpServerRequest,
    channel_ids: set[int],
) -> None:
    """Handle what the HTTP server tells of: channels and their messages, HTTP requests."""
    match server_request:
        case WebSocketOpen(channel_id):
            channel_ids.add(channel_id)
        case WebSocketPush(channel_id):
            blob = get_blob()
            if blob is None:
                return
            handle_chat_request(our, message_archive, channel_ids, source, blob.bytes, channel_id)
        case WebSocketClose(channel_id):
            channel_ids.discard(channel_id)
        case Http("GET", _, "/messages"):
            send_http_response(200, body=json.dumps(message_archive), mime="application/json")
        case Http(method, _, bound_path):
            send_http_response(405, {"allow": "GET"}, f"{bound_path} does not know {method}\n")


def handle_chat_request(
    our: Address,
    message_archive: MessageArchive,
    channel_ids: set[int],
    source: Address,
    body: bytes,
    channel_id: int | None,
) -> None:
    """Handle a chat request from a channel, or without one from another process, which gets a response."""
    try:
        chat_request = json.loads(body)
    except (ValueError, RecursionError):
        return  # fail silently if it cannot be parsed
    match chat_request:
        case {"Send": {"target": target, "message": str(content)}} if target == our.node:
            archive(our, message_archive, channel_ids, source.node, content)
        case {"Send": {"target": str(target), "message": str(_)}}:
            Request().target(f"{target}@{our.process}").body(body).expects_response(5).send()
        case "History":
            history = {"History": message_archive}
            if channel_id is None:
                Response().body(json.dumps(history)).send()
            else:
                push_to_all(our, {channel_id}, history)
            return
        case _:
            return
    if channel_id is None:
        Response().body(json.dumps({"Ack": None})).send()


def archive(
    our: Address, message_archive: MessageArchive, channel_ids: set[int], author: str, content: str
) -> None:
    """Keep a message and show it to all channels."""
    message = {"author": author, "content": content}
    message_archive.append(message)
    del message_archive[:-MAX_ARCHIVE]
    push_to_all(our, channel_ids, {"NewMessage": message})


def push_to_all(our: Address, channel_ids: set[int], update: dict[str, Any]) -> None:
    """Push an update to every channel; one that cannot take it misses it."""
    blob = LazyLoadBlob("application/json", json.dumps(update).encode())
    for channel_id in sorted(channel_ids):
        try:
            send_ws_push(our.node, channel_id, WsMessageType.Text, blob)
        except PushError as error:
            log.warning("%s", error)


def handle_message(
    our: Address, message_archive: MessageArchive, message: Message, channel_ids: set[int]
) -> None:
    """Tell the kinds of message apart."""
    match message:
        case IncomingRequest(source, body):
            handle_chat_request(our, message_archive, channel_ids, source, body, None)
        case IncomingResponse(source):
            log.debug("%s has it", source)
        case _:
            source = Address(our.node, HTTP_SERVER)
            handle_http_server_request(our, message_archive, source, message, channel_ids)


def main(our: Address) -> None:
    message_archive: MessageArchive = []
    channel_ids: set[int] = set()
    bind_ws_path("/")
    bind_http_path("/messages")
    while True:
        try:
            handle_message(our, message_archive, receive(), channel_ids)
        except SendError as error:
            log.warning("%s", error)
