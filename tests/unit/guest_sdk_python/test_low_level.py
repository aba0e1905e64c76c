from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from guesthouse_sdk import (
    HTTP_SERVER,
    Address,
    BadPath,
    ChannelFull,
    ChannelNotFound,
    CloseReasonTooLong,
    GuestError,
    Http,
    IncomingRequest,
    IncomingResponse,
    LazyLoadBlob,
    MailboxFull,
    Message,
    MessageTooBig,
    NodeUnreachable,
    NoSuchProcess,
    NotUtf8,
    Offline,
    PingPongTooLong,
    Request,
    Response,
    SendError,
    StateTooBig,
    TimedOut,
    TooManyBindings,
    WebSocketClose,
    WebSocketOpen,
    WebSocketPush,
    WsMessageType,
    bind_http_path,
    bind_http_static_path,
    bind_ws_path,
    clear_state,
    close_channel,
    close_channels,
    get_blob,
    get_blob_text,
    get_on_exit,
    get_state,
    has_blob,
    last_blob,
    our,
    print_to_log,
    receive,
    send_http_response,
    send_ws_push,
    send_ws_push_many,
    set_on_exit,
    set_state,
    spawn,
    unbind_http_path,
    unbind_ws_path,
)
from guesthouse_sdk.errors import BadCloseCode
from guesthouse_sdk.testing import Answer, FakeHost, FakeLimits, Refused

OTHER = "other:other:guesthouse.os"
Step = Callable[[Address, Message], object]


def each_message(step: Step) -> Callable[[Address], None]:
    def main(our: Address) -> None:
        while True:
            step(our, receive())

    return main


def run_once(action: Callable[[Address], object], host: FakeHost) -> Any:
    """Run `action` as the process that has one open channel; returns what it returned."""
    results: list[object] = []

    def main(our: Address) -> None:
        receive()
        results.append(action(our))

    host.run(main)
    host.advance(60)  # what it waits for times out
    return results[0]


def test_events_can_be_told_apart_by_match() -> None:
    seen: list[object] = []

    def step(our: Address, message: Message) -> None:
        match message:
            case WebSocketOpen(channel_id, path):
                seen.append(("open", channel_id, path))
            case WebSocketPush(channel_id, WsMessageType.Text):
                seen.append(("text", channel_id, get_blob_text()))
            case WebSocketPush(channel_id, message_type):
                seen.append((message_type, channel_id))
            case WebSocketClose(channel_id):
                seen.append(("close", channel_id))
            case Http(method, url, bound_path):
                seen.append((method, url, bound_path))
            case IncomingRequest(source, body):
                seen.append((str(source), body))

    with FakeHost() as host:
        channel = host.open()
        channel.send_text("hi")
        channel.send_bytes(b"\xff")
        channel.close()
        host.request(b"ask", source="far.os@a:b:c.os")
        host.run(each_message(step))
    assert seen == [
        ("open", channel.id, "/"),
        ("text", channel.id, "hi"),
        (WsMessageType.Binary, channel.id),
        ("close", channel.id),
        ("far.os@a:b:c.os", b"ask"),
    ]


def test_a_blob_belongs_to_its_message_and_the_last_one_is_kept() -> None:
    seen: list[object] = []

    def step(our: Address, message: Message) -> None:
        seen.append((has_blob(), get_blob(), last_blob()))

    with FakeHost() as host:
        channel = host.open()
        channel.send_text("é")
        channel.close()
        host.run(each_message(step))
    blob = LazyLoadBlob(None, "é".encode())
    assert seen == [(False, None, None), (True, blob, blob), (False, None, blob)]


def test_a_text_push_takes_the_string_lane_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(our: Address, message: Message) -> None:
        if isinstance(message, WebSocketPush):
            blob = get_blob()
            assert blob is not None
            send_ws_push(our.node, message.channel_id, message.message_type, blob)

    def never(*_: object) -> None:
        raise AssertionError("a text message was turned into bytes")

    with FakeHost() as host:
        channel = host.open()
        channel.send_text("hi")
        monkeypatch.setattr(host, "get_blob", never)
        host.run(each_message(step))
    assert channel.received == ["hi"]


