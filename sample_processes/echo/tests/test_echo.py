from __future__ import annotations

from pathlib import Path

import pytest
from guesthouse_sdk.testing import FakeHost, Refused, load_main

main = load_main(Path(__file__).parents[1] / "app.py")


@pytest.mark.parametrize("message", ["hi", "", "grüß dich 🌍", b"", b"\x00\xff", b"text as bytes"])
def test_a_message_comes_back_with_the_same_payload_and_type(message: str | bytes) -> None:
    with FakeHost() as host:
        channel = host.open()
        if isinstance(message, str):
            channel.send_text(message)
        else:
            channel.send_bytes(message)
        host.run(main)
        assert channel.received == [message]


def test_each_channel_gets_its_own_messages_in_order() -> None:
    with FakeHost() as host:
        host.run(main)
        channels = [host.open(), host.open("/"), host.open("/public")]
        for number in range(5):
            for channel in channels:
                channel.send_text(f"{channel.id}: {number}")
        host.run()
        for channel in channels:
            assert channel.received == [f"{channel.id}: {number}" for number in range(5)]


def test_strangers_may_open_public_and_nothing_else() -> None:
    with FakeHost() as host:
        host.run(main)
        stranger = host.open("/public", logged_in=False)
        stranger.send_text("hi")
        host.run()
        assert stranger.received == ["hi"]
        with pytest.raises(Refused, match="logged-in clients only"):
            host.open("/", logged_in=False)


def test_a_client_that_does_not_read_costs_only_its_own_messages() -> None:
    with FakeHost() as host:
        slow, other = host.open(), host.open()
        slow.stop_reading()
        for _ in range(5):
            slow.send_bytes(b"x" * (1 << 20))
        other.send_text("still here")
        host.run(main)
        assert other.received == ["still here"]
        assert any("ChannelFull" in line.text for line in host.log)
        slow.resume_reading()
        assert len(slow.received) == 3
