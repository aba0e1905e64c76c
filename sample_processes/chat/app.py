"""A chat room. Every behaviour is here; the page in `ui/` only shows what it is told."""

from __future__ import annotations

import json
import time
from collections import deque
from typing import Any

from guesthouse_sdk import Channel, ChannelFull, ChannelNotFound, Process, bind_ws_path
from guesthouse_sdk.rooms import PresenceChange, RoomFull, Rooms

HISTORY = 50
MAX_NAME = 32
MAX_TEXT = 2000
EVERYONE = "everyone"
"""The room of all channels, each with its name."""
PEOPLE = "people"
"""The room of those who took a name or said something: only they are announced."""


class BadMessage(Exception):
    """A client sent what the chat does not understand; the text is for its user."""


class Chat(Process):
    """One room for all channels."""

    def __init__(self) -> None:
        self.rooms = Rooms(self, self.on_presence)
        self.history: deque[dict[str, Any]] = deque(maxlen=HISTORY)
        self.said = 0

    def on_start(self) -> None:
        bind_ws_path("/")

    def on_open(self, channel: Channel) -> None:
        name = self.free_name("guest")
        try:
            self.rooms.join(EVERYONE, channel, name)
        except RoomFull:
            channel.close(1013, "the chat is full: come back later")
            return
        self.tell(
            channel,
            type="welcome",
            name=name,
            people=self.people(),
            history=list(self.history),
        )

    def on_message(self, channel: Channel, message: str | bytes) -> None:
        try:
            self.obey(channel, parse(message))
        except BadMessage as problem:
            self.tell(channel, type="error", reason=str(problem))

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
        name = self.name_of(channel)
        self.rooms.join(PEOPLE, channel, name)
        self.said += 1
        entry = {"id": self.said, "name": name, "text": text, "at": int(time.time())}
        self.history.append(entry)
        self.tell_all(type="said", **entry)

    def rename(self, channel: Channel, name: str) -> None:
        name = " ".join(name.split())
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise BadMessage(f"A name has 1 to {MAX_NAME} visible characters.")
        before = self.name_of(channel)
        if name != before:
            name = self.free_name(name, channel)
            self.rooms.join(EVERYONE, channel, name)
        if name != before or self.rooms.member(PEOPLE, channel) is None:
            self.tell(channel, type="named", name=name)
        if channel in self.channels:  # it may have been too slow for that
            self.rooms.join(PEOPLE, channel, name)

    def on_presence(self, change: PresenceChange) -> None:
        if change.room != PEOPLE:
            return
        for member in change.joined:
            self.tell_all(type="joined", name=member.info, people=self.people())
        for before, after in change.updated:
            self.tell_all(type="renamed", before=before.info, name=after.info, people=self.people())
        for member in change.left:
            self.tell_all(type="left", name=member.info, people=self.people())

    def people(self) -> list[str]:
        return sorted((member.info for member in self.rooms.members(PEOPLE)), key=str.casefold)

    def name_of(self, channel: Channel) -> str:
        member = self.rooms.member(EVERYONE, channel)
        return "" if member is None else str(member.info)

    def free_name(self, wanted: str, channel: Channel | None = None) -> str:
        others = (member for member in self.rooms.members(EVERYONE) if member.channel is not channel)
        taken = {member.info.casefold() for member in others}
        name, number = wanted, 1
        while name.casefold() in taken:
            number += 1
            name = f"{wanted[: MAX_NAME - 5]} {number}"
        return name

    def tell(self, channel: Channel, **message: Any) -> None:
        try:
            channel.send(json.dumps(message))
        except ChannelFull:
            self.drop([channel])
        except ChannelNotFound:
            return  # its client has left

    def tell_all(self, **message: Any) -> None:
        refused = self.rooms.broadcast(EVERYONE, json.dumps(message))
        self.drop([channel for channel, error in refused.items() if isinstance(error, ChannelFull)])

    def drop(self, channels: list[Channel]) -> None:
        """Close channels of clients that read too slowly, so that nobody misses a message unknowingly."""
        self.rooms.close(channels, 1013, "you read too slowly: connect again")


def parse(message: str | bytes) -> Any:
    try:
        return json.loads(message)
    except (ValueError, RecursionError):
        raise BadMessage("Messages are JSON.") from None


main = Chat
