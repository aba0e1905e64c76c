"""Two nodes, one page: the processes of both tell each other who is there."""

from __future__ import annotations

import json
from dataclasses import dataclass

from guesthouse_sdk import (
    Address,
    BadAddress,
    Channel,
    ChannelPolicy,
    IncomingRequest,
    IncomingResponse,
    Process,
    Request,
    Response,
    SendError,
    bind_ws_path,
    get_state,
    set_state,
)

EVERY_SECONDS = 2
"""So often they tell each other, and so notice that the other node is gone, or back."""
MAX_NAME = 32
MAX_PEOPLE = 1000


@dataclass
class Name:
    """A client takes a name."""

    name: str

    def __post_init__(self) -> None:
        self.name = " ".join(self.name.split())
        if not self.name.isprintable() or len(self.name) > MAX_NAME:
            raise ValueError(f"a name has at most {MAX_NAME} visible characters")


@dataclass
class Meet:
    """A client says which node to show beside this one."""

    node: str


class Duo(Process):
    """One process on each node. The other one has the same name, at another node."""

    messages = Name | Meet
    when_full = ChannelPolicy.CLOSE  # a page that reads too slowly connects again

    def __init__(self) -> None:
        self.names: dict[Channel, str] = {}
        self.other: Address | None = None
        self.there: list[str] | None = None
        """Who is at the other node; None: it cannot be reached."""

    def on_start(self) -> None:
        bind_ws_path("/")
        kept = get_state()
        if kept:
            self.other = Address.parse(kept.decode())
        self.tell_regularly()

    def on_open(self, channel: Channel) -> None:
        self.names[channel] = f"guest {channel.id % 100}"
        self.changed()

    def on_close(self, channel: Channel) -> None:
        self.names.pop(channel, None)
        self.changed()

    def on_message(self, channel: Channel, message: Name | Meet) -> None:
        if isinstance(message, Name):
            self.names[channel] = message.name or self.names[channel]
        else:
            try:
                self.meet(Address.parse(f"{message.node}@{self.our.process}"))
            except BadAddress as problem:
                channel.send_json({"type": "error", "error": str(problem)})
                return
        self.changed()

    def meet(self, other: Address) -> None:
        if other not in (self.our, self.other):
            self.other, self.there = other, None
            set_state(str(other).encode())

    def changed(self) -> None:
        """Tell everybody: the pages here, and the process there."""
        self.show()
        self.tell_other()

    def show(self) -> None:
        there = None if self.other is None else {"node": self.other.node, "names": self.there}
        here = {"node": self.our.node, "names": self.people()}
        self.broadcast_json({"type": "people", "here": here, "there": there})

    def people(self) -> list[str]:
        return sorted(self.names.values())[:MAX_PEOPLE]

    def tell_regularly(self) -> None:
        self.tell_other()
        self.call_later(EVERY_SECONDS, self.tell_regularly)

    def tell_other(self) -> None:
        if self.other is not None:
            names = json.dumps(self.people())
            Request().target(self.other).body(names).expects_response(EVERY_SECONDS).send()

    def on_request(self, source: Address, request: IncomingRequest) -> Response | None:
        """The process of another node tells who is there, and is told who is here."""
        if source.process != self.our.process:
            return None
        if self.other is None:
            self.meet(source)
        if source != self.other:
            return None
        self.heard(request.body)
        return Response().body(json.dumps(self.people()))

    def on_response(self, source: Address, response: IncomingResponse) -> None:
        if source == self.other:
            self.heard(response.body)

    def on_send_error(self, error: SendError) -> None:
        if error.target == self.other and self.there is not None:
            self.there = None
            self.show()

    def heard(self, body: bytes) -> None:
        """Another node may run another version of this: what is not a list of names is nobody."""
        try:
            told = json.loads(body)
        except (ValueError, RecursionError):
            told = None
        names = [str(name)[:MAX_NAME] for name in told[:MAX_PEOPLE]] if isinstance(told, list) else []
        if names != self.there:
            self.there = names
            self.show()


main = Duo
