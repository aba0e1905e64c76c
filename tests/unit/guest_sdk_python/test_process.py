from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from guesthouse_sdk import (
    Address,
    BadClose,
    BadCloseCode,
    Channel,
    ChannelFull,
    ChannelNotFound,
    Http,
    HttpResponse,
    IncomingRequest,
    IncomingResponse,
    LazyLoadBlob,
    NodeUnreachable,
    Process,
    Request,
    Response,
    SendError,
    WsMessageType,
    _wit,
    bind_http_path,
    bind_ws_path,
    close_channel,
    close_channels,
    get_blob,
    send_ws_push,
    send_ws_push_many,
    send_ws_push_to_path,
    send_ws_push_waiting,
)
from guesthouse_sdk._checks import MAX_ELEMENTS, MAX_HEADERS, MAX_NAMED, MAX_ON_EXIT, MAX_SUBPROTOCOLS
from guesthouse_sdk._native.http_server import PushError as RawPushError
from guesthouse_sdk._native.types import WsMessageType as RawType
from guesthouse_sdk.channel_requests import ChannelRequest
from guesthouse_sdk.testing import Answer, FakeHost, FakeLimits

from guesthouse.core.capabilities import MOST_NAMED
from guesthouse.link.schema import MOST_HEADERS, MOST_ON_EXIT, MOST_SUBPROTOCOLS
from guesthouse.wasm.values import MAX_LIST

OTHER = "other:other:guesthouse.os"
CLOSE = LazyLoadBlob(None, b"\x0f\xa0")
"""The payload of a close with 4000."""


class Recorder(Process):
    """Writes down what it is called with; the last one made is `latest`."""

    latest: Recorder

    def __init__(self) -> None:
        Recorder.latest = self
        self.calls: list[tuple[object, ...]] = []

    def on_start(self) -> None:
        self.calls.append(("start", len(self.channels)))
        bind_ws_path("/rooms/:room", authenticated=False)
        bind_http_path("/page")

    def on_open(self, channel: Channel) -> None:
        assert channel in self.channels
        self.calls.append(
            ("open", channel.id, channel.path, dict(channel.url_params), channel.opened.resumed)
        )

    def on_message(self, channel: Channel, message: str | bytes) -> None:
        self.calls.append(("message", channel.id, message))
        if message == "boom":
            raise ValueError("no such thing")
        if message == "close":
            channel.close(4000, "asked for")
        if message == "exit":
            sys.exit()

    def on_close(self, channel: Channel) -> None:
        assert channel not in self.channels
        self.calls.append(("close", channel.id))


def test_channels_are_kept_and_told_of_in_order() -> None:
    with FakeHost() as host:
        one = host.open()
        host.run(Recorder)
        other = host.open("/rooms/7", logged_in=False)
        one.send_text("hi")
        other.send_bytes(b"\xff")
        one.close()
        host.run()
        assert Recorder.latest.calls == [
            ("start", 0),
            ("open", one.id, "/", {}, False),
            ("open", other.id, "/rooms/7", {"room": "7"}, False),
            ("message", one.id, "hi"),
            ("message", other.id, b"\xff"),
            ("close", one.id),
        ]
        assert [channel.id for channel in Recorder.latest.channels] == [other.id]


def test_an_exception_is_logged_with_its_traceback_and_costs_one_message() -> None:
    with FakeHost() as host:
        channel = host.open()
        channel.send_text("boom")
        channel.send_text("still here")
        host.run(Recorder)
        assert Recorder.latest.calls[-1] == ("message", channel.id, "still here")
        (line,) = host.log
        assert line.level == "error"
        assert line.text.startswith("on_message failed\nTraceback (most recent call last):\n")
        assert line.text.endswith("ValueError: no such thing")
        assert 'raise ValueError("no such thing")' in line.text
        assert "guesthouse_sdk/process.py" not in line.text


def test_after_a_restart_open_channels_are_put_back_before_anything_else() -> None:
    with FakeHost() as host:
        kept, left = host.open(), host.open()
        host.run(Recorder)
        kept.send_text("waiting")
        left.close()
        host.restart()
        assert Recorder.latest.calls == [
            ("start", 0),
            ("open", kept.id, "/", {}, True),
            ("open", left.id, "/", {}, True),
            ("message", kept.id, "waiting"),
            ("close", left.id),
        ]


def test_on_resume_may_treat_old_channels_differently() -> None:
    seen: list[str] = []

    class Quiet(Process):
        def on_open(self, channel: Channel) -> None:
            seen.append("open")

        def on_resume(self, channel: Channel) -> None:
            seen.append("resume")

    with FakeHost() as host:
        host.open()
        host.run(Quiet)
        host.restart()
    assert seen == ["open", "resume"]