@pytest.mark.parametrize(
    ("message_type", "payload", "error"),
    [
        (WsMessageType.Text, b"\xff", NotUtf8),
        (WsMessageType.Ping, b"x" * 126, PingPongTooLong),
        (WsMessageType.PONG, b"x" * 126, PingPongTooLong),
        (WsMessageType.Close, b"x" * 126, PingPongTooLong),
        (WsMessageType.Binary, b"x" * 101, MessageTooBig),
        (WsMessageType.Text, b"x" * 101, MessageTooBig),
    ],
)
def test_a_push_that_breaks_a_rule_is_its_own_error(
    message_type: WsMessageType, payload: bytes, error: type[Exception]
) -> None:
    with FakeHost(limits=FakeLimits(message_bytes=100)) as host:
        channel = host.open()

        def push(our: Address) -> None:
            with pytest.raises(error, match=f"channel {channel.id}|must be UTF-8"):
                send_ws_push(our.node, channel.id, message_type, LazyLoadBlob(None, payload))

        run_once(push, host)
        assert channel.received == []
        assert channel.closed is None


@pytest.mark.parametrize("channel_id", [0, -1, 1 << 32, 1 << 80])
def test_a_channel_that_is_not_ours_does_not_exist(channel_id: int) -> None:
    def push(our: Address) -> None:
        for message_type in (WsMessageType.Text, WsMessageType.Binary):
            with pytest.raises(ChannelNotFound):
                send_ws_push(our.node, channel_id, message_type, LazyLoadBlob(None, b"x"))
        with pytest.raises(ChannelNotFound):
            close_channel(channel_id)

    with FakeHost() as host:
        host.open()
        run_once(push, host)


def test_a_channel_of_another_node_cannot_be_reached() -> None:
    def push(our: Address) -> None:
        with pytest.raises(NodeUnreachable):
            send_ws_push("other.os", 1, WsMessageType.Text, LazyLoadBlob(None, b"x"))

    with FakeHost() as host:
        host.open()
        run_once(push, host)


def test_pings_pongs_and_closes_reach_the_client() -> None:
    with FakeHost() as host:
        channel = host.open()

        def push(our: Address) -> None:
            send_ws_push(our.node, channel.id, WsMessageType.Ping, LazyLoadBlob(None, b"p"))
            send_ws_push(our.node, channel.id, WsMessageType.Pong, LazyLoadBlob(None, b""))
            farewell = (4001).to_bytes(2, "big") + "tschüß".encode()
            send_ws_push(our.node, channel.id, WsMessageType.Close, LazyLoadBlob(None, farewell))
            with pytest.raises(ChannelNotFound):
                send_ws_push(our.node, channel.id, WsMessageType.Ping, LazyLoadBlob(None, b""))

        run_once(push, host)
        assert channel.controls == [("Ping", b"p"), ("Pong", b"")]
        assert channel.closed == (4001, "tschüß")


def test_a_full_channel_refuses_until_its_client_reads() -> None:
    with FakeHost(limits=FakeLimits(outbox_bytes=1000)) as host:
        channel = host.open()
        channel.stop_reading()

        def push(our: Address) -> int:
            for count in range(100):
                try:
                    send_ws_push(our.node, channel.id, WsMessageType.Binary, LazyLoadBlob(None, b"x" * 100))
                except ChannelFull:
                    return count
            return 100

        count = run_once(push, host)
        assert 0 < count < 10
        channel.resume_reading()
        assert len(channel.received) == count


