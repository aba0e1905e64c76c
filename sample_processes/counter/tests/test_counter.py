from __future__ import annotations

from pathlib import Path

import pytest
from guesthouse_sdk.testing import FakeHost, Refused, load_main

main = load_main(Path(__file__).parents[1] / "app.py")


def test_a_newcomer_is_told_the_count() -> None:
    with FakeHost(state=b"41") as host:
        channel = host.open()
        host.run(main)
        assert channel.received == ["41"]


def test_every_channel_sees_every_change() -> None:
    with FakeHost() as host:
        one, other = host.open(), host.open()
        one.send_text("+")
        other.send_bytes(b"+")
        one.send_text("-")
        host.run(main)
        assert one.received == other.received == ["0", "1", "2", "1"]


def test_the_count_survives_a_restart_and_channels_are_told_it_anew() -> None:
    with FakeHost() as host:
        channel = host.open()
        channel.send_text("+")
        host.run(main)
        host.restart()
        channel.send_text("+")
        host.run()
        assert channel.received == ["0", "1", "1", "2"]
    with FakeHost(state=host.state) as later:
        channel = later.open()
        later.run(main)
        assert channel.received == ["2"]


def test_what_is_no_step_changes_nothing_and_is_told_to_its_sender_alone() -> None:
    with FakeHost() as host:
        one, other = host.open(), host.open()
        one.send_text("++")
        one.send_bytes(b"\xff")
        host.run(main)
        assert one.received == ["0", "send + or -", "send + or -"]
        assert other.received == ["0"]
        assert host.state is None


def test_the_count_is_served_over_http_to_logged_in_clients() -> None:
    with FakeHost(state=b"7") as host:
        host.run(main)
        exchange = host.http("GET", "/count")
        host.run()
        assert (exchange.status, exchange.text) == (200, "7\n")
        with pytest.raises(Refused):
            host.http("GET", "/count", logged_in=False)
