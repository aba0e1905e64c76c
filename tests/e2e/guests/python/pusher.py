"""Does to its channels and paths what a client asks for, as JSON, on `/control`; says what came of it."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import guesthouse_sdk
from guesthouse_sdk import (
    Address,
    Channel,
    ChannelPolicy,
    GuestError,
    Http,
    IncomingRequest,
    IncomingResponse,
    LazyLoadBlob,
    NoSubdomain,
    Process,
    PushError,
    Request,
    Response,
    SendError,
    WsMessageType,
    bind_http_path,
    bind_ws_path,
    get_blob,
    send_http_response,
    send_ws_push_many,
    send_ws_push_to_path,
    send_ws_push_waiting,
    set_channel_policy,
)


class Pusher(Process):
    """Channels on `/rooms/:room` say their id and then nothing; they are told. Others say what was opened."""

    def on_start(self) -> None:
        self.heard: list[str] = []
        bind_ws_path("/control", authenticated=False)
        bind_ws_path("/rooms/:room", authenticated=False, subprotocols=["v2", "v1"])
        with suppress(NoSubdomain):  # under a name that makes none
            bind_ws_path("/secure", secure=True)
        bind_http_path("/slow", authenticated=False, response_seconds=1)

    def on_open(self, channel: Channel) -> None:
        if channel.path.startswith("/rooms/"):
            channel.send(str(channel.id))
        elif channel.path != "/control":
            channel.send(json.dumps(asdict(channel.opened)))

    def on_message(self, channel: Channel, message: str | bytes) -> None:
        if channel.path == "/control":
            asked = json.loads(message)
            channel.send(json.dumps(getattr(self, asked.pop("do"))(**asked)))
        else:
            channel.send(message)

    def on_http(self, request: Http) -> None:
        """Nothing is ever answered on `/slow`; elsewhere the query says how, and the body is what was asked."""
        if request.bound_path == "/slow":
            return
        query = dict(request.query_params)
        blob = get_blob()
        asked = asdict(request) | {"body": None if blob is None else blob.bytes.hex()}
        status, text = int(query.get("status", "200")), json.dumps(asked)
        if "forward" in query:
            forward(f"{self.our.node}@{query['forward']}", text, query.get("blob"))
            if "first" not in query:
                return
        if query.get("form") == "json":
            headers = {"X-Form": "json", "Content-Type": "application/json"}
            answer = json.dumps({"status": status, "headers": headers})
            Response().body(answer).blob(LazyLoadBlob.from_text(text)).send()
        else:
            cookies = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/"), ("X-Form", "typed")]
            send_http_response(status, cookies, text, "application/json")

    def on_request(self, source: Address, request: IncomingRequest) -> Response | None:
        """What `forward` sends, by way of another process or not: answered as an HTTP request is in JSON."""
        blob = get_blob()
        said = {"source": str(source), "body": request.body.decode(), "blob": blob and blob.bytes.decode()}
        if blob is not None and blob.bytes == b"trap":
            raise SystemExit("as it was told")
        if blob is not None and blob.bytes == b"silent":
            return None
        if blob is not None and blob.bytes.startswith(b"on:"):
            forward(f"{self.our.node}@{blob.bytes[3:].decode()}", json.dumps(said), "from the middle")
            return None
        answer = json.dumps({"status": 203, "headers": {"X-Form": "forwarded"}})
        return Response().body(answer).blob(LazyLoadBlob.from_text(json.dumps(said)))

    def on_response(self, source: Address, response: IncomingResponse) -> None:
        self.heard.append(response.body.decode())

    def on_send_error(self, error: SendError) -> None:
        """What was handed on came back: the client, whose request is the last that wants an answer, learns so."""
        send_http_response(502, body=type(error).__name__)

    def ask(self, body: Any, blob: list[Any] | None = None, seconds: int = 10) -> Any:
        """A request in JSON to the HTTP server; its response, with its blob."""
        try:
            answer = json.loads(self.to_server(body, blob).send_and_await_response(seconds).body)
        except SendError as error:
            return {"failed": type(error).__name__}
        came = get_blob()
        return answer if came is None else answer | {"blob": came.bytes.hex()}

    def tell(self, body: Any, blob: list[Any] | None = None) -> str:
        """The same, with no response wanted."""
        self.to_server(body, blob).send()
        return "ok"

    def to_server(self, body: Any, blob: list[Any] | None) -> Request:
        """A request whose body is a value, or text in hexadecimal."""
        sent = bytes.fromhex(body) if isinstance(body, str) else json.dumps(body).encode()
        request = Request().target(f"{self.our.node}@http-server:distro:sys").body(sent)
        return request.blob(None if blob is None else unpacked(*blob))

    def claims(self) -> dict[str, Any]:
        """Those of the clients of all channels that have some, by path."""
        return {channel.path: channel.claims for channel in self.channels if channel.claims}

    def responses(self) -> list[str]:
        """Those that came unasked for since this was asked last."""
        heard, self.heard = self.heard, []
        return heard

    def typed(
        self, call: str, blob: list[Any] | None = None, to: str = "blob", **arguments: Any
    ) -> dict[str, Any]:
        """A call of the contract, by the name of its function in the SDK."""
        for name, kind in (("message_type", WsMessageType), ("policy", ChannelPolicy)):
            if name in arguments:
                arguments[name] = kind[arguments[name]]
        if blob is not None:
            arguments[to] = unpacked(*blob)
        try:
            made = getattr(guesthouse_sdk, call)(**arguments)
        except GuestError as error:
            return {"Err": type(error).__name__}
        if isinstance(made, LazyLoadBlob):
            return {"Ok": made.bytes.hex()}
        return {"Ok": made and [[channel, type(error).__name__] for channel, error in made.items()]}

    def policy(self, channel: int, policy: str) -> str:
        set_channel_policy(channel, ChannelPolicy[policy])
        return "ok"

    def fill(self, channel: int, most: int, size: int, form: str = "typed") -> dict[str, Any]:
        """Push numbered messages until one is refused."""
        for number in range(most):
            error = self.push_one(channel, payload(number, size), form)
            if error is not None:
                return {"pushed": number, "error": error}
        return {"pushed": most, "error": None}

    def push_one(self, channel: int, message: LazyLoadBlob, form: str) -> str | None:
        """Push a message by a push to many, of one; why it was refused."""
        if form == "json":
            body = {"WebSocketPushMany": {"channel_ids": [channel], "message_type": "Binary"}}
            answer = self.to_server(body, None).blob(message).send_and_await_response(10)
            refusals: list[list[Any]] = json.loads(answer.body)["Ok"]
            return str(refusals[0][1]) if refusals else None
        refused = send_ws_push_many([channel], WsMessageType.Binary, message)
        return type(refused[channel]).__name__ if refused else None

    def wait(self, channel: int, count: int, size: int) -> str:
        """Push numbered messages, each of which waits for room."""
        try:
            for number in range(count):
                send_ws_push_waiting(channel, WsMessageType.Binary, payload(number, size))
        except PushError as error:
            return type(error).__name__
        return "ok"

    def wait_json(self, channel: int, count: int, size: int) -> str:
        """The same in JSON: each response comes once its message is queued."""
        body = {"WebSocketPush": {"channel_id": channel, "message_type": "Binary"}}
        for number in range(count):
            request = (
                Request().target(f"{self.our.node}@http-server:distro:sys").body(json.dumps(body).encode())
            )
            answer = request.blob(payload(number, size)).send_and_await_response(20)
            if answer.body != b'{"Ok": null}':
                return answer.body.decode()
        return "ok"

    def room(self, path: str, text: str) -> dict[int, str]:
        refused = send_ws_push_to_path(path, WsMessageType.Text, LazyLoadBlob.from_text(text))
        return {channel: type(error).__name__ for channel, error in refused.items()}


def forward(target: str, body: str, blob: str | None) -> None:
    """Hand what is being handled on: whoever takes it answers in this process's place."""
    request = Request().target(target).body(body).inherit()
    request.blob(None if blob is None else LazyLoadBlob.from_text(blob)).send()


def unpacked(start: str, zeros: int) -> LazyLoadBlob:
    """A payload by its start, in hexadecimal, and how many zeros follow."""
    return LazyLoadBlob("text/plain", bytes.fromhex(start) + bytes(zeros))


def payload(number: int, size: int) -> LazyLoadBlob:
    return LazyLoadBlob(None, number.to_bytes(4, "big") + bytes(size - 4))


main = Pusher
