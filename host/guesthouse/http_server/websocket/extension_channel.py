"""Channels of extensions, whose messages are requests and responses."""

from __future__ import annotations

import json
from functools import partial
from typing import Final, Protocol

from guesthouse.core.address import ProcessId
from guesthouse.core.messages import LazyLoadBlob, Request, SendErrorKind, WsMessageType
from guesthouse.core.ports import Answer, ChannelFeeder
from guesthouse.http_server.channel.extension import Dialect, ExtensionPush, read
from guesthouse.http_server.channel.framing import frame
from guesthouse.http_server.channel.outbox import Outbox
from guesthouse.http_server.context import Context

_BINARY: Final = int(WsMessageType.BINARY)


class ExtensionSocket(ChannelFeeder, Protocol):
    """The channel's connection."""

    owner: ProcessId
    outgoing: Outbox
    messages_in: int

    def deliver(self, message_type: int, payload: bytes) -> None:
        """Post an ordinary message to the process."""

    def complain(self, fault: str) -> None:
        """Log a fault on this channel, rate-limited."""

    @property
    def is_open(self) -> bool:
        """Whether the channel is open."""


class ExtensionChannel:
    """Translates between an extension's messages and the kernel's requests. Answers in the encoding last received."""

    __slots__ = ("_channel", "_context", "_dialect")

    def __init__(self, channel: ExtensionSocket, context: Context) -> None:
        self._channel = channel
        self._context = context
        self._dialect = Dialect()

    def deliver(self, message_type: int, payload: bytes) -> None:
        """Deliver a request or response; anything else is delivered as an ordinary message."""
        channel, router = self._channel, self._context.router
        found = read(payload) if message_type == _BINARY and channel.is_open else None
        if found is None:
            channel.deliver(message_type, payload)
            return
        push, self._dialect = found
        channel.messages_in += 1
        body, blob = _body(channel.channel_id), LazyLoadBlob(None, push.blob)
        if push.kind == "Response":
            if not router.answer(push.id, channel.owner, body, blob):
                channel.complain("an extension's response matches no pending request")
            return
        seconds = int(self._context.settings.connections.http_longest_response_seconds)
        request = Request(body, expects_response=seconds)
        refused = router.request(channel.owner, request, blob, partial(self._answer, push.id), channel)
        if refused is not None:
            channel.complain(f"an extension's request was not delivered: {refused}")

    def _answer(self, number: int, answer: Answer | SendErrorKind) -> None:
        if isinstance(answer, Answer):
            blob = answer.body if answer.blob is None else answer.blob.bytes
            self.push(ExtensionPush(number, "Response", blob))
        else:
            self._channel.complain(f"an extension's request was not answered: {answer}")

    def push(self, push: ExtensionPush) -> None:
        """Send a message; drops and logs it when the outbox is full."""
        channel = self._channel
        payload = push.pack(self._dialect)
        if channel.is_open and not channel.outgoing.push_unpaid(len(payload), frame(_BINARY, payload)):
            channel.complain("a message for an extension was dropped: it reads too slowly")


def _body(channel_id: int) -> bytes:
    """JSON body of the message that the process receives."""
    push = {"channel_id": channel_id, "message_type": WsMessageType.BINARY.json_name}
    return json.dumps({"WebSocketPush": push}).encode()
