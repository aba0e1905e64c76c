"""Does what a client says with clocks, timers and what is kept for a time. A message is a word and its argument."""

from __future__ import annotations

import logging
import random
import time

from guesthouse_sdk import (
    Address,
    Channel,
    Http,
    IncomingRequest,
    NotAuthorised,
    Process,
    ProcessId,
    Request,
    Response,
    TimedOut,
    bind_ws_path,
    get_state,
    route,
    set_state,
)
from guesthouse_sdk.kv import KeyValues
from guesthouse_sdk.timers import sleep

logger = logging.getLogger(__name__)


class Clocks(Process):
    """The process `mute` answers no request, and may use no module."""

    def __init__(self) -> None:
        self.kept = KeyValues("kept")

    def on_start(self) -> None:
        bind_ws_path("/", authenticated=False)
        bind_ws_path("/mine")

    @route("GET", "/hours/:hours")
    def hours(self, request: Http) -> str:
        return f"{float(request.url_params['hours']) * 3600:g} s"

    @route("POST", "/kept", authenticated=False)
    def keep_body(self, request: Http) -> str:
        self.kept.set("body", request.bytes())
        return "kept"

    def on_open(self, channel: Channel) -> None:
        channel.send("hello")

    def on_resume(self, channel: Channel) -> None:
        channel.send("again")

    def on_timer(self, timer_id: str) -> None:
        for channel in self.channels:
            channel.send(f"timer {timer_id}")

    def on_request(self, source: Address, request: IncomingRequest) -> Response | None:
        return None if self.our.process.process_name == "mute" else Response().body(b"answer")

    async def on_message(self, channel: Channel, message: str | bytes) -> None:
        if isinstance(message, bytes):
            channel.send(message[::-1])
            return
        word, _, argument = message.partition(" ")
        try:
            await self.do(channel, word, argument)
        except NotAuthorised:
            channel.send("refused")

    async def do(self, channel: Channel, word: str, argument: str) -> None:
        match word:
            case "later":
                seconds, text = argument.split(" ")
                self.call_later(float(seconds), channel.send, text)
            case "timer":
                name, seconds = argument.split(" ")
                self.set_timer(name, float(seconds))
            case "cancel":
                self.cancel_timer(argument)
            case "keep":
                self.kept.set("k", "v", ttl=int(argument))
            case "kept":
                channel.send(str(self.kept.get(argument or "k")))
            case "sleep":
                await sleep(float(argument))
                channel.send(f"slept {argument}")
            case "ask":
                try:
                    await Request().target(self.mute()).body(b"?").expects_response(int(argument))
                except TimedOut:
                    channel.send("timed out")
            case "count":
                count = int(get_state() or b"0") + 1
                set_state(str(count).encode())
                channel.send(str(count))
            case "log":
                logger.warning(argument)
            case _:
                self.more(channel, word, argument)

    def mute(self) -> Address:
        return Address(self.our.node, ProcessId("mute", "clocks", "test.os"))

    def more(self, channel: Channel, word: str, argument: str) -> None:
        match word:
            case "close":
                channel.close(4001, argument)
            case "fail":
                raise LookupError(argument)
            case "pause":
                before = time.monotonic()
                time.sleep(float(argument))
                channel.send(f"paused {time.monotonic() - before:.3f}")
            case "time":
                channel.send(f"{time.time():.3f}")
            case "draw":
                channel.send(str(random.random()))
            case "exit":
                raise SystemExit(argument)


main = Clocks