def test_a_process_knows_what_a_service_says_of_its_clients() -> None:
    told: list[object] = []

    class Asks(Process):
        def on_start(self) -> None:
            bind_http_path("/mine")
            bind_http_path("/open", authenticated=False)

        def on_open(self, channel: Channel) -> None:
            told.append(channel.claims)

        on_resume = on_close = on_open

        def on_http(self, request: Http) -> str:
            told.append(request.claims)
            return "ok"

    claims = {"user": "Zoë", "roles": ["a"]}
    with FakeHost() as host:
        host.run(Asks)
        client, _ = host.open(claims=claims), host.open()
        host.run()
        host.restart()
        client.close()
        for path in ("/mine", "/open"):
            host.http("GET", path, claims=claims)
        host.run()
    assert told == [claims, None, claims, None, claims, claims, None]


def test_closing_a_channel_forgets_it_and_what_was_under_way() -> None:
    with FakeHost() as host:
        channel = host.open()
        channel.send_text("close")
        channel.send_text("too late")
        host.run(Recorder)
        assert channel.closed == (4000, "asked for")
        assert Recorder.latest.channels == set()
        assert [call[0] for call in Recorder.latest.calls] == ["start", "open", "message"]


@pytest.mark.parametrize(
    ("path", "close"),
    [
        ("/", lambda our, id_: close_channel(id_, 4000)),
        ("/", lambda our, id_: close_channels([id_, 99, id_], 4000)),
        ("/", lambda our, id_: send_ws_push(our.node, id_, WsMessageType.Close, CLOSE)),
        ("/", lambda our, id_: send_ws_push_many([id_, 99], WsMessageType.Close, CLOSE)),
        ("/", lambda our, id_: send_ws_push_waiting(id_, WsMessageType.Close, CLOSE)),
        ("/rooms/7", lambda our, id_: send_ws_push_to_path("/rooms/7", WsMessageType.Close, CLOSE)),
        ("/rooms/7", lambda our, id_: send_ws_push_to_path("/rooms/:room", WsMessageType.Close, CLOSE)),
        (
            "/files/a/b",
            lambda our, id_: send_ws_push_to_path("/files/*path", WsMessageType.Close, CLOSE),
        ),
    ],
)
def test_a_channel_that_is_closed_without_its_object_is_forgotten_too(
    path: str, close: Callable[[Address, int], object]
) -> None:
    class Closer(Process):
        def on_start(self) -> None:
            for each in ("/", "/rooms/:room", "/:other/:room", "/files/*path"):
                bind_ws_path(each, authenticated=False)
            self.calls: list[object] = []

        def on_message(self, channel: Channel, message: str | bytes) -> None:
            self.calls.append(message)
            if message == "close":
                close(self.our, channel.id)
            self.calls.append(sorted(each.id for each in self.channels))

        def on_close(self, channel: Channel) -> None:
            self.calls.append("closed")

    made: list[Closer] = []

    class Watched(Closer):
        def __init__(self) -> None:
            made.append(self)

    with FakeHost() as host:
        host.run(Watched)
        kept, closed = host.open("/games/7"), host.open(path)
        kept.send_text("before")
        closed.send_text("close")
        closed.send_text("under way")
        kept.send_text("after")
        host.run()
        assert closed.closed is not None
        assert closed.closed[0] == 4000
    assert made[0].calls == ["before", [kept.id, closed.id], "close", [kept.id], "after", [kept.id]]


def test_a_close_that_is_refused_forgets_nothing() -> None:
    kept_by: list[list[int]] = []

    class Closer(Process):
        def on_message(self, channel: Channel, message: str | bytes) -> None:
            bad = LazyLoadBlob(None, b"\x00\x01")
            with pytest.raises(BadClose):
                send_ws_push(self.our.node, channel.id, WsMessageType.Close, bad)
            with pytest.raises(BadCloseCode):
                close_channel(channel.id, 1005)
            assert list(close_channels([channel.id], 1005)) == [channel.id]
            with pytest.raises(NodeUnreachable):
                send_ws_push("far.os", channel.id, WsMessageType.Close, CLOSE)
            send_ws_push_many([channel.id], WsMessageType.Close, bad)
            send_ws_push_to_path(channel.path, WsMessageType.Close, bad)
            kept_by.append([each.id for each in self.channels])

    with FakeHost() as host:
        channel = host.open()
        channel.send_text("go")
        host.run(Closer)
    assert kept_by == [[channel.id]]


