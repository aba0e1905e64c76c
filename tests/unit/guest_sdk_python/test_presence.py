"""`on_away` and `on_back`, which only a process that has them is told."""

from __future__ import annotations

import json

from guesthouse_sdk import Channel, IncomingRequest, Process, Response, bind_ws_path
from guesthouse_sdk.address import Address
from guesthouse_sdk.testing import FakeHost


class Host(Process):
    """Writes down who is away."""

    calls: list[tuple[str, int]]

    def on_start(self) -> None:
        bind_ws_path("/", authenticated=False)

    def on_away(self, channel: Channel) -> None:
        assert channel.away
        type(self).calls.append(("away", channel.id))

    def on_back(self, channel: Channel) -> None:
        assert not channel.away
        type(self).calls.append(("back", channel.id))

    def on_close(self, channel: Channel) -> None:
        type(self).calls.append(("close", channel.id))

    def on_message(self, channel: Channel, message: str | bytes) -> None:
        self.broadcast(message)


class Unaware(Process):
    """Knows nothing of it, and takes requests."""

    requests: list[bytes]

    def on_start(self) -> None:
        bind_ws_path("/", authenticated=False)

    def on_request(self, source: Address, request: IncomingRequest) -> Response | None:
        type(self).requests.append(request.body)
        return None


def test_a_process_is_told_who_is_away_and_back_and_what_it_sends_meanwhile_waits() -> None:
    Host.calls = []
    with FakeHost() as host:
        host.run(Host)
        ada, ben = host.open(), host.open()
        ben.go_away()
        ben.go_away()
        ada.send_text("hello")
        host.run()
        assert (ada.received, ben.received) == (["hello"], [])
        ben.come_back()
        host.run()
        assert ben.received == ["hello"]
        ben.go_away()
        host.run()
        ben.close()
        host.run()
    assert Host.calls == [("away", ben.id), ("back", ben.id), ("away", ben.id), ("close", ben.id)]


def test_a_new_run_is_told_who_is_away() -> None:
    Host.calls = []
    with FakeHost() as host:
        host.run(Host)
        ada = host.open()
        host.run()
        ada.go_away()
        host.run()
        host.restart()
        ada.come_back()
        host.run()
    assert [what for what, _ in Host.calls] == ["away", "away", "back"]


def test_a_process_without_these_methods_is_told_nothing() -> None:
    Unaware.requests = []
    with FakeHost() as host:
        host.run(Unaware)
        ada = host.open()
        host.run()
        ada.go_away()
        host.run()
    assert Unaware.requests == []


def test_only_the_nodes_own_http_server_is_believed() -> None:
    Host.calls = []
    with FakeHost() as host:
        host.run(Host)
        ada = host.open()
        host.run()
        for source in ("fake.os@other:other:guesthouse.os", "other.os@http-server:distro:sys"):
            host.request(json.dumps({"WebSocketAway": ada.id}).encode(), source=source, expects_response=None)
        host.run()
    assert Host.calls == []
