"""Takes `VERB WRITER NUMBER`, enters the number, and answers with it; numbers of a writer only grow.

`say` enters it in memory, `keep` in the state, `kv` in `kv:distro:sys`, `timer` as a durable timer `WRITER-NUMBER` that
is due in an hour, and `soon` as one that is due in a second: then it says `rang WRITER-NUMBER` to all channels. What
cannot be entered is answered with `refused NUMBER`. A number that is not above the one before is answered with
`twice NUMBER`: a message came again. `state` answers what is stored.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from guesthouse_sdk import (
    Address,
    Channel,
    IncomingRequest,
    LazyLoadBlob,
    Process,
    Request,
    StateError,
    bind_ws_path,
    get_state,
    set_state,
)

HOUR, SECOND = 3_600_000, 1_000


class Ledger(Process):
    """What each writer wrote last."""

    def on_start(self) -> None:
        stored = json.loads(get_state() or b'{"last": {}, "sum": 0, "padding": ""}')
        self.stored: dict[str, int] = stored["last"]
        self.last = dict(self.stored)
        self.entering: dict[str, Callable[[str, int], bool]] = {
            "say": lambda writer, number: True,
            "keep": self.keep,
            "kv": self.kv,
            "timer": lambda writer, number: self.timer(writer, number, HOUR),
            "soon": lambda writer, number: self.timer(writer, number, SECOND),
        }
        bind_ws_path("/", authenticated=False)

    def on_message(self, channel: Channel, message: str | bytes) -> None:
        assert isinstance(message, str)
        if message == "state":
            channel.send((get_state() or b"").decode())
            return
        verb, writer, digits = message.split(" ")
        number = int(digits)
        if number <= self.last.get(writer, 0):
            channel.send(f"twice {number}")
            return
        self.last[writer] = number
        channel.send(str(number) if self.entering[verb](writer, number) else f"refused {number}")

    def keep(self, writer: str, number: int) -> bool:
        entries = {**self.stored, writer: number}
        total = sum(entries.values())
        whole = {"last": entries, "sum": total, "padding": "x" * (total * 7919 % 5000)}
        try:
            set_state(json.dumps(whole).encode())
        except StateError:
            return False
        self.stored = entries
        return True

    def kv(self, writer: str, number: int) -> bool:
        action = {"db": "ledger", "action": {"Set": {"key": writer}}}
        return self.ask("kv", action, LazyLoadBlob(None, str(number).encode()))

    def timer(self, writer: str, number: int, milliseconds: int) -> bool:
        return self.ask("timer", {"Set": {"id": f"{writer}-{number}", "milliseconds": milliseconds}})

    def ask(self, module: str, body: object, blob: LazyLoadBlob | None = None) -> bool:
        request = Request().target(f"{self.our.node}@{module}:distro:sys").body(json.dumps(body))
        if blob is not None:
            request.blob(blob)
        return request.send_and_await_response(30).body == b'"Ok"'

    def on_request(self, source: Address, request: IncomingRequest) -> None:
        name = json.loads(request.body)["Timer"]["id"]
        print(f"rang {name}")
        self.broadcast(f"rang {name}")


main = Ledger