def test_any_number_of_channels_is_pushed_to_and_other_lists_end_at_what_the_host_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert MAX_ELEMENTS == MAX_LIST
    assert (MAX_HEADERS, MAX_SUBPROTOCOLS) == (MOST_HEADERS, MOST_SUBPROTOCOLS)
    assert (MAX_NAMED, MAX_ON_EXIT) == (MOST_NAMED, MOST_ON_EXIT)
    sizes: list[int] = []

    def push_many(ids: list[int], *rest: object) -> list[tuple[int, object]]:
        sizes.append(len(ids))
        return [(ids[0], RawPushError.CHANNEL_FULL)]

    for call in ("send_ws_push_many", "send_ws_text_many"):
        monkeypatch.setattr(_wit.http_server, call, push_many)
    ids = range(1, 2 * MAX_LIST + 2)
    for kind in (WsMessageType.Text, WsMessageType.Binary):
        refused = send_ws_push_many(ids, kind, LazyLoadBlob(None, b"x"))
        assert list(refused) == [1, MAX_LIST + 1, 2 * MAX_LIST + 1]
        assert all(isinstance(error, ChannelFull) for error in refused.values())
    assert send_ws_push_many(ids[:MAX_LIST], WsMessageType.Text, LazyLoadBlob(None, b"x")).keys() == {1}
    assert sizes == [MAX_LIST, MAX_LIST, 1] * 2 + [MAX_LIST]


def test_sending_to_a_client_that_has_left_is_an_error_and_closing_it_is_not() -> None:
    class Late(Process):
        def on_close(self, channel: Channel) -> None:
            with pytest.raises(ChannelNotFound, match=f"channel {channel.id}"):
                channel.send("anyone?")
            channel.close()

    with FakeHost() as host:
        host.open().close()
        host.run(Late)
        assert host.log == []


@pytest.mark.parametrize("handler", ["on_open", "on_message", "on_channel_request"])
def test_a_client_that_left_before_it_was_answered_takes_one_line_of_the_log(handler: str) -> None:
    class Answers(Process):
        def on_open(self, channel: Channel) -> None:
            self.answer("on_open", channel)

        def on_message(self, channel: Channel, message: str | bytes) -> None:
            self.answer("on_message", channel)

        def on_channel_request(self, channel: Channel, request: ChannelRequest) -> object:
            self.answer("on_channel_request", channel)
            return None

        def answer(self, name: str, channel: Channel) -> None:
            if name == handler:
                left.known = False  # a node has forgotten it before its end is told
                channel.send("hello")

    with FakeHost() as host:
        left = host.open()
        left.send_text('{"request": 1, "body": null}' if handler == "on_channel_request" else "hello")
        left.close()
        host.run(Answers)
        (line,) = host.log
        assert line.text == f"{handler} stopped at a push to channel {left.id}: its client has left"
        assert line.level == "warning"


def test_a_push_to_a_channel_that_the_process_does_not_have_is_logged_with_its_traceback() -> None:
    class Wrong(Process):
        def on_message(self, channel: Channel, message: str | bytes) -> None:
            channel.close()
            channel.send("too late")

    with FakeHost() as host:
        host.open().send_text("hello")
        host.run(Wrong)
        (line,) = host.log
        assert line.text.startswith("on_message failed\nTraceback")


@pytest.mark.parametrize("message", [5, None, "\ud800", ["list"]])
def test_a_message_that_is_none_is_refused_before_it_crosses(message: object) -> None:
    class Wrong(Process):
        def on_open(self, channel: Channel) -> None:
            with pytest.raises((TypeError, ValueError)):
                channel.send(message)  # type: ignore[arg-type]
            with pytest.raises((TypeError, ValueError)):
                self.broadcast(message)  # type: ignore[arg-type]
            with pytest.raises(BadCloseCode):
                channel.close(1005)

    with FakeHost() as host:
        channel = host.open()
        host.run(Wrong)
        assert (channel.received, host.log) == ([], [])


def test_a_broadcast_reaches_all_and_returns_who_was_refused() -> None:
    refused: dict[Channel, Exception] = {}

    class Speaker(Process):
        def on_message(self, channel: Channel, message: str | bytes) -> None:
            refused.update(self.broadcast(message))
            self.broadcast("for you", to=[channel])
            self.broadcast("for nobody", to=[])

    with FakeHost(limits=FakeLimits(outbox_bytes=100)) as host:
        one, other, slow = host.open(), host.open(), host.open()
        slow.stop_reading()
        one.send_bytes(b"x" * 36)
        one.send_text("text")
        host.run(Speaker)
        assert one.received == [b"x" * 36, "for you", "text", "for you"]
        assert other.received == [b"x" * 36, "text"]
        assert [(channel.id, type(error)) for channel, error in refused.items()] == [(slow.id, ChannelFull)]


def test_pings_and_pongs_of_clients_are_no_messages() -> None:
    with FakeHost() as host:
        channel = host.open()
        channel.send(RawType.PING, b"p")
        channel.send(RawType.PONG, b"p")
        host.run(Recorder)
        assert [call[0] for call in Recorder.latest.calls] == ["start", "open"]


