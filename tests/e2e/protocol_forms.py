"""What a process asks of `http-server:distro:sys`, in both forms: by a call of the contract, and by a request in JSON.

A test that takes a `Speaker` says what it wants once; a real component says it to a real node in the form that
the test is run for. Errors go by the names of the JSON form.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from .clients import Client
from .daemon import NODE

PUSHER: Final = "pusher:pusher:test.os"
FORMS: Final = ("typed", "json")

Form: TypeAlias = Literal["typed", "json"]

TYPED_ERRORS: Final = {
    "ChannelNotFound": "WsChannelNotFound",
    "ChannelFull": "WsChannelFull",
    "PingPongTooLong": "WsPingPongTooLong",
    "NotUtf8": "WsTextNotUtf8",
    "MessageTooBig": "WsMessageTooBig",
    "BadClose": "WsBadClose",
    "BadCloseCode": "WsBadClose",
    "BadPath": "BadPath",
    "TooManyBindings": "TooManyBindings",
    "NoSubdomain": "NoSubdomain",
    "BadSubprotocol": "BadSubprotocol",
    "NoUi": "NoUi",
}
"""The errors of the SDK, which are those of WIT, by what the JSON form calls the same."""


async def do(control: Client, what: str, **arguments: Any) -> Any:
    """Have the pusher do something; what it says came of it."""
    return json.loads(await control.ask(json.dumps({"do": what, **arguments})))


def packed(payload: bytes) -> tuple[str, int]:
    """A payload as the pusher takes it: its start, and how many zeros follow."""
    start = payload.rstrip(b"\0")
    return start.hex(), len(payload) - len(start)


@dataclass(frozen=True, slots=True)
class Speaker:
    """The pusher, speaking one form. Each method gives None when it was done, or else the error."""

    control: Client
    form: Form

    async def push(self, channel: int, kind: str, payload: bytes) -> str | None:
        """Push one message to one channel."""
        if self.form == "json":
            body = {"WebSocketPush": {"channel_id": channel, "message_type": kind}}
            return await self._json(body, payload)
        arguments: dict[str, Any] = {"node": NODE, "channel_id": channel, "message_type": kind}
        return await self._typed("send_ws_push", payload, **arguments)

    async def push_many(self, channels: Sequence[int], kind: str, payload: bytes) -> dict[int, str]:
        """Push one message to many channels; those that were refused, and why."""
        if self.form == "json":
            body = {"WebSocketPushMany": {"channel_ids": list(channels), "message_type": kind}}
            return await self._refused(body, payload)
        arguments = {"channel_ids": list(channels), "message_type": kind}
        return await self._typed_refused("send_ws_push_many", payload, **arguments)

    async def push_path(self, path: str, kind: str, payload: bytes) -> dict[int, str]:
        """Push one message to all channels of a path; those that were refused, and why."""
        if self.form == "json":
            body = {"WebSocketPushPath": {"path": path, "message_type": kind}}
            return await self._refused(body, payload)
        return await self._typed_refused("send_ws_push_to_path", payload, path=path, message_type=kind)

    async def push_extension(
        self, channel: int, payload: bytes, seconds: int | None = None
    ) -> tuple[str | None, bytes | None]:
        """Tell an extension something, or ask it: the error, and the answer (of JSON: whether there is one)."""
        if self.form == "typed":
            arguments = {"channel_id": channel, "response_seconds": seconds}
            call = {"call": "send_ws_extension_push", "blob": packed(payload)}
            answer = await do(self.control, "typed", **call, **arguments)
            error = TYPED_ERRORS[answer["Err"]] if "Err" in answer else None
            return error, bytes.fromhex(answer["Ok"]) if answer.get("Ok") else None
        kind = "Request" if seconds is None else "Response"
        fields = {"channel_id": channel, "message_type": "Binary", "desired_reply_type": kind}
        body = {"WebSocketExtPushOutgoing": fields}
        answer = await do(self.control, "ask", body=body, blob=packed(payload), seconds=seconds or 10)
        return answer.get("Err"), bytes.fromhex(answer["blob"]) if "blob" in answer else None

    async def close(self, channel: int) -> str | None:
        """Close a channel."""
        if self.form == "json":
            return await self._json({"WebSocketClose": channel})
        return await self._typed("close_channel", channel_id=channel)

    async def policy(self, channel: int, policy: str) -> str | None:
        """Say what a full outbox means."""
        if self.form == "json":
            return await self._json({"WebSocketPolicy": {"channel_id": channel, "policy": policy}})
        name = policy.upper().replace("-", "_")
        return await self._typed("set_channel_policy", channel_id=channel, policy=name)

    async def bind_ws(self, path: str, *, secure: bool = False, **options: Any) -> str | None:
        """Accept WebSockets on a path."""
        if self.form == "json":
            name = "WebSocketSecureBind" if secure else "WebSocketBind"
            return await self._json({name: {"path": path, **options}})
        return await self._typed("bind_ws_path", path=path, secure=secure, **options)

    async def unbind_ws(self, path: str) -> str | None:
        """Accept no more WebSockets on a path."""
        if self.form == "json":
            return await self._json({"WebSocketUnbind": {"path": path}})
        return await self._typed("unbind_ws_path", path=path)

    async def bind(
        self, path: str, content: bytes | None = None, *, secure: bool = False, **options: Any
    ) -> str | None:
        """Be handed the requests to a path, or have content served on it."""
        if self.form == "json":
            name = "SecureBind" if secure else "Bind"
            return await self._json({name: {"path": path, "cache": content is not None, **options}}, content)
        call = "bind_http_path" if content is None else "bind_http_static_path"
        return await self._typed(call, content, to="content", path=path, secure=secure, **options)

    async def unbind(self, path: str) -> str | None:
        """Serve a path no more."""
        if self.form == "json":
            return await self._json({"Unbind": {"path": path}})
        return await self._typed("unbind_http_path", path=path)

    async def serve_ui(self, path: str, **options: Any) -> str | None:
        """Serve the files of the package under a path."""
        if self.form == "json":
            return await self._json({"ServeUi": {"path": path, **options}})
        return await self._typed("serve_ui", path=path, **options)

    async def _json(self, body: Any, payload: bytes | None = None) -> str | None:
        answer = await self.answer(body, payload)
        assert list(answer) in (["Ok"], ["Err"]), answer
        assert answer.get("Ok") is None, answer
        error: str | None = answer.get("Err")
        return error

    async def _refused(self, body: Any, payload: bytes) -> dict[int, str]:
        answer = await self.answer(body, payload)
        return dict(answer["Ok"])

    async def answer(self, body: Any, payload: bytes | None = None) -> dict[str, Any]:
        """The response, as it is, to a request in JSON (or to bytes that need not be JSON)."""
        blob = {} if payload is None else {"blob": packed(payload)}
        sent = body.hex() if isinstance(body, bytes) else body
        answer: dict[str, Any] = await do(self.control, "ask", body=sent, **blob)
        return answer

    async def _typed(
        self, call: str, payload: bytes | None = None, to: str = "blob", **arguments: Any
    ) -> str | None:
        blob = {} if payload is None else {"blob": packed(payload), "to": to}
        answer = await do(self.control, "typed", call=call, **blob, **arguments)
        return TYPED_ERRORS[answer["Err"]] if "Err" in answer else None

    async def _typed_refused(self, call: str, payload: bytes, **arguments: Any) -> dict[int, str]:
        answer = await do(self.control, "typed", call=call, blob=packed(payload), **arguments)
        return {channel: TYPED_ERRORS[error] for channel, error in answer["Ok"] or []}