@pytest.mark.parametrize("message_type", [WsMessageType.Text, WsMessageType.Binary])
def test_pushing_to_many_tells_who_was_refused(message_type: WsMessageType) -> None:
    with FakeHost() as host:
        channel = host.open()
        refused = run_once(
            lambda our: send_ws_push_many([channel.id, 7], message_type, LazyLoadBlob(None, b"m")), host
        )
        assert list(refused) == [7]
        assert isinstance(refused[7], ChannelNotFound)
        assert channel.received == ["m" if message_type is WsMessageType.Text else b"m"]


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        (0, "", BadCloseCode),
        (1005, "", BadCloseCode),
        (1006, "", BadCloseCode),
        (1015, "", BadCloseCode),
        (2999, "", BadCloseCode),
        (5000, "", BadCloseCode),
        (70_000, "", BadCloseCode),
        (-1, "", BadCloseCode),
        (1000, "ü" * 62, CloseReasonTooLong),
    ],
)
def test_a_close_that_cannot_be_sent_closes_nothing(code: int, reason: str, error: type[Exception]) -> None:
    with FakeHost() as host:
        channel = host.open()

        def close(our: Address) -> None:
            with pytest.raises(error):
                close_channel(channel.id, code, reason)

        run_once(close, host)
        assert channel.open


def test_many_channels_are_closed_and_those_that_are_not_are_named() -> None:
    with FakeHost() as host:
        first, second = host.open(), host.open()

        def close(our: Address, message: Message) -> None:
            if not isinstance(message, WebSocketOpen) or message.channel_id != second.id:
                return
            for code, reason in ((70_000, ""), (1005, ""), (1000, "x" * 124)):
                kind = CloseReasonTooLong if reason else BadCloseCode
                assert {type(error) for error in close_channels([first.id], code, reason).values()} == {kind}
            refused = close_channels([first.id, 99, second.id, first.id], 4000, "bye")
            assert [(number, type(error)) for number, error in refused.items()] == [(99, ChannelNotFound)]
            assert close_channels([]) == {}

        host.run(each_message(close))
        assert first.closed == second.closed == (4000, "bye")


def test_closing_a_channel_brings_no_event() -> None:
    seen: list[Message] = []

    def step(our: Address, message: Message) -> None:
        seen.append(message)
        if isinstance(message, WebSocketOpen):
            close_channel(message.channel_id, 3000, "bye")

    with FakeHost() as host:
        channel = host.open()
        host.run(each_message(step))
        assert channel.closed == (3000, "bye")
        assert len(seen) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: LazyLoadBlob(None, 5),  # type: ignore[arg-type]
        lambda: LazyLoadBlob(None, "text"),  # type: ignore[arg-type]
        lambda: LazyLoadBlob.from_text("\ud800"),
        lambda: send_ws_push("fake.os", "1", WsMessageType.Text, LazyLoadBlob()),  # type: ignore[arg-type]
        lambda: send_ws_push("fake.os", 1, "Texty", LazyLoadBlob()),  # type: ignore[arg-type]
        lambda: send_ws_push("\ud800", 1, WsMessageType.Text, LazyLoadBlob()),
        lambda: send_ws_push("fake.os", 1, WsMessageType.Binary, LazyLoadBlob("\ud800", b"")),
        lambda: close_channel(1, 1000, "\ud800"),
        lambda: bind_ws_path("/\ud800"),
        lambda: bind_http_path(None),  # type: ignore[arg-type]
        lambda: send_http_response(99),
        lambda: send_http_response(1000),
        lambda: send_http_response(200, {"a": 1}),  # type: ignore[arg-type]
        lambda: set_state("text"),  # type: ignore[arg-type]
        lambda: Request().send(),
        lambda: Request().target("nobody"),
        lambda: Request().target(Address("ü", HTTP_SERVER)).send(),
        lambda: Request().target(Address("fake.os", "kv:distro:sys")).send(),  # type: ignore[arg-type]
        lambda: Request().body(7),  # type: ignore[arg-type]
        lambda: Request().expects_response(0),
        lambda: Request().expects_response(1 << 64),
        lambda: Request().metadata("\ud800"),
    ],
)
def test_what_does_not_fit_its_type_is_an_error_and_never_crosses(call: Callable[[], object]) -> None:
    def attempt(our: Address) -> None:
        with pytest.raises((TypeError, ValueError)):
            call()

    with FakeHost() as host:
        host.open()
        run_once(attempt, host)


