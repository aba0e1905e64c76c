"""The fake host plays the extension at the other end of a channel."""

from __future__ import annotations

from guesthouse_sdk import (
    Channel,
    ChannelNotFound,
    LazyLoadBlob,
    Process,
    bind_ws_path,
    send_ws_extension_push,
)
from guesthouse_sdk.testing import FakeHost


class Asks(Process):
    """Asks the extension what its client says, and tells it the same."""

    def on_start(self) -> None:
        bind_ws_path("/ext", authenticated=False, extension=True)

    def on_message(self, channel: Channel, message: str | bytes) -> None:
        question = LazyLoadBlob.from_text(str(message))
        try:
            answer = send_ws_extension_push(channel.id, question, 5)
            told = send_ws_extension_push(channel.id, question)
        except ChannelNotFound:
            channel.send("no extension")
        else:
            channel.send(f"{answer and answer.bytes.decode()} {told}")


def test_an_extension_is_asked_and_told() -> None:
    heard: list[bytes] = []
    with FakeHost() as host:
        host.run(Asks)
        channel = host.open("/ext", logged_in=False)
        channel.send_text("how")
        host.run()
        channel.extension = lambda payload: heard.append(payload) or b"so"  # type: ignore[func-returns-value] # None
        channel.send_text("how")
        channel.send_text("why")
        host.run()
        assert channel.received == ["no extension", "so None", "so None"]
    assert heard == [b"how", b"how", b"why", b"why"]
