"""Tells processes that want to know when the clients of their resumable channels are away, and back."""

from __future__ import annotations

import json
from typing import Protocol

from guesthouse.core.address import ForeignProcess, ProcessId
from guesthouse.core.messages import Request, SendErrorKind
from guesthouse.core.ports import Answer, ChannelFeeder
from guesthouse.http_server.context import Context


class Present(ChannelFeeder, Protocol):
    """The channel."""

    owner: ProcessId


def tell_presence(context: Context, channel: Present, *, away: bool) -> None:
    """Send the process of a channel `{"WebSocketAway": ID}` or `{"WebSocketBack": ID}`, if it asked for that. One of
    another node is told by its node.
    """
    owner = channel.owner
    if isinstance(owner, ForeignProcess):
        if context.relays is not None:
            context.relays.present(owner, channel.channel_id, away=away)
    elif owner in context.watching:
        body = json.dumps({"WebSocketAway" if away else "WebSocketBack": channel.channel_id}).encode()
        context.router.request(owner, Request(body), None, _unasked, channel)


def _unasked(_: Answer | SendErrorKind) -> None:
    """No response is expected."""
