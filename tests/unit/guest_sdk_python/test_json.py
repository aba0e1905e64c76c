"""JSON helpers, bodies of requests, openings that fail, and what happens to what a full outbox has no room for."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import ClassVar

import pytest
from guesthouse_sdk import (
    Address,
    BadBody,
    BadJson,
    Channel,
    ChannelFull,
    ChannelPolicy,
    Http,
    HttpResponse,
    IncomingRequest,
    IncomingResponse,
    Process,
    Request,
    Response,
    bind_http_path,
    get_blob,
    receive,
)
from guesthouse_sdk.kv import KeyValues
from guesthouse_sdk.rooms import Rooms
from guesthouse_sdk.testing import Answer, FakeHost, FakeLimits


class Speaker(Process):
    def on_message(self, channel: Channel, message: str | bytes) -> None:
        channel.send_json({"said": message, "é": [1, None]})


def test_a_channel_sends_json_also_of_text_that_utf8_cannot_encode() -> None:
    with FakeHost() as host:
        channel = host.open()
        channel.send_text("hi")
        host.run(Speaker)
        assert channel.received == ['{"said":"hi","\\u00e9":[1,null]}']

        class Odd(Process):
            def on_open(self, channel: Channel) -> None:
                channel.send_json(json.loads('"\\ud800"'))
                for wrong in (float("nan"), object(), b"bytes"):
                    with pytest.raises((TypeError, ValueError)):
                        channel.send_json(wrong)

    with FakeHost() as host:
        channel = host.open()
        host.run(Odd)
        assert channel.received == ['"\\ud800"']
        assert host.log == []


def test_json_is_broadcast_to_all_some_and_a_room() -> None:
    class Talk(Process):
        def __init__(self) -> None:
            self.rooms = Rooms(self)

        def on_open(self, channel: Channel) -> None:
            if len(self.channels) == 1:
                self.rooms.join("red", channel)

        def on_message(self, channel: Channel, message: str | bytes) -> None:
            assert self.broadcast_json([1]) == {}
            self.broadcast_json([2], to=[channel])
            self.rooms.broadcast_json("red", [3])
            self.rooms.broadcast_json("red", [4], but=self.channels)

    with FakeHost() as host:
        one, other = host.open(), host.open()
        other.send_text("go")
        host.run(Talk)
        assert (one.received, other.received, host.log) == (["[1]", "[3]"], ["[1]", "[2]"], [])


class Site(Process):
    def on_start(self) -> None:
        bind_http_path("/:what")

    def on_http(self, request: Http) -> HttpResponse:
        match request.url_params["what"]:
            case "json":
                return HttpResponse.json({"got": request.json()}, 201, {"x": "y"})
            case "text":
                return HttpResponse(request.text())
            case "bytes":
                return HttpResponse(request.bytes())
        KeyValues("bodies").set("latest", "x")
        assert get_blob() is None  # that of the answer of kv, which has none
        return HttpResponse(request.bytes() + request.bytes())


def test_bodies_are_read_as_json_text_and_bytes() -> None:
    with FakeHost() as host:
        host.grant("kv:distro:sys")
        host.run(Site)
        made = host.http("POST", "/json", b'{"a": 1}')
        text, raw, kept = (host.http("POST", f"/{what}", "å".encode()) for what in ("text", "bytes", "kept"))
        empty = host.http("GET", "/bytes")
        host.run()
        assert (made.status, made.body, made.mime) == (201, b'{"got":{"a":1}}', "application/json")
        assert made.headers == [("x", "y")]
        assert (text.text, raw.body, empty.body) == ("å", "å".encode(), b"")
        assert kept.text == "åå"
        assert host.log == []


@pytest.mark.parametrize(
    ("path", "body"), [("/json", b"{"), ("/json", b"\xff"), ("/text", b"\xff"), ("/json", b"")]
)
def test_a_body_that_cannot_be_read_is_the_clients_fault(path: str, body: bytes) -> None:
    with FakeHost() as host:
        host.run(Site)
        exchange = host.http("POST", path, body)
        host.run()
        assert exchange.status == 400
        assert exchange.text.startswith(("that is not JSON", "the body is not UTF-8"))
        assert host.log == []


def test_a_body_that_is_too_deep_is_not_json() -> None:
    with pytest.raises(BadJson):
        IncomingRequest(Address.parse("a@b:c:d"), b"[" * 100_000).json()
    assert issubclass(BadBody, ValueError)


def test_a_body_is_gone_once_the_next_message_was_received_unless_it_was_read() -> None:
    requests: list[Http] = []

    def main(our: Address) -> None:
        bind_http_path("/a")
        while True:
            message = receive()
            if isinstance(message, Http):
                requests.append(message)
                if len(requests) == 2:
                    message.bytes()

    with FakeHost() as host:
        host.run(main)
        for _ in range(3):
            host.http("POST", "/a", b"body")
        host.run()
        with pytest.raises(RuntimeError, match="is gone"):
            requests[0].bytes()
        assert requests[1].bytes() == b"body"
    assert Http("GET", "/", "/").bytes() == b""
    assert Http("GET", "/", "/") == Http("GET", "/", "/")


def test_requests_and_responses_of_processes_are_read_as_json() -> None:
    seen: list[object] = []

    class Asker(Process):
        def on_request(self, source: Address, request: IncomingRequest) -> Response:
            seen.append(request.json())
            Request().target(f"{self.our.node}@other:other:other.os").body("{}").expects_response(5).send()
            return Response().body("{}")

        def on_response(self, source: Address, response: IncomingResponse) -> None:
            seen.append(response.json())
            with pytest.raises(BadJson):
                IncomingResponse(source, b"{").json()

    with FakeHost() as host:
        host.process("other:other:other.os", lambda sent: Answer(b"[2]"))
        host.request(b"[1]")
        host.run(Asker)
        assert (seen, host.log) == ([[1], [2]], [])


class Broken(Process):
    left: ClassVar[list[int]] = []

    def __init__(self) -> None:
        self.rooms = Rooms(self)

    def on_open(self, channel: Channel) -> None:
        self.rooms.join("red", channel)
        if channel.path != "/" or channel.opened.resumed:
            raise LookupError("no luck")

    def on_message(self, channel: Channel, message: str | bytes) -> None:
        channel.send(str(len(self.rooms.members("red"))))


def test_a_channel_that_cannot_be_opened_is_closed() -> None:
    class Failing(Broken):
        def on_open(self, channel: Channel) -> None:
            self.rooms.join("red", channel)
            if len(self.channels) > 1:
                raise LookupError("no luck")

    with FakeHost() as host:
        good, bad = host.open(), host.open()
        host.run(Failing)
        assert bad.closed == (1011, "the process failed to open the channel")
        assert [line.text.splitlines()[0] for line in host.log] == ["on_open failed"]
        good.send_text("how many?")
        host.run()
        assert good.received == ["1"]


def test_a_channel_that_cannot_be_resumed_is_closed() -> None:
    with FakeHost() as host:
        channel = host.open()
        host.run(Broken)
        assert channel.open
        host.restart()
        assert channel.closed == (1011, "the process failed to open the channel")
        assert [line.text.splitlines()[0] for line in host.log] == ["on_resume failed"]


def test_a_channel_whose_client_left_before_it_failed_to_open_is_no_error() -> None:
    class Failing(Process):
        when_full = ChannelPolicy.DROP_OLDEST

        def on_open(self, channel: Channel) -> None:
            channel.close()
            raise LookupError("no luck")

    with FakeHost() as host:
        channel = host.open()
        host.run(Failing)
        assert channel.closed == (1000, "")
        assert len(host.log) == 1


@pytest.mark.parametrize(
    ("policy", "outcome"),
    [
        (ChannelPolicy.REFUSE, "refused"),
        (ChannelPolicy.DROP_OLDEST, "newest"),
        (ChannelPolicy.WAIT, "all"),
        (ChannelPolicy.CLOSE, "closed"),
    ],
)
def test_a_process_says_what_happens_when_an_outbox_is_full(policy: ChannelPolicy, outcome: str) -> None:
    refusals: list[int] = []

    class Flood(Process):
        when_full = policy

        def on_message(self, channel: Channel, message: str | bytes) -> None:
            for number in range(3):
                try:
                    channel.send(message if number else b"0")
                except ChannelFull:
                    refusals.append(number)

    with FakeHost(limits=FakeLimits(outbox_bytes=150)) as host:
        for restarted in (False, True):  # the host forgets the policy with the run
            refusals.clear()
            channel = host.open()
            host.run(Flood)
            if restarted:
                host.restart()
            channel.stop_reading()
            channel.send_text("1")
            host.run()
            closed = channel.closed
            if closed is None:
                channel.resume_reading()
            expected: dict[str, tuple[list[str | bytes], list[int], bool]] = {
                "refused": ([b"0", "1"], [2], False),
                "newest": (["1", "1"], [], False),
                "all": ([b"0", "1", "1"], [], False),
                "closed": ([], [], True),
            }
            assert (channel.received, refusals, closed is not None) == expected[outcome]


def test_an_http_request_is_its_fields_and_can_be_written_as_json() -> None:
    """Its payload is none of them."""
    seen: list[str] = []

    class Shown(Process):
        def on_start(self) -> None:
            bind_http_path("/")

        def on_http(self, request: Http) -> HttpResponse:
            seen.append(json.dumps(asdict(request)))
            return HttpResponse(request.bytes())

    with FakeHost() as host:
        host.run(Shown)
        exchange = host.http("POST", "/", body=b"content")
        host.run()
    assert exchange.body == b"content"
    assert Http("GET", "/", "/").bytes() == b""
    assert sorted(json.loads(seen[0])) == [
        *("bound_path", "claims", "headers", "method", "query_params"),
        *("source_socket_addr", "url", "url_params"),
    ]


class Repeats(Process):
    def on_start(self) -> None:
        bind_http_path("/", authenticated=False)

    def on_http(self, request: Http) -> HttpResponse:
        return HttpResponse.json(request.json())


@pytest.mark.parametrize("body", [b"NaN", b"[-Infinity]", b'{"a": 1e999}', b"-1e999"])
def test_a_number_that_json_cannot_say_is_refused_where_it_comes_in(body: bytes) -> None:
    with FakeHost() as host:
        host.run(Repeats)
        wrong, right = host.http("POST", "/", body), host.http("POST", "/", b"[1e308, -0.5, 1]")
        host.run()
        assert (wrong.status, right.status) == (400, 200)
        assert right.body == b"[1e+308,-0.5,1]"


def test_what_is_no_message_is_told_what_would_be_one() -> None:
    class Wrong(Process):
        def on_message(self, channel: Channel, message: str | bytes) -> None:
            for send in (channel.send, self.broadcast):
                with pytest.raises(TypeError, match=r"must be a str or bytes \(or see send_json\), not dict"):
                    send({"said": message})  # type: ignore[arg-type]

    with FakeHost() as host:
        host.open().send_text("hi")
        host.run(Wrong)
        assert host.log == []
