from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guesthouse_sdk.testing import FakeChannel, FakeHost, load_main

main = load_main(Path(__file__).parents[1] / "app.py")


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as host:
        host.run(main)
        yield host


def enter(host: FakeHost, name: str | None = None) -> FakeChannel:
    channel = host.open()
    if name is not None:
        say(channel, type="name", name=name)
    host.run()
    return channel


def say(channel: FakeChannel, **message: Any) -> None:
    channel.send_text(json.dumps(message))


def told(channel: FakeChannel, *types: str) -> list[dict[str, Any]]:
    messages = [json.loads(message) for message in channel.received]
    return [message for message in messages if not types or message["type"] in types]


def test_a_newcomer_is_welcomed_with_a_name_the_people_and_the_history(host: FakeHost) -> None:
    ada = enter(host, "Ada")
    say(ada, type="say", text="anyone?")
    host.run()
    (welcome,) = told(enter(host))
    assert welcome["name"] == "guest"
    assert welcome["people"] == ["Ada"]
    assert [(entry["name"], entry["text"]) for entry in welcome["history"]] == [("Ada", "anyone?")]


def test_everyone_gets_what_anyone_says_in_one_order(host: FakeHost) -> None:
    people = [enter(host, name) for name in ("Ada", "Ben", "Cy")]
    for number, person in enumerate(people * 2):
        say(person, type="say", text=str(number))
    host.run()
    said = [[(entry["name"], entry["text"]) for entry in told(person, "said")] for person in people]
    assert said[0] == said[1] == said[2]
    assert [text for _, text in said[0]] == ["0", "1", "2", "3", "4", "5"]


def test_who_only_looks_is_not_announced(host: FakeHost) -> None:
    ada = enter(host, "Ada")
    enter(host).close()
    host.run()
    assert told(ada, "joined", "left") == [{"type": "joined", "name": "Ada", "people": ["Ada"]}]


def test_joining_renaming_and_leaving_are_told_to_all(host: FakeHost) -> None:
    ada = enter(host, "Ada")
    ben = enter(host, "Ben")
    say(ben, type="name", name="Benjamin")
    ben.close()
    host.run()
    assert told(ada, "joined", "renamed", "left")[1:] == [
        {"type": "joined", "name": "Ben", "people": ["Ada", "Ben"]},
        {"type": "renamed", "before": "Ben", "name": "Benjamin", "people": ["Ada", "Benjamin"]},
        {"type": "left", "name": "Benjamin", "people": ["Ada"]},
    ]


def test_two_people_never_have_one_name(host: FakeHost) -> None:
    enter(host, "Ada")
    other = enter(host, "ada")
    assert told(other, "named") == [{"type": "named", "name": "ada 2"}]


def test_the_kinode_client_may_send_a_bare_string_as_binary(host: FakeHost) -> None:
    channel = enter(host)
    channel.send_bytes(b'"Hello World"')
    host.run()
    (said,) = told(channel, "said")
    assert (said["name"], said["text"]) == ("guest", "Hello World")


@pytest.mark.parametrize(
    "message",
    [
        b"\xff\xfe",
        b"not json",
        b"[]",
        b"null",
        b'{"type": "say"}',
        b'{"type": "say", "text": 7}',
        b'{"type": "say", "text": "   "}',
        json.dumps({"type": "say", "text": "x" * 2001}).encode(),
        b'{"type": "name", "name": ""}',
        b'{"type": "name", "name": "a\\u0000b"}',
        b'{"type": "name", "name": "\\ud800"}',
        json.dumps({"type": "name", "name": "x" * 33}).encode(),
        b"[" * 100_000,
    ],
)
def test_what_is_not_understood_gets_a_reason_and_reaches_nobody_else(host: FakeHost, message: bytes) -> None:
    ada = enter(host, "Ada")
    stranger = enter(host)
    before = list(ada.received)
    stranger.send_bytes(message)
    host.run()
    (error,) = told(stranger, "error")
    assert error["reason"].endswith(".")
    assert ada.received == before


def test_history_keeps_the_last_fifty(host: FakeHost) -> None:
    ada = enter(host, "Ada")
    for number in range(60):
        say(ada, type="say", text=str(number))
    host.run()
    (welcome,) = told(enter(host))
    assert [entry["text"] for entry in welcome["history"]] == [str(number) for number in range(10, 60)]


def test_a_client_that_reads_too_slowly_is_closed_with_1013_and_leaves(host: FakeHost) -> None:
    ada, slow = enter(host, "Ada"), enter(host, "Slow")
    slow.stop_reading()
    for _ in range(3000):
        say(ada, type="say", text="x" * 2000)
    host.run()
    assert slow.closed == (1013, "you read too slowly: connect again")
    assert told(ada, "left") == [{"type": "left", "name": "Slow", "people": ["Ada"]}]
    assert len(told(ada, "said")) == 3000


def test_after_a_restart_everyone_is_welcomed_anew(host: FakeHost) -> None:
    ada, ben = enter(host, "Ada"), enter(host, "Ben")
    host.restart()
    say(ada, type="name", name="Ada")
    say(ada, type="say", text="back")
    host.run()
    assert len(told(ben, "welcome")) == 2
    assert told(ben, "said")[-1]["text"] == "back"


def test_nothing_of_a_channel_is_kept_once_it_is_closed(host: FakeHost) -> None:
    for _ in range(20):
        enter(host, "Ada").close()
        host.run()
    assert told(enter(host, "Ada"), "named") == [{"type": "named", "name": "Ada"}]
    assert not host.log
