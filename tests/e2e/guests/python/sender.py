"""Sends bytes by every call of the contract that takes some: a request `["set-state", times, size]` says which."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from contextlib import suppress

from guesthouse_sdk import (
    HTTP_SERVER,
    Address,
    Capability,
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
    close_channel,
    get_blob,
    save_capabilities,
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
    """Answers a client's binary messages with the same, and closes its channel in the way that a text names; answers
    requests with the name of this run, or what they ask.
    """

    def on_start(self) -> None:
        self.run_id = uuid.uuid4().hex
        self.closed = 0
        for path in ("/", "/fixed", "/rooms/:room"):
            bind_ws_path(path, authenticated=False)
        bind_http_path("/page", authenticated=False)

    def on_message(self, channel: Channel, message: str | bytes) -> None:
        if isinstance(message, str):
            CLOSES[message](self.our, channel.id)
        else:
            channel.send(message)

    def on_close(self, channel: Channel) -> None:
        self.closed += 1

    def on_http(self, request: Http) -> None:
        size = int(request.query_params["size"])
        send_http_response(200, {"X-Run": self.run_id}, bytes(size))

    def on_request(self, source: Address, request: IncomingRequest) -> Response:
        if source.process.process_name == "sender":
            return Response().body(request.body).blob(get_blob())
        call, times, size = json.loads(request.body)
        if call in QUESTIONS:
            return Response().body(json.dumps(QUESTIONS[call](self)))
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

CLOSE = WsMessageType.Close

CLOSES: dict[str, Callable[[Address, int], object]] = {
    "close_channel": lambda our, id_: close_channel(id_, 4000),
    "push": lambda our, id_: send_ws_push(our.node, id_, CLOSE, LazyLoadBlob(None, b"\x0f\xa0")),
    "push-many": lambda our, id_: send_ws_push_many([NOBODY, id_], CLOSE, LazyLoadBlob(None, b"\x0f\xa0")),
    "push-waiting": lambda our, id_: send_ws_push_waiting(id_, CLOSE, LazyLoadBlob(None, b"\x0f\xa0")),
    "push-to-path": lambda our, id_: send_ws_push_to_path("/fixed", CLOSE, LazyLoadBlob(None, b"\x0f\xa0")),
    "push-to-bound-path": lambda our, id_: send_ws_push_to_path(
        "/rooms/:room", CLOSE, LazyLoadBlob(None, b"\x0f\xa0")
    ),
}


def _push_to(process: Sender, count: int) -> int:
    refused = send_ws_push_many(range(1, count + 1), BINARY, LazyLoadBlob(None, b"x"))
    return len(refused)


def _too_many(process: Sender) -> list[str]:
    headers = [("a", "b")] * 1025
    rights = [Capability.messaging(process.our)] * 257
    request = _request(process.our, b"")
    calls: list[Callable[[], object]] = [
        lambda: send_http_response(200, headers),
        lambda: save_capabilities(rights),
        lambda: set_on_exit([request] * 65),
        lambda: spawn("/none.wasm", grant_capabilities=[process.our.process] * 257),
        lambda: bind_ws_path("/many", subprotocols=["a"] * 257),
    ]
    refused = []
    for call in calls:
        try:
            call()
        except ValueError as error:
            refused.append(str(error))
    return refused


def _as_many_as_may_be(process: Sender) -> str:
    rights = [Capability.messaging(process.our)] * 256
    request = _request(process.our, bytes(8_000))
    send_http_response(200, [("a", "b")] * 1024)  # no request waits for it
    save_capabilities(rights)
    set_on_exit([request] * 64)
    set_on_exit("restart")
    with suppress(GuestError):
        spawn(
            "/none.wasm",
            on_exit=[request] * 64,
            request_capabilities=rights,
            grant_capabilities=[process.our.process] * 256,
        )
    with suppress(GuestError):
        bind_ws_path("/many", subprotocols=["a"] * 256)
    return "taken"


QUESTIONS: dict[str, Callable[[Sender], object]] = {
    "channels": lambda process: [sorted(each.path for each in process.channels), process.closed],
    "push-to-65536": lambda process: _push_to(process, 65_536),
    "push-to-70000": lambda process: _push_to(process, 70_000),
    "too-many": _too_many,
    "as-many-as-may-be": _as_many_as_may_be,
}

main = Sender
