"""Tells processes that want to know when the clients of their resumable channels are away, and back."""

from __future__ import annotations

import json
from typing import Protocol

from guesthouse.core.address import ProcessId
from guesthouse.core.messages import Request, SendErrorKind
from guesthouse.core.ports import Answer, ChannelFeeder
from guesthouse.http_server.state.context import Context


class Present(ChannelFeeder, Protocol):
    """The channel."""

    owner: ProcessId


def tell_presence(context: Context, channel: Present, *, away: bool) -> None:
    """Send the process of a channel `{"WebSocketAway": ID}` or `{"WebSocketBack": ID}`, if it asked for that."""
    if channel.owner in context.watching:
        body = json.dumps({"WebSocketAway" if away else "WebSocketBack": channel.channel_id}).encode()
        context.router.request(channel.owner, Request(body), None, _unasked, channel)


def _unasked(_: Answer | SendErrorKind) -> None:
    """No response is expected."""
