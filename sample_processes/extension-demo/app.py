"""Tells its clients of the machine it runs on. It cannot see the machine; its side-car can.

A component has no files, no sockets and no native code. `sidecar.py` has all three, connects to `/ext`
as an extension, answers what this process asks, and reports by itself.
"""

from __future__ import annotations

import json

from guesthouse_sdk import (
    HTTP_SERVER,
    Address,
    Channel,
    IncomingRequest,
    LazyLoadBlob,
    Process,
    Request,
    Response,
    SendError,
    bind_ws_path,
    get_blob,
    our,
)

SECONDS = 5
"""How long the side-car may take."""


class ExtensionDemo(Process):
    """Hands each question of a client to the side-car, and its reports to all clients."""

    def on_start(self) -> None:
        self.sidecar: Channel | None = None
        bind_ws_path("/")
        bind_ws_path("/ext", authenticated=False, extension=True)

    def on_open(self, channel: Channel) -> None:
        if channel.path == "/ext":
            self.sidecar = channel

    def on_resume(self, channel: Channel) -> None:
        self.on_open(channel)

    def on_close(self, channel: Channel) -> None:
        if channel is self.sidecar:
            self.sidecar = None

    def on_message(self, channel: Channel, message: str | bytes) -> None:
        question = message.encode() if isinstance(message, str) else message
        channel.send(json.dumps(self.ask(question)))

    def on_request(self, source: Address, request: IncomingRequest) -> Response | None:
        report = get_blob()
        if source.process != HTTP_SERVER or report is None:
            return None
        listeners = [channel for channel in self.channels if channel is not self.sidecar]
        for channel in listeners:
            channel.send(report.bytes)
        return Response().blob(LazyLoadBlob(None, str(len(listeners)).encode()))

    def ask(self, question: bytes) -> object:
        """What the side-car says to a question."""
        if self.sidecar is None:
            return {"error": "the side-car is not connected"}
        push = {"channel_id": self.sidecar.id, "message_type": "Binary", "desired_reply_type": "Response"}
        request = Request().target(Address(our().node, HTTP_SERVER)).blob(LazyLoadBlob(None, question))
        try:
            request.body(json.dumps({"WebSocketExtPushOutgoing": push})).send_and_await_response(SECONDS)
        except SendError as error:
            return {"error": str(error)}
        answer = get_blob()
        return {"error": "no answer"} if answer is None else json.loads(answer.bytes)


main = ExtensionDemo
