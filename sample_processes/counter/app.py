"""A count that survives restarts: every change is stored before anybody sees it."""

from __future__ import annotations

from guesthouse_sdk import (
    Channel,
    Http,
    HttpResponse,
    Process,
    bind_ws_path,
    get_state,
    route,
    set_state,
)

STEPS = {"+": 1, "-": -1}
"""What clients send, and what it adds."""


class Counter(Process):
    """Keeps one number and shows it to all channels."""

    def on_start(self) -> None:
        self.count = int(get_state() or b"0")
        bind_ws_path("/")

    def on_open(self, channel: Channel) -> None:
        channel.send(str(self.count))

    def on_message(self, channel: Channel, message: str | bytes) -> None:
        text = message if isinstance(message, str) else message.decode(errors="replace")
        if text not in STEPS:
            channel.send("send + or -")
            return
        count = self.count + STEPS[text]
        set_state(str(count).encode())
        self.count = count
        self.broadcast(str(count))

    @route("GET", "/count")
    def current(self, request: Http) -> HttpResponse:
        return HttpResponse(f"{self.count}\n")


main = Counter