def test_http_is_answered_by_what_is_returned() -> None:
    class Site(Process):
        def on_start(self) -> None:
            for path in ("/text", "/bytes", "/full", "/boom", "/echo"):
                bind_http_path(path)

        def on_http(self, request: Http) -> HttpResponse | str | bytes | None:
            match request.bound_path:
                case "/text":
                    return "text"
                case "/bytes":
                    return b"bytes"
                case "/full":
                    return HttpResponse("made", 201, {"x": "y"}, "text/x")
                case "/echo":
                    blob = get_blob()
                    return blob.bytes if blob else None
            raise KeyError(request.bound_path)

    with FakeHost() as host:
        host.run(Site)
        paths = ("/text", "/bytes", "/full", "/boom", "/echo")
        text, raw, full, boom, echo = (host.http("POST", path, b"body") for path in paths)
        host.run()
        assert (text.status, text.text, text.mime) == (200, "text", "text/plain; charset=utf-8")
        assert (raw.status, raw.body, raw.mime) == (200, b"bytes", None)
        assert (full.status, full.text, full.mime, full.headers) == (201, "made", "text/x", [("x", "y")])
        assert boom.status == 500
        assert echo.body == b"body"
        assert [line.text.splitlines()[0] for line in host.log] == ["on_http failed"]


def test_a_process_without_on_http_answers_404() -> None:
    with FakeHost() as host:
        host.run(Recorder)
        exchange = host.http("GET", "/page")
        host.run()
        assert exchange.status == 404


def test_other_processes_are_answered_and_asked() -> None:
    seen: list[object] = []

    class Talker(Process):
        def on_request(self, source: Address, request: IncomingRequest) -> Response:
            Request().target(f"fake.os@{OTHER}").body(request.body).expects_response(5).send()
            Request().target("fake.os@no:no:no.os").body(b"lost").send()
            return Response().body(b"done")

        def on_response(self, source: Address, response: IncomingResponse) -> None:
            seen.append((str(source.process), response.body))

        def on_send_error(self, error: SendError) -> None:
            seen.append(error.body)

    with FakeHost() as host:
        host.process(OTHER, lambda sent: Answer(sent.body + b"!"))
        exchange = host.request(b"ask")
        host.run(Talker)
        assert exchange.body == b"done"
        assert seen == [(OTHER, b"ask!"), b"lost"]


def test_a_process_is_asked_to_hand_over_by_the_kernel_of_its_node_alone() -> None:
    heard: list[object] = []

    class Careful(Process):
        def on_handover(self) -> None:
            heard.append("hand over")

        def on_request(self, source: Address, request: IncomingRequest) -> None:
            heard.append(str(source))

    body = b'{"handover": {"version": "2.0", "seconds": 5.0}}'
    sources = [
        f"{node}.os@{name}:distro:sys"
        for node, name in (("fake", "kernel"), ("evil", "kernel"), ("fake", "x"))
    ]
    with FakeHost() as host:
        for source in sources:
            host.request(body, source=source, expects_response=None)
        host.run(Careful)
    assert heard == ["hand over", *sources[1:]]


def test_exiting_ends_the_process_without_an_error() -> None:
    with FakeHost() as host:
        host.open().send_text("exit")
        host.run(Recorder)
        assert host.ended
        assert host.log == []


def test_a_failure_to_start_ends_the_process_and_is_logged() -> None:
    class Broken(Process):
        def on_start(self) -> None:
            raise RuntimeError("no luck")

    with FakeHost() as host:
        with pytest.raises(RuntimeError, match="no luck"):
            host.run(Broken)
        assert host.ended
        assert host.log[0].text.startswith("the process failed\nTraceback")


def test_a_text_message_costs_two_calls() -> None:
    class Echo(Process):
        def on_message(self, channel: Channel, message: str | bytes) -> None:
            channel.send(message)

    calls: list[str] = []

    class Counting(FakeHost):
        def __getattribute__(self, name: str) -> object:
            if name in {
                "receive",
                "receive_ws_push",
                "get_blob",
                "get_blob_text",
                "has_blob",
                "last_blob",
                "our",
            } or (name.startswith("send_")):
                calls.append(name)
            return super().__getattribute__(name)

    with Counting() as host:
        channel = host.open()
        host.run(Echo)
        calls.clear()
        channel.send_text("hi")
        host.run()
        sent = [call for call in calls if call != "send_ws_push"]  # what the fake itself makes of a text
        assert sent == ["send_ws_text", "receive_ws_push"]
        assert channel.received == ["hi"]
    assert WsMessageType.Text == "Text"
