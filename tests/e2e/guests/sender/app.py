"""Sends bytes by every call of the contract that takes some: a request `["set-state", times, size]` says which."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from contextlib import suppress

from guesthouse_sdk import (
    HTTP_SERVER,
    Address,
    Channel,
    GuestError,
    Http,
    IncomingRequest,
    LazyLoadBlob,
    Process,
    Request,
    Response,
    WsMessageType,
    _wit,
    bind_http_path,
    bind_http_static_path,
    bind_ws_path,
    get_blob,
    send_http_response,
    send_ws_extension_push,
    send_ws_push,
    send_ws_push_many,
    send_ws_push_to_path,
    send_ws_push_waiting,
    set_on_exit,
    set_state,
    spawn,
)

BINARY = WsMessageType.Binary
NOBODY = 1
"""The number of no channel: bytes cross before the host looks whose it is."""


class Sender(Process):
    """Answers a client with what it sent; a request with the name of this run."""

    def on_start(self) -> None:
        self.run_id = uuid.uuid4().hex
        bind_ws_path("/", authenticated=False)
        bind_http_path("/page", authenticated=False)

    def on_message(self, channel: Channel, message: str | bytes) -> None:
        channel.send(message)

    def on_http(self, request: Http) -> None:
        size = int(request.query_params["size"])
        send_http_response(200, {"X-Run": self.run_id}, bytes(size))

    def on_request(self, source: Address, request: IncomingRequest) -> Response:
        if source.process.process_name == "sender":
            return Response().body(request.body).blob(get_blob())
        call, times, size = json.loads(request.body)
        send = CALLS.get(call)
        for _ in range(times if send else 0):
            with suppress(GuestError):  # refused or not, the bytes have crossed
                assert send is not None
                send(self.our, bytes(size))
        return Response().body(json.dumps(self.run_id))


def _request(our: Address, payload: bytes) -> Request:
    """The HTTP server has no use for it, and says so in a short answer."""
    target = Address(our.node, HTTP_SERVER)
    return Request().target(target).body(payload).context(b"context").blob(_blob(payload))


def _send_requests(our: Address, payload: bytes) -> None:
    target, request, blob = _request(our, payload).to_wit()
    _wit.messaging.send_requests([(target, request, b"context", blob), (target, request, None, None)])


def _ask(our: Address, payload: bytes) -> None:
    answerer = Address.parse(f"{our.node}@answerer:sender:test.os")
    response = Request().target(answerer).body(payload).blob(LazyLoadBlob(None, payload))
    response.send_and_await_response(20)


def _blob(payload: bytes) -> LazyLoadBlob:
    return LazyLoadBlob("application/x-test", payload)


CALLS: dict[str, Callable[[Address, bytes], object]] = {
    "send-ws-push": lambda our, payload: send_ws_push(our.node, NOBODY, BINARY, _blob(payload)),
    "send-ws-push-many": lambda our, payload: send_ws_push_many([NOBODY], BINARY, _blob(payload)),
    "send-ws-push-to-path": lambda our, payload: send_ws_push_to_path("/none", BINARY, _blob(payload)),
    "send-ws-push-waiting": lambda our, payload: send_ws_push_waiting(NOBODY, BINARY, _blob(payload)),
    "send-ws-extension-push": lambda our, payload: send_ws_extension_push(NOBODY, _blob(payload), 1),
    "bind-http-static-path": lambda our, payload: bind_http_static_path("/static", _blob(payload)),
    "send-request": lambda our, payload: _request(our, payload).send(),
    "send-requests": _send_requests,
    "send-and-await-response": _ask,
    "set-state": lambda our, payload: set_state(payload),
    "set-on-exit": lambda our, payload: set_on_exit([_request(our, payload)]),
    "spawn": lambda our, payload: spawn("/none.wasm", on_exit=[_request(our, payload)]),
}

main = Sender