def test_a_log_line_is_written_whatever_its_text() -> None:
    with FakeHost() as host:
        host.open()
        run_once(lambda our: print_to_log("lone \ud800"), host)
        assert [line.text for line in host.log] == ["lone ?"]


def test_logging_reaches_the_log_with_its_level() -> None:
    def speak(our: Address) -> None:
        log = logging.getLogger("some.module")
        log.debug("not asked for")
        log.info("at %s", our)
        log.warning("careful")
        log.error("broken")

    with FakeHost() as host:
        host.open()
        run_once(speak, host)
        assert [(line.level, line.text) for line in host.log] == [
            ("info", f"at {host.our_address}"),
            ("warning", "careful"),
            ("error", "broken"),
        ]


def test_the_push_without_the_helper_is_the_same_push() -> None:
    answers: list[object] = []

    def step(our: Address, message: Message) -> None:
        match message:
            case WebSocketOpen(channel_id):
                for target in (channel_id, 7):
                    body = {"WebSocketPush": {"channel_id": target, "message_type": WsMessageType.Text}}
                    request = Request().target(Address(our.node, HTTP_SERVER)).body(json.dumps(body))
                    request.blob(LazyLoadBlob(None, b"hi")).send()
                    answers.append(request.send_and_await_response(5).body)
            case IncomingResponse(source, body):
                answers.append((source.process, body))

    with FakeHost() as host:
        channel = host.open()
        host.run(each_message(step))
    error = b'{"Err": "WsChannelNotFound"}'
    assert channel.received == ["hi", "hi"]
    assert answers == [b'{"Ok": null}', error, (HTTP_SERVER, error)]


def test_a_response_comes_with_its_context_and_its_blob() -> None:
    seen: list[object] = []

    def step(our: Address, message: Message) -> None:
        match message:
            case WebSocketOpen():
                Request().target(f"fake.os@{OTHER}").body("q").context("c").expects_response(5).send()
            case IncomingResponse(source, body, context):
                seen.append((str(source.process), body, context, get_blob()))

    with FakeHost() as host:
        host.process(OTHER, lambda sent: Answer(sent.body + b"!", LazyLoadBlob("a/b", b"blob")))
        host.open()
        host.run(each_message(step))
    assert seen == [(OTHER, b"q!", b"c", LazyLoadBlob("a/b", b"blob"))]


@pytest.mark.parametrize(
    ("target", "error"),
    [(f"far.os@{OTHER}", Offline), (f"fake.os@{OTHER}", TimedOut), ("fake.os@no:no:no.os", NoSuchProcess)],
)
def test_a_request_that_fails_is_given_back(target: str, error: type[SendError]) -> None:
    def fail(our: Address) -> None:
        blob = LazyLoadBlob(None, b"blob")
        request = Request().target(target).body(b"q").blob(blob).context(b"c")
        with pytest.raises(error):
            request.send_and_await_response(5)
        request.send()
        with pytest.raises(error) as caught:
            receive()
        assert str(caught.value.target) == target
        assert (caught.value.body, caught.value.blob, caught.value.context) == (b"q", blob, b"c")

    with FakeHost() as host:
        host.process(OTHER, lambda sent: None)
        host.open()
        run_once(fail, host)
    assert not issubclass(error, MailboxFull)


def test_waiting_for_ones_own_answer_is_refused() -> None:
    def wait(us: Address) -> None:
        assert us == our()
        with pytest.raises(ValueError, match="its own answer"):
            Request().target(us).send_and_await_response(5)

    with FakeHost() as host:
        host.open()
        run_once(wait, host)


