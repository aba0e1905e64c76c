"""`/rooms/ROOM?name=NAME` joins a room. Its members get `{"joined": […], "left": […], "updated": […]}`,
`{"away": NAME}` and `{"back": NAME}` of the others, and what they say. Requests: `"people"` (who is not away),
`{"name": …}`, `{"close": […]}`, `"refuse"`, and `"end"`, which ends the process.
"""

from __future__ import annotations

import json
import sys

from guesthouse_sdk import Channel, ChannelRequest, Process, RequestRefused, bind_ws_path
from guesthouse_sdk.rooms import PresenceChange, Rooms


class Lounge(Process):
    """A channel joins again by its path when the process was restarted."""

    def __init__(self) -> None:
        self.rooms = Rooms(self, self.on_presence)

    def on_start(self) -> None:
        bind_ws_path("/rooms/:room", authenticated=False)

    def on_open(self, channel: Channel) -> None:
        self.rooms.join(channel.url_params["room"], channel, channel.query_params["name"])

    def on_message(self, channel: Channel, message: str | bytes) -> None:
        self.rooms.broadcast(channel.url_params["room"], message, but=[channel])

    def on_away(self, channel: Channel) -> None:
        self.tell("away", channel)

    def on_back(self, channel: Channel) -> None:
        self.tell("back", channel)

    def tell(self, what: str, channel: Channel) -> None:
        member = self.rooms.member(channel.url_params["room"], channel)
        assert member is not None
        self.rooms.broadcast(channel.url_params["room"], json.dumps({what: member.info}), but=[channel])

    def on_channel_request(self, channel: Channel, request: ChannelRequest) -> object:
        room = channel.url_params["room"]
        match request.body:
            case "people":
                return [member.info for member in self.rooms.members(room) if not member.channel.away]
            case {"name": str(name)}:
                return self.rooms.join(room, channel, name)
            case {"close": list(names)}:
                members = [member for member in self.rooms.members(room) if member.info in names]
                self.rooms.close((member.channel for member in members), 4000, "asked for")
                return len(members)
            case "refuse":
                raise RequestRefused("as asked")
            case "end":
                sys.exit()
        raise ValueError("no such request")

    def on_presence(self, change: PresenceChange) -> None:
        told = {
            "joined": [member.info for member in change.joined],
            "left": [member.info for member in change.left],
            "updated": [[before.info, after.info] for before, after in change.updated],
        }
        self.rooms.broadcast(change.room, json.dumps({key: value for key, value in told.items() if value}))


main = Lounge
