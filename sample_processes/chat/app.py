"""A chat room. Every behaviour is here; the page in `ui/` only shows what it is told."""

from __future__ import annotations

import json
import time
from collections import deque
from typing import Any

from guesthouse_sdk import Channel, ChannelFull, Process, bind_ws_path

HISTORY = 50
MAX_NAME = 32
MAX_TEXT = 2000


class BadMessage(Exception):
    """A client sent what the chat does not understand; the text is for its user."""


class Chat(Process):
    """One room for all channels."""

    def __init__(self) -> None:
        self.names: dict[Channel, str] = {}
        self.present: set[Channel] = set()
        """Who took a name or said something: only they were announced."""
        self.history: deque[dict[str, Any]] = deque(maxlen=HISTORY)
        self.said = 0

    def on_start(self) -> None:
        bind_ws_path("/")

    def on_open(self, channel: Channel) -> None:
        self.names[channel] = self.free_name("guest")
        self.tell(
            channel,
            type="welcome",
            name=self.names[channel],
            people=self.people(),
            history=list(self.history),
        )

    def on_message(self, channel: Channel, message: str | bytes) -> None:
        try:
            self.obey(channel, parse(message))
        except BadMessage as problem:
            self.tell(channel, type="error", reason=str(problem))

    def on_close(self, channel: Channel) -> None:
        self.forget(channel)

    def obey(self, channel: Channel, message: Any) -> None:
        match message:
            case str(text) | {"type": "say", "text": str(text)}:
                self.say(channel, text)
            case {"type": "name", "name": str(name)}:
                self.rename(channel, name)
            case _:
                raise BadMessage('Send {"type": "say", "text": …} or {"type": "name", "name": …}.')

    def say(self, channel: Channel, text: str) -> None:
        text = text.strip()
        if not text:
            raise BadMessage("An empty message says nothing.")
        if len(text) > MAX_TEXT:
            raise BadMessage(f"A message may have {MAX_TEXT} characters; yours has {len(text)}.")
        self.announce(channel)
        self.said += 1
        entry = {"id": self.said, "name": self.names[channel], "text": text, "at": int(time.time())}
        self.history.append(entry)
        self.tell_all(type="said", **entry)

    def rename(self, channel: Channel, name: str) -> None:
        name = " ".join(name.split())
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise BadMessage(f"A name has 1 to {MAX_NAME} visible characters.")
        before = self.names[channel]
        if name != before:
            self.names[channel] = self.free_name(name, channel)
        if channel not in self.present:
            self.tell(channel, type="named", name=self.names[channel])
            self.announce(channel)
        elif self.names[channel] != before:
            self.tell(channel, type="named", name=self.names[channel])
            self.tell_all(type="renamed", before=before, name=self.names[channel], people=self.people())

    def announce(self, channel: Channel) -> None:
        if channel not in self.present:
            self.present.add(channel)
            self.tell_all(type="joined", name=self.names[channel], people=self.people())

    def forget(self, channel: Channel) -> None:
        name = self.names.pop(channel, None)
        if channel in self.present:
            self.present.discard(channel)
            self.tell_all(type="left", name=name, people=self.people())

    def people(self) -> list[str]:
        return sorted((self.names[channel] for channel in self.present), key=str.casefold)

    def free_name(self, wanted: str, channel: Channel | None = None) -> str:
        taken = {name.casefold() for other, name in self.names.items() if other is not channel}
        name, number = wanted, 1
        while name.casefold() in taken:
            number += 1
            name = f"{wanted[: MAX_NAME - 5]} {number}"
        return name

    def tell(self, channel: Channel, **message: Any) -> None:
        try:
            channel.send(json.dumps(message))
        except ChannelFull:
            self.drop(channel)

    def tell_all(self, **message: Any) -> None:
        refused = self.broadcast(json.dumps(message))
        for channel, error in refused.items():
            if isinstance(error, ChannelFull):
                self.drop(channel)

    def drop(self, channel: Channel) -> None:
        """Close the channel of a client that reads too slowly, so that nobody misses a message unknowingly."""
        channel.close(1013, "you read too slowly: connect again")
        self.forget(channel)


def parse(message: str | bytes) -> Any:
    try:
        return json.loads(message)
    except (ValueError, RecursionError):
        raise BadMessage("Messages are JSON.") from None


main = Chat
