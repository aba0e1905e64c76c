"""Requests over a channel: the envelope of docs/clients.md, and how a process answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from guesthouse_sdk import LATER, Channel, ChannelRequest, Process, RequestRefused
from guesthouse_sdk.channel_requests import MAX_NUMBER
from guesthouse_sdk.testing import FakeChannel, FakeHost, FakeLimits
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[3]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


class Answers(Process):
    """Its answers by the body."""

    def __init__(self) -> None:
        self.later: list[tuple[Channel, ChannelRequest]] = []

    def on_message(self, channel: Channel, message: str | bytes) -> None:
        if message == "answer the last":
            asked, request = self.later.pop()
            asked.send(request.answer("at last"))
        else:
            channel.send(message)

    def on_channel_request(self, channel: Channel, request: ChannelRequest) -> object:
        match request.body:
            case "later":
                self.later.append((channel, request))
                return LATER
            case "refuse":
                raise RequestRefused("not now")
            case "fail":
                raise KeyError("secret")
            case "unsayable":
                return {1, 2}
            case "nan":
                return float("nan")
            case "large":
                return "x" * 2000
            case "close":
                channel.close(4000, "asked for")
        return [request.body]


def ask(host: FakeHost, channel: FakeChannel, number: int, body: object, *, binary: bool = False) -> Any:
    text = json.dumps({"request": number, "body": body}, separators=(",", ":"))
    if binary:
        channel.send_bytes(text.encode())
    else:
        channel.send_text(text)
    host.run()
    return channel.received[-1] if channel.received else None


def test_the_envelope_is_that_of_the_documentation() -> None:
    text = (ROOT / "docs/clients.md").read_text()
    request, answer, refusal = re.findall(r'^    (\{"re(?:quest|sponse)":.*\})$', text, re.MULTILINE)
    read = ChannelRequest.read(request)
    assert read == ChannelRequest(7, {"of": "any kind"})
    assert read.answer(["any", "kind"]) == answer
    assert read.refusal("why there is no answer") == refusal


@pytest.mark.slow
@given(st.integers(1, MAX_NUMBER), JSON)
def test_what_is_answered_is_what_was_asked(number: int, body: object) -> None:
    request = ChannelRequest.read(json.dumps({"request": number, "body": body}, separators=(",", ":")))
    assert request == ChannelRequest(number, body)
    answer = request.answer(body)
    assert answer.startswith('{"response":')
    assert json.loads(answer) == {"response": number, "body": body}


@pytest.mark.parametrize("binary", [False, True])
def test_a_request_is_answered_with_what_is_returned(binary: bool) -> None:
    with FakeHost() as host:
        channel = host.open()
        host.run(Answers)
        assert ask(host, channel, 7, {"a": None}, binary=binary) == '{"response":7,"body":[{"a":null}]}'


@pytest.mark.parametrize(
    "message",
    [
        "hello",
        "",
        b"\xff\xfe",
        ' {"request":1,"body":2}',
        '{ "request":1,"body":2}',
        '{"body":2,"request":1}',
        '{"request":1,"body":2',
        b'{"request":1,"body":"\xff"}',
        '{"request":0,"body":2}',
        '{"request":-1,"body":2}',
        '{"request":true,"body":2}',
        '{"request":1.5,"body":2}',
        '{"request":"1","body":2}',
        f'{{"request":{MAX_NUMBER + 1},"body":2}}',
        '{"request":' + "9" * 5000 + ',"body":2}',
        '{"request":1,"body":' + "[" * 100_000,
        '{"response":1,"body":2}',
    ],
)
def test_what_is_no_request_is_an_ordinary_message(message: str | bytes) -> None:
    with FakeHost() as host:
        channel = host.open()
        if isinstance(message, str):
            channel.send_text(message)
        else:
            channel.send_bytes(message)
        host.run(Answers)
        assert channel.received == [message]
        assert not host.log


def test_a_process_without_the_method_sees_messages_as_ever() -> None:
    class Echo(Process):
        def on_message(self, channel: Channel, message: str | bytes) -> None:
            channel.send(message)

    with FakeHost() as host:
        channel = host.open()
        host.run(Echo)
        assert ask(host, channel, 1, "x") == '{"request":1,"body":"x"}'


def test_answers_may_come_later_and_in_any_order() -> None:
    with FakeHost() as host:
        channel = host.open()
        host.run(Answers)
        ask(host, channel, 1, "later")
        ask(host, channel, 2, "later")
        ask(host, channel, 3, "now")
        for _ in range(2):
            channel.send_text("answer the last")
        host.run()
        assert channel.received == [
            '{"response":3,"body":["now"]}',
            '{"response":2,"body":"at last"}',
            '{"response":1,"body":"at last"}',
        ]


def test_a_refusal_is_told_and_not_logged() -> None:
    with FakeHost() as host:
        channel = host.open()
        host.run(Answers)
        assert ask(host, channel, 4, "refuse") == '{"response":4,"error":"not now"}'
        assert not host.log


@pytest.mark.parametrize(
    ("body", "logged"),
    [
        ("fail", "on_channel_request failed"),
        ("unsayable", "on_channel_request failed"),
        ("nan", "on_channel_request failed"),
        ("large", "the answer to a request failed"),
    ],
)
def test_a_failure_is_logged_and_its_cause_told_to_no_client(body: str, logged: str) -> None:
    with FakeHost(limits=FakeLimits(message_bytes=1000)) as host:
        channel = host.open()
        host.run(Answers)
        assert ask(host, channel, 5, body) == '{"response":5,"error":"the process failed to answer"}'
        assert ask(host, channel, 6, "next") == '{"response":6,"body":["next"]}'
        (line,) = host.log
        assert line.text.splitlines()[0] == logged


def test_a_channel_that_is_closed_gets_no_answer() -> None:
    with FakeHost() as host:
        channel = host.open()
        host.run(Answers)
        assert ask(host, channel, 1, "close") is None
        assert channel.closed == (4000, "asked for")
        assert not host.log
