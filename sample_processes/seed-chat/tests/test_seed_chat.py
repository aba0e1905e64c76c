from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guesthouse_sdk.testing import FakeChannel, FakeHost, load_main

main = load_main(Path(__file__).parents[1] / "app.py")
OUR = "fake.os@seed-chat:seed-chat:guesthouse.os"


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost(OUR) as host:
        host.run(main)
        yield host


def send(channel: FakeChannel, request: Any) -> None:
    channel.send_bytes(json.dumps(request).encode())


def got(channel: FakeChannel) -> list[Any]:
    return [json.loads(message) for message in channel.received]


def message(content: str, target: str = "fake.os") -> dict[str, Any]:
    return {"Send": {"target": target, "message": content}}


def test_a_message_is_pushed_as_text_to_every_open_channel(host: FakeHost) -> None:
    one, other, gone = host.open(), host.open("/"), host.open()
    gone.close()
    send(one, message("hi"))
    host.run()
    pushed = {"NewMessage": {"author": "fake.os", "content": "hi"}}
    assert got(one) == got(other) == [pushed]
    assert isinstance(one.received[0], str)
    assert got(gone) == []


def test_history_goes_to_the_channel_that_asks(host: FakeHost) -> None:
    one, other = host.open(), host.open()
    send(one, message("hi"))
    send(other, "History")
    host.run()
    assert got(other)[-1] == {"History": [{"author": "fake.os", "content": "hi"}]}
    assert len(got(one)) == 1


@pytest.mark.parametrize(
    "body", [b"\xff", b"{", b'"Unknown"', b'{"Send": {"target": 1, "message": 2}}', b"", b"[" * 100_000]
)
def test_what_cannot_be_parsed_is_silently_left_alone(host: FakeHost, body: bytes) -> None:
    channel = host.open()
    channel.send_bytes(body)
    host.run()
    assert channel.received == []
    assert host.log == []


def test_a_message_for_another_node_is_sent_there_and_failure_is_logged(host: FakeHost) -> None:
    channel = host.open()
    send(channel, message("hi", "other.os"))
    host.run()
    (sent,) = host.sent
    assert str(sent.target) == "other.os@seed-chat:seed-chat:guesthouse.os"
    assert sent.expects_response == 5
    assert "cannot be reached" in host.log[-1].text


def test_a_request_of_another_process_is_acknowledged_with_its_node_as_author(host: FakeHost) -> None:
    channel = host.open()
    exchange = host.request(
        json.dumps(message("hi")).encode(), source="far.os@seed-chat:seed-chat:guesthouse.os"
    )
    host.run()
    assert exchange.body == b'{"Ack": null}'
    assert got(channel) == [{"NewMessage": {"author": "far.os", "content": "hi"}}]


def test_the_archive_is_served_over_http(host: FakeHost) -> None:
    channel = host.open()
    send(channel, message("hi"))
    exchange, wrong = host.http("GET", "/messages"), host.http("POST", "/messages")
    host.run()
    assert (exchange.status, exchange.mime) == (200, "application/json")
    assert json.loads(exchange.body) == [{"author": "fake.os", "content": "hi"}]
    assert wrong.status is not None
    assert wrong.status == 405
