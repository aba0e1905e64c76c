from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guesthouse_sdk.testing import FakeChannel, FakeHost, load_main

main = load_main(Path(__file__).parents[1] / "app.py")
ONE, TWO = (f"{node}.os@duo:duo:guesthouse.os" for node in ("one", "two"))


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost(ONE) as host:
        host.grant("timer:distro:sys")
        host.run(main)
        yield host
        assert host.log == []


def enter(host: FakeHost, name: str) -> FakeChannel:
    channel = host.open("/")
    channel.send_text(json.dumps({"type": "name", "name": name}))
    host.run()
    return channel


def told(channel: FakeChannel) -> Any:
    """What it was told last, without its type."""
    message = json.loads(channel.received[-1])
    assert message.pop("type") == "people"
    return message


def say(host: FakeHost, body: bytes, source: str = TWO) -> bytes | None:
    """The other process tells who is there; its answer."""
    exchange = host.request(body, source=source)
    host.run()
    return exchange.body


def test_everybody_at_a_node_is_shown_to_all_of_its_clients(host: FakeHost) -> None:
    ada, ben = enter(host, "Ada"), enter(host, "  Ben  B. ")
    assert told(ada) == told(ben) == {"here": {"node": "one.os", "names": ["Ada", "Ben B."]}, "there": None}
    ben.close()
    host.run()
    assert told(ada)["here"]["names"] == ["Ada"]


def test_the_other_node_is_told_and_tells(host: FakeHost) -> None:
    ada = enter(host, "Ada")
    assert say(host, b'["Cy"]') == b'["Ada"]'
    assert told(ada)["there"] == {"node": "two.os", "names": ["Cy"]}
    ben = enter(host, "Ben")
    assert (str(host.sent[-1].target), host.sent[-1].body) == (TWO, b'["Ada", "Ben"]')
    assert told(ben)["there"] == {"node": "two.os", "names": None}, "that could not be sent"


def test_a_client_names_the_other_node_which_is_remembered_and_told_again_and_again(host: FakeHost) -> None:
    ada = enter(host, "Ada")
    for wrong in ("", "two os", "@"):
        ada.send_text(json.dumps({"type": "meet", "node": wrong}))
        host.run()
        assert json.loads(ada.received[-1])["type"] == "error"
    ada.send_text('{"type": "meet", "node": "two.os"}')
    host.run()
    assert told(ada)["there"] == {"node": "two.os", "names": None}
    host.restart()
    before = len([sent for sent in host.sent if str(sent.target) == TWO])
    host.advance(10)
    assert len([sent for sent in host.sent if str(sent.target) == TWO]) == before + 5


def test_who_is_not_the_other_process_is_not_heard(host: FakeHost) -> None:
    ada = enter(host, "Ada")
    assert say(host, b'["Cy"]', source="two.os@other:duo:guesthouse.os") is None
    assert told(ada)["there"] is None
    say(host, b'["Cy"]')
    assert say(host, b'["Mallory"]', source="three.os@duo:duo:guesthouse.os") is None
    assert told(ada)["there"]["names"] == ["Cy"]


@pytest.mark.parametrize("body", [b"", b"\xff", b"7", b'{"a": 1}', b"[" * 100_000])
def test_what_is_no_list_of_names_is_nobody(host: FakeHost, body: bytes) -> None:
    ada = enter(host, "Ada")
    say(host, body)
    assert told(ada)["there"]["names"] == []


def test_what_is_no_name_is_told_to_its_sender(host: FakeHost) -> None:
    ada = enter(host, "Ada")
    for wrong in ("x" * 33, "a\u202eb"):
        ada.send_text(json.dumps({"type": "name", "name": wrong}))
    ada.send_text('{"type": "name"}')
    host.run()
    assert [json.loads(message)["type"] for message in ada.received[-3:]] == ["error"] * 3
    enter(host, "")
    assert len(told(ada)["here"]["names"]) == 2
