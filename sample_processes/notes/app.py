"""Notes over HTTP, kept in `kv`, and who watches one is told of its changes."""

from __future__ import annotations

from dataclasses import dataclass

from guesthouse_sdk import Channel, ChannelPolicy, Http, HttpResponse, Process, route
from guesthouse_sdk.kv import KeyValues, QuotaExceeded
from guesthouse_sdk.rooms import RoomError, Rooms
from guesthouse_sdk.timers import TooManyTimers
from guesthouse_sdk.typed import Decoder

MAX_NAME = 100
MAX_TEXT = 10_000
MAX_SECONDS = 24 * 3600


@dataclass
class Note:
    """What is sent to be kept."""

    text: str
    seconds: int | None = None

    def __post_init__(self) -> None:
        if len(self.text) > MAX_TEXT:
            raise ValueError(f"a note has at most {MAX_TEXT} characters")
        if self.seconds is not None and not 1 <= self.seconds <= MAX_SECONDS:
            raise ValueError(f"seconds are from 1 to {MAX_SECONDS}")


@dataclass
class Watch:
    name: str

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= MAX_NAME:
            raise ValueError(f"a name has 1 to {MAX_NAME} characters")


@dataclass
class Unwatch(Watch):
    """The end of a `Watch`."""


@dataclass
class Changed:
    name: str
    text: str | None


NOTE = Decoder(Note)


class Notes(Process):
    """Keeps notes; a room for each has who watches it."""

    messages = Watch | Unwatch
    when_full = ChannelPolicy.CLOSE  # who reads too slowly connects and watches again

    def __init__(self) -> None:
        self.notes = KeyValues("notes")
        self.watchers = Rooms(self)

    @route("GET", "/notes")
    def names(self, request: Http) -> HttpResponse:
        return HttpResponse.json(list(self.notes))

    @route("GET", "/notes/:name")
    def note(self, request: Http) -> HttpResponse:
        text = self.text(request.url_params["name"])
        return HttpResponse.json({"error": "there is none"}, 404) if text is None else answer(text)

    @route("PUT", "/notes/:name")
    def keep(self, request: Http) -> HttpResponse:
        try:
            note = NOTE.value(request.json())
            name = Watch(request.url_params["name"]).name
        except ValueError as problem:
            return HttpResponse.json({"error": str(problem)}, 400)
        try:
            self.notes.set(name, note.text, ttl=note.seconds)
            if note.seconds is None:
                self.cancel_timer(name)
            else:
                self.set_timer(name, note.seconds)  # which also wakes a later run of this process
        except (QuotaExceeded, TooManyTimers) as problem:
            return HttpResponse.json({"error": str(problem)}, 507)
        self.tell(name)
        return answer(note.text)

    @route("DELETE", "/notes/:name")
    def delete(self, request: Http) -> HttpResponse:
        name = request.url_params["name"]
        self.notes.delete(name)
        self.cancel_timer(name)
        self.tell(name)
        return HttpResponse(status=204)

    def on_timer(self, timer_id: str) -> None:
        self.tell(timer_id)  # the note of that name has expired

    def on_message(self, channel: Channel, message: Watch | Unwatch) -> None:
        if isinstance(message, Unwatch):
            self.watchers.leave(message.name, channel)
            return
        try:
            self.watchers.join(message.name, channel)
        except RoomError as problem:
            channel.send_json({"type": "error", "error": str(problem)})
            return
        channel.send_json(Changed(message.name, self.text(message.name)))

    def tell(self, name: str) -> None:
        """Tell who watches a note what it says now."""
        self.watchers.broadcast_json(name, Changed(name, self.text(name)))

    def text(self, name: str) -> str | None:
        value = self.notes.get(name)
        return None if value is None else value.decode()


def answer(text: str) -> HttpResponse:
    return HttpResponse.json({"text": text})


main = Notes
