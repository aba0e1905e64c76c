"""What a process adds to traces, by the SDK."""

from __future__ import annotations

from contextlib import suppress

from guesthouse_sdk import Channel, Process, tracing
from guesthouse_sdk.testing import FakeHost, FakeSpan


class App(Process):
    def on_message(self, channel: Channel, message: str | bytes) -> None:
        with tracing.span("outer", kind="a kind") as outer:
            outer.set(count=3, half=0.5, good=True, large=2**70)
            with suppress(ZeroDivisionError), tracing.span("inner") as inner:
                inner.event("tried", times=2)
                raise ZeroDivisionError("why")
            channel.send(f"{outer.recorded} {tracing.traceparent()}")
        outer.set(late=True)
        tracing.set_attributes(whole="yes")
        tracing.add_event("done")


def test_spans_attributes_and_events_are_added() -> None:
    with FakeHost() as host:
        channel = host.open()
        channel.send_text("hello")
        host.run(App)
        assert channel.received == ["True 00-0af7651916cd43dd8448eb211c80319c-0000000000000002-01"]
        assert host.tracing.spans == [
            FakeSpan("run", {"whole": "yes"}, [("done", {})]),
            FakeSpan(
                "outer",
                {"kind": "a kind", "count": 3, "half": 0.5, "good": True, "large": str(2**70)},
                ended=True,
            ),
            FakeSpan("inner", {}, [("tried", {"times": 2})], "ZeroDivisionError: why", ended=True),
        ]


def test_what_is_not_traced_is_not_recorded() -> None:
    with FakeHost() as host:
        host.tracing.traced = False
        channel = host.open()
        channel.send_text("hello")
        host.run(App)
        assert channel.received == ["False None"]
        assert host.tracing.spans == [FakeSpan("run")]
