"""The fake host keeps the node's rules about full outboxes, paths of channels and files."""

from __future__ import annotations

import pytest
from guesthouse_sdk import (
    Channel,
    ChannelFull,
    ChannelNotFound,
    ChannelPolicy,
    LazyLoadBlob,
    NoUi,
    Process,
    PushError,
    WsMessageType,
    bind_ws_path,
    send_ws_push_to_path,
    send_ws_push_waiting,
    serve_ui,
    set_channel_policy,
)
from guesthouse_sdk.testing import FakeHost, FakeLimits

TEN = LazyLoadBlob(None, b"0123456789")


class Told(Process):
    """Sends each message of `/all` to a room, and ten times to the channel that sent it otherwise."""

    policy = ChannelPolicy.REFUSE
    errors: list[PushError]

    def on_start(self) -> None:
        self.errors = []
        Told.last = self
        bind_ws_path("/rooms/:room", authenticated=False)
        bind_ws_path("/all", authenticated=False)

    def on_open(self, channel: Channel) -> None:
        set_channel_policy(channel.id, self.policy)

    def on_message(self, channel: Channel, message: str | bytes) -> None:
        if channel.path == "/all":
            assert send_ws_push_to_path(str(message), WsMessageType.Text, LazyLoadBlob.from_text("hi")) == {}
            assert send_ws_push_to_path(str(message), WsMessageType.Binary, TEN) == {}
            return
        for _ in range(10):
            try:
                send_ws_push_waiting(channel.id, WsMessageType.Binary, TEN)
            except PushError as error:
                self.errors.append(error)
                return

    last: Process


@pytest.mark.parametrize(
    ("policy", "error", "got", "closed"),
    [
        (ChannelPolicy.REFUSE, ChannelFull, 3, None),
        (ChannelPolicy.WAIT, None, 10, None),
        (ChannelPolicy.DROP_OLDEST, None, 3, None),
        (ChannelPolicy.CLOSE, ChannelNotFound, 0, (1013, "the client reads too slowly")),
    ],
)
def test_each_policy_does_what_it_says(
    policy: ChannelPolicy, error: type[PushError] | None, got: int, closed: tuple[int, str] | None
) -> None:
    main = type("Main", (Told,), {"policy": policy})
    with FakeHost(limits=FakeLimits(outbox_bytes=3 * 74)) as host:
        host.run(main)
        channel = host.open("/rooms/a", logged_in=False)
        channel.stop_reading()
        channel.send_text("go")
        host.run()
        channel.resume_reading()
        process = Told.last
        assert isinstance(process, Told)
        if policy is not ChannelPolicy.CLOSE:
            assert [type(each) for each in process.errors] == ([] if error is None else [error])
            assert len(channel.received) == got
        assert channel.closed == closed


def test_a_push_to_a_path_reaches_its_channels_alone() -> None:
    with FakeHost() as host:
        host.run(Told)
        first, second = host.open("/rooms/a", logged_in=False), host.open("/rooms/b", logged_in=False)
        for path in ("/rooms/a", "/rooms/:room"):
            host.open("/all", logged_in=False).send_text(path)
        host.run()
        assert first.received == ["hi", TEN.bytes, "hi", TEN.bytes]
        assert second.received == ["hi", TEN.bytes]


def test_files_are_served_when_the_package_has_them() -> None:
    outcomes: list[str] = []

    class Page(Process):
        def on_start(self) -> None:
            try:
                serve_ui("/app")
                outcomes.append("served")
            except NoUi:
                outcomes.append("none")

    for has_ui in (False, True):
        with FakeHost() as host:
            host.has_ui = has_ui
            host.run(Page)
    assert outcomes == ["none", "served"]
