"""Answers every text or binary message with the same payload and type."""

from __future__ import annotations

from guesthouse_sdk import Channel, Process, bind_ws_path


class Echo(Process):
    """Echoes on registered channels, and on `/` (logged-in clients) and `/public` (anyone)."""

    def on_start(self) -> None:
        bind_ws_path("/")
        bind_ws_path("/public", authenticated=False)

    def on_message(self, channel: Channel, message: str | bytes) -> None:
        channel.send(message)


main = Echo
