"""Does to its channels what a client asks for, as JSON, on `/control`; says what came of it."""

from __future__ import annotations

import json
from typing import Any

from guesthouse_sdk import (
    Channel,
    ChannelPolicy,
    Http,
    LazyLoadBlob,
    Process,
    PushError,
    Request,
    WsMessageType,
    bind_http_path,
    bind_ws_path,
    send_ws_push_many,
    send_ws_push_to_path,
    send_ws_push_waiting,
    set_channel_policy,
)


class Pusher(Process):
    """Channels on `/rooms/:room` say nothing; they are told."""

    def on_start(self) -> None:
        bind_ws_path("/control", authenticated=False)
        bind_ws_path("/rooms/:room", authenticated=False, subprotocols=["v2", "v1"])
        bind_ws_path("/secure", secure=True)
        bind_http_path("/slow", authenticated=False, response_seconds=1)

    def on_open(self, channel: Channel) -> None:
        if channel.path.startswith("/rooms/"):
            channel.send(str(channel.id))

    def on_message(self, channel: Channel, message: str | bytes) -> None:
        if channel.path == "/control":
            asked = json.loads(message)
            channel.send(json.dumps(getattr(self, asked.pop("do"))(**asked)))
        else:
            channel.send(message)

    def on_http(self, request: Http) -> None:
        """Nothing is ever answered."""

    def policy(self, channel: int, policy: str) -> str:
        set_channel_policy(channel, ChannelPolicy[policy])
        return "ok"

    def fill(self, channel: int, most: int, size: int) -> dict[str, Any]:
        """Push numbered messages until one is refused."""
        for number in range(most):
            refused = send_ws_push_many([channel], WsMessageType.Binary, payload(number, size))
            if refused:
                return {"pushed": number, "error": type(refused[channel]).__name__}
        return {"pushed": most, "error": None}

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


def payload(number: int, size: int) -> LazyLoadBlob:
    return LazyLoadBlob(None, number.to_bytes(4, "big") + bytes(size - 4))


main = Pusher