def test_inheriting_passes_the_blob_on() -> None:
    def step(our: Address, message: Message) -> None:
        if isinstance(message, WebSocketPush):
            Request().target(f"fake.os@{OTHER}").inherit().send()

    with FakeHost() as host:
        host.process(OTHER, lambda sent: None)
        host.open().send_text("payload")
        host.run(each_message(step))
        assert host.sent[0].blob == LazyLoadBlob(None, b"payload")


def test_a_request_is_answered_once_and_a_response_to_nobody_is_dropped() -> None:
    def step(our: Address, message: Message) -> None:
        if isinstance(message, IncomingRequest):
            Response().body(message.body.upper()).metadata("{}").send()
            Response().body(b"again").send()

    with FakeHost() as host:
        exchange = host.request(b"ask")
        unasked = host.request(b"tell", expects_response=None)
        host.run(each_message(step))
        assert (exchange.body, exchange.metadata) == (b"ASK", "{}")
        assert unasked.body is None
        assert len([line for line in host.log if "dropped" in line.text]) == 3


def test_http_requests_are_answered_with_parameters_headers_and_mime() -> None:
    def step(our: Address, message: Message) -> None:
        match message:
            case WebSocketOpen():
                bind_http_path("/items/:id", authenticated=False)
                bind_http_path("/items/new")
                bind_http_static_path("/logo", LazyLoadBlob("image/svg+xml", b"<svg/>"))
            case Http("POST", _, "/items/:id"):
                blob = get_blob()
                assert blob is not None
                shown = f"{message.url_params['id']} {message.query_params['q']} {message.header('X-A')}"
                send_http_response(201, [("set-cookie", "a"), ("set-cookie", "b")], f"{shown} {blob.text}")
            case Http(_, _, bound_path):
                Response().body(json.dumps({"status": 202, "headers": {"a": "b"}})).blob(
                    LazyLoadBlob("text/x", bound_path.encode())
                ).send()

    with FakeHost() as host:
        host.open()
        host.run(each_message(step))
        posted = host.http(
            "POST", "/items/7", b"body", headers={"x-a": "1"}, query_params={"q": "2"}, logged_in=False
        )
        new = host.http("GET", "/items/new")
        host.run()
        assert (posted.status, posted.text) == (201, "7 2 1 body")
        assert posted.headers == [("set-cookie", "a"), ("set-cookie", "b")]
        assert posted.mime == "text/plain; charset=utf-8"
        assert (new.status, new.headers, new.text) == (202, [("a", "b")], "/items/new")
        logo = host.http("GET", "/logo")
        assert (logo.status, logo.body, logo.mime) == (200, b"<svg/>", "image/svg+xml")


@pytest.mark.parametrize(
    "path",
    ["", "a", "/a/", "//a", "/../a", "/./a", "/a\\b", "/:", "/:a/:a", "/\x00", "/a*", "/*/*", "/*1", "/a?b"],
)
def test_a_bad_path_is_not_bound(path: str) -> None:
    def bind(our: Address) -> None:
        with pytest.raises(BadPath):
            bind_ws_path(path)
        with pytest.raises(BadPath):
            bind_http_path(path)

    with FakeHost() as host:
        host.open()
        run_once(bind, host)


def test_a_wildcard_takes_what_is_left_and_the_root_what_nothing_else_does() -> None:
    seen: list[tuple[str, dict[str, str]]] = []

    def step(our: Address, message: Message) -> None:
        if isinstance(message, Http):
            seen.append((message.bound_path, dict(message.url_params)))
        else:
            for path in ("/", "/x/*name", "/x/:id/end", "/y/*"):
                bind_http_path(path)

    with FakeHost() as host:
        host.open()
        host.run(each_message(step))
        for path in ("/x/a/b", "/x/a/end", "/y/a/b", "/y", "/elsewhere/7"):
            host.http("GET", path)
        host.run()
    assert seen == [
        ("/x/*name", {"name": "a/b"}),
        ("/x/:id/end", {"id": "a"}),
        ("/y/*", {}),
        ("/", {}),
        ("/", {}),
    ]


