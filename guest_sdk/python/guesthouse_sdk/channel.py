"""A client's WebSocket, as a `Process` has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from guesthouse_sdk import _wit
from guesthouse_sdk._checks import MESSAGE, checked_bytes, checked_text
from guesthouse_sdk._json import written
from guesthouse_sdk._refusals import push_error
from guesthouse_sdk._wit import Err, refusal, types
from guesthouse_sdk.errors import ChannelNotFound
from guesthouse_sdk.http_server import ChannelPolicy, close_channel, send_ws_push_waiting, set_channel_policy
from guesthouse_sdk.message import LazyLoadBlob, WebSocketOpen, WsMessageType

if TYPE_CHECKING:
    from guesthouse_sdk.process import Process

_BINARY: Final = types.WsMessageType.BINARY


class Channel:
    """One client's WebSocket. You may set attributes of your own on it."""

    def __init__(self, opened: WebSocketOpen, process: Process) -> None:
        self.id = opened.channel_id
        self.opened = opened
        self.away = False
        """Whether its client has lost its connection and may come back; known to a process with `on_away` or
        `on_back`.
        """
        self._process = process
        self._waits = False

    @property
    def path(self) -> str:
        """The requested path; `/` for a registered channel."""
        return self.opened.path

    @property
    def url_params(self) -> Mapping[str, str]:
        """Parameters of the bound path, such as `room` of `/rooms/:room`."""
        return self.opened.url_params

    @property
    def query_params(self) -> Mapping[str, str]:
        """The parameters after `?` in the URL."""
        return self.opened.query_params

    @property
    def claims(self) -> Mapping[str, Any] | None:
        """What the service that issued the client's token says of it, such as who it is; None if it says nothing."""
        return self.opened.claims

    def send(self, message: str | bytes) -> None:
        """Send a text message (str) or a binary one (bytes).

        Raises:
            ChannelFull: the client reads too slowly; the message was dropped.
            ChannelNotFound: the client has left; `on_close` follows.
            PushError: as for `send_ws_push`.
        """
        if self._waits:
            self._send_waiting(message)
            return
        try:
            if isinstance(message, str):
                _wit.http_server.send_ws_text(self.id, checked_text(message, "a message"))
            else:
                raw = types.LazyLoadBlob(None, checked_bytes(message, "a message", MESSAGE))
                _wit.http_server.send_ws_push(self._process.our.node, self.id, _BINARY, raw)
        except Err as failure:
            raise push_error(self.id, refusal(failure)) from None

    def send_json(self, value: object) -> None:
        """Send a value as a text message in JSON.

        Raises:
            TypeError: JSON cannot express it.
            ValueError: it has NaN, an infinity or itself in it.
            PushError: as for `send`.
        """
        self.send(written(value))

    def _follow(self, policy: ChannelPolicy) -> None:
        """What happens when its outbox is full."""
        try:
            set_channel_policy(self.id, policy)
        except ChannelNotFound:  # the client has left, and its end is under way
            return
        self._waits = policy is ChannelPolicy.WAIT

    def _send_waiting(self, message: str | bytes) -> None:
        text = isinstance(message, str)
        blob = LazyLoadBlob.from_text(message) if isinstance(message, str) else LazyLoadBlob(None, message)
        send_ws_push_waiting(self.id, WsMessageType.Text if text else WsMessageType.Binary, blob)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the channel. It leaves `channels` at once, without `on_close`. Closing
        one whose client has left does nothing.

        Raises:
            CloseError: the code or the reason is invalid.
        """
        try:
            close_channel(self.id, code, reason)
        except ChannelNotFound:
            return

    def __repr__(self) -> str:
        return f"<Channel {self.id} {self.path}>"
