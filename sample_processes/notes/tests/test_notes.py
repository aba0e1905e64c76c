from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guesthouse_sdk.testing import FakeHost, Refused, load_main

main = load_main(Path(__file__).parents[1] / "app.py")


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as host:
        host.grant("kv:distro:sys", "timer:distro:sys")
        host.run(main)
        yield host
        assert host.log == []


def ask(host: FakeHost, method: str, path: str, body: object = None) -> tuple[int | None, Any]:
    exchange = host.http(method, path, b"" if body is None else json.dumps(body).encode())
    host.run()
    return exchange.status, json.loads(exchange.body) if exchange.body else None


def test_notes_are_kept_changed_listed_and_deleted(host: FakeHost) -> None:
    assert ask(host, "GET", "/notes/a") == (404, {"error": "there is none"})
    assert ask(host, "PUT", "/notes/a", {"text": "one"}) == (200, {"text": "one"})
    assert ask(host, "PUT", "/notes/a", {"text": "two"}) == (200, {"text": "two"})
    ask(host, "PUT", "/notes/b", {"text": ""})
    assert ask(host, "GET", "/notes") == (200, ["a", "b"])
    host.restart()
    assert ask(host, "GET", "/notes/a") == (200, {"text": "two"})
    assert ask(host, "DELETE", "/notes/a") == (204, None)
    assert ask(host, "GET", "/notes") == (200, ["b"])


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "text: it is missing"),
        ({"text": 5}, "text: a string is expected, not a whole number"),
        ({"text": "x" * 10_001}, "the message: a note has at most 10000 characters"),
        ({"text": "x", "seconds": 0}, "the message: seconds are from 1 to 86400"),
    ],
)
def test_what_is_no_note_is_refused(host: FakeHost, body: object, error: str) -> None:
    assert ask(host, "PUT", "/notes/a", body) == (400, {"error": error})
    assert ask(host, "PUT", "/notes/" + "x" * 101, {"text": "x"})[0] == 400
    assert ask(host, "GET", "/notes") == (200, [])


def test_who_watches_a_note_is_told_of_its_changes_and_of_its_end(host: FakeHost) -> None:
    one, other = host.open(), host.open()
    one.send_text('{"type": "watch", "name": "a"}')
    ask(host, "PUT", "/notes/a", {"text": "one", "seconds": 60})
    ask(host, "PUT", "/notes/a", {"text": "two", "seconds": 120})
    ask(host, "PUT", "/notes/b", {"text": "of b"})
    host.restart()  # the timer outlives it, and the channel: it watches again
    one.send_text('{"type": "watch", "name": "a"}')
    host.advance(119)
    assert ask(host, "GET", "/notes/a") == (200, {"text": "two"})
    host.advance(1)
    one.send_text('{"type": "unwatch", "name": "a"}')
    ask(host, "PUT", "/notes/a", {"text": "three"})
    texts = [json.loads(message)["text"] for message in one.received]
    assert texts == [None, "one", "two", "two", None]
    assert other.received == []


def test_a_client_is_told_what_is_wrong_with_its_message(host: FakeHost) -> None:
    channel = host.open()
    channel.send_text('{"type": "watch", "name": ""}')
    host.run()
    assert channel.received == ['{"type":"error","error":"the message: a name has 1 to 100 characters"}']


def test_only_those_who_are_logged_in_may_read(host: FakeHost) -> None:
    with pytest.raises(Refused, match="401"):
        host.http("GET", "/notes", logged_in=False)


def test_a_client_that_watches_too_many_notes_is_told(host: FakeHost) -> None:
    channel = host.open()
    for number in range(101):
        channel.send_text(f'{{"type": "watch", "name": "{number}"}}')
    host.run()
    assert json.loads(channel.received[-1])["type"] == "error"
    assert len(channel.received) == 101
