"""Answers each message after the seconds that it says, and other channels meanwhile."""

from __future__ import annotations

from guesthouse_sdk import Channel, Process, bind_ws_path
from guesthouse_sdk.timers import sleep


class Waiter(Process):
    """Waits on each channel by itself."""

    def on_start(self) -> None:
        self.ended = 0
        bind_ws_path("/", authenticated=False)

    async def on_message(self, channel: Channel, message: str | bytes) -> None:
        if message == "ended":
            channel.send(str(self.ended))
            return
        try:
            await sleep(float(message))
            channel.send(message)
        finally:
            self.ended += 1


main = Waiter