def test_bindings_of_both_kinds_count_against_one_limit() -> None:
    def bind(our: Address) -> None:
        bind_ws_path("/a")
        bind_http_path("/b")
        bind_ws_path("/a", authenticated=False)
        with pytest.raises(TooManyBindings):
            bind_http_path("/c")
        unbind_http_path("/b")
        bind_http_path("/c")

    with FakeHost(limits=FakeLimits(bindings=2)) as host:
        host.open()
        run_once(bind, host)


def test_unbinding_closes_the_channels_of_the_path_with_1001_and_tells_of_it() -> None:
    seen: list[Message] = []

    def step(our: Address, message: Message) -> None:
        seen.append(message)
        if isinstance(message, WebSocketOpen) and message.path == "/":
            bind_ws_path("/rooms/:room")
        elif isinstance(message, WebSocketOpen):
            unbind_ws_path("/rooms/:room")

    with FakeHost() as host:
        registered = host.open()
        host.run(each_message(step))
        channel = host.open("/rooms/7")
        host.run()
        assert registered.open
        assert channel.closed == (1001, "the path is no longer bound")
        assert seen[-1] == WebSocketClose(channel.id)
        with pytest.raises(Refused):
            host.open("/rooms/7")


def test_state_is_kept_replaced_and_forgotten() -> None:
    def keep(our: Address) -> None:
        assert get_state() == b"old"
        set_state(b"new")
        with pytest.raises(StateTooBig):
            set_state(b"x" * 11)
        assert get_state() == b"new"
        clear_state()
        assert get_state() is None

    with FakeHost(state=b"old", limits=FakeLimits(state_bytes=10)) as host:
        host.open()
        run_once(keep, host)


def test_what_happens_at_the_end_can_be_read_and_changed() -> None:
    def change(our: Address) -> None:
        assert get_on_exit() == "restart"
        set_on_exit("none")
        assert get_on_exit() == "none"
        farewell = Request().target(f"fake.os@{OTHER}").body(b"gone").blob(LazyLoadBlob(None, b"b"))
        set_on_exit([farewell])
        on_exit = get_on_exit()
        assert not isinstance(on_exit, str)
        (kept,) = on_exit
        assert kept.to_wit() == farewell.to_wit()

    with FakeHost() as host:
        host.open()
        run_once(change, host)


def test_addresses_are_written_as_they_are_read() -> None:
    text = "my-node.os@chat:chat:template.os"
    assert str(Address.parse(text)) == text
    assert json.dumps(WsMessageType.Text) == '"Text"'
    for message_type in WsMessageType:
        assert WsMessageType[message_type.name.upper()] is message_type


def test_a_refusal_keeps_nothing_of_what_was_sent() -> None:
    """Frames of real bindings have the refusal in a variable: a traceback would make that a circle."""
    calls: list[Callable[[Address], object]] = [
        lambda our: send_ws_push(our.node, 99, WsMessageType.Binary, LazyLoadBlob(None, b"payload")),
        lambda our: close_channel(99),
        lambda our: bind_ws_path("//"),
        lambda our: set_state(bytes(9)),
        lambda our: Request().target(Address.parse(f"{our.node}@{OTHER}")).send_and_await_response(1),
        lambda our: spawn("/none.wasm"),
    ]
    with FakeHost(limits=FakeLimits(state_bytes=8)) as host:
        host.open()

        def refusals(our: Address) -> list[BaseException | None]:
            caught = []
            for call in calls:
                with pytest.raises(GuestError) as error:
                    call(our)
                caught.append(error.value.__context__)
            return caught

        found = run_once(refusals, host)
    assert [type(each).__name__ for each in found] == ["Err"] * len(calls)
    assert [each.__traceback__ for each in found] == [None] * len(calls)
