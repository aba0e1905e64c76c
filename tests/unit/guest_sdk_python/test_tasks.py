"""`async def on_message`: a handler that waits for an answer holds up its own channel, and no other."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from guesthouse_sdk import (
    Address,
    Channel,
    Http,
    IncomingResponse,
    Process,
    Request,
    SendError,
    get_blob_text,
    route,
)
from guesthouse_sdk import _process_tasks as tasks
from guesthouse_sdk.testing import Answer, FakeHost, SentRequest
from guesthouse_sdk.timers import sleep

OTHER = "other:other:other.os"


class Slow(Process):
    """Answers each message after the seconds that it says."""

    log: ClassVar[list[str]]

    def on_start(self) -> None:
        self.notes: list[str] = []
        Slow.log = self.notes

    async def on_message(self, channel: Channel, message: str | bytes) -> None:
        try:
            await sleep(float(message))
            channel.send(message)
        finally:
            self.notes.append(f"end of {message!s}")

    def on_close(self, channel: Channel) -> None:
        self.notes.append("closed")


def slow_host() -> FakeHost:
    host = FakeHost()
    host.grant("timer:distro:sys")
    return host


def test_a_slow_answer_holds_up_its_own_channel_alone() -> None:
    with slow_host() as host:
        one, other = host.open(), host.open()
        for text in ("5", "1", "0"):
            one.send_text(text)
        other.send_text("2")
        host.run(Slow)
        host.advance(2)
        assert (one.received, other.received) == ([], ["2"])
        host.advance(3)
        assert one.received == ["5"]
        host.advance(1)
        assert one.received == ["5", "1", "0"]
        assert host.log == []


def test_what_waits_ends_with_its_channel() -> None:
    with slow_host() as host:
        left, stays = host.open(), host.open()
        left.send_text("5")
        left.send_text("1")
        stays.send_text("6")
        host.run(Slow)
        left.close()
        host.run()
        assert Slow.log == ["end of 5", "closed"]
        host.advance(10)
        assert stays.received == ["6"]
        assert host.log == []


def test_a_handler_that_closes_its_channel_ends_at_its_next_await() -> None:
    steps: list[str] = []

    class Closing(Process):
        async def on_message(self, channel: Channel, message: str | bytes) -> None:
            channel.close()
            steps.append("goes on")
            try:
                await sleep(1)
            finally:
                steps.append("ends")

    with slow_host() as host:
        channel = host.open()
        channel.send_text("a")
        channel.send_text("b")
        host.run(Closing)
        host.advance(5)
        assert steps == ["goes on", "ends"]
        assert host.log == []


class Asker(Process):
    async def on_message(self, channel: Channel, message: str | bytes) -> None:
        request = Request().target(f"{self.our.node}@{OTHER}").body(message)
        if message == "no time":
            await request
        if message == "context":
            await request.context("mine").expects_response(5)
        if message == "odd":
            await _Odd()
        try:
            response = await request.expects_response(5)
        except SendError as error:
            channel.send(type(error).__name__)
        else:
            channel.send(f"{response.body.decode()} {get_blob_text()}")


class _Odd:
    def __await__(self) -> Any:
        yield "what only asyncio knows"


def answers(sent: SentRequest) -> Answer | None:
    from guesthouse_sdk import LazyLoadBlob

    return None if sent.body == b"late" else Answer(sent.body.upper(), LazyLoadBlob.from_text("blob"))


def test_answers_errors_and_payloads_come_to_the_handler_that_waits() -> None:
    with FakeHost() as host:
        host.process(OTHER, answers)
        channel = host.open()
        for text in ("hi", "late", "there"):
            channel.send_text(text)
        host.run(Asker)
        assert channel.received == ["HI blob"]
        host.advance(5)
        assert channel.received == ["HI blob", "TimedOut", "THERE blob"]
        assert host.log == []


def test_what_cannot_be_awaited_is_an_error_of_the_handler_and_is_logged() -> None:
    with FakeHost() as host:
        host.process(OTHER, answers)
        channel = host.open()
        for text in ("no time", "context", "odd", "hi"):
            channel.send_text(text)
        host.run(Asker)
        lines = [line.text.splitlines() for line in host.log]
        assert [first[0] for first in lines] == ["on_message failed"] * 3
        assert [last[-1].partition(":")[0] for last in lines] == ["ValueError", "ValueError", "TypeError"]
        assert channel.received == ["HI blob"]


def test_more_handlers_than_may_wait_hold_up_the_process_and_all_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "MAX_WAITING", 2)
    with slow_host() as host:
        channels = [host.open() for _ in range(4)]
        for number, channel in enumerate(channels):
            channel.send_text(str(number + 1))
        host.run(Slow)
        assert host.now == 3.0 + 4.0  # the third and the fourth had the whole process wait
        host.advance(10)
        assert [channel.received for channel in channels] == [["1"], ["2"], ["3"], ["4"]]


def test_a_client_that_sends_more_than_may_wait_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "MAX_QUEUED_BYTES", 2 * tasks.MESSAGE_BYTES + 2)
    with slow_host() as host:
        greedy, modest = host.open(), host.open()
        for _ in range(4):
            greedy.send_text("1")
        modest.send_text("2")
        host.run(Slow)
        assert greedy.closed == (1013, "too many messages while the process waits")
        modest.send_text("1")
        modest.send_text("1")
        host.run()
        host.advance(5)
        assert modest.received == ["2", "1", "1"]
        assert Slow.log[0] == "end of 1"
        assert host.log == []


def test_an_answer_for_an_earlier_run_comes_to_nobody() -> None:
    with slow_host() as host:
        channel = host.open()
        channel.send_text("5")
        host.run(Slow)
        host.restart()
        channel.send_text("7")
        host.run()
        host.advance(6)
        assert channel.received == []
        host.advance(1)
        assert channel.received == ["7"]
        assert host.log == []


def test_who_may_not_sleep_is_told_what_to_add_and_a_version_without_handlers_that_wait_hears_nothing() -> (
    None
):
    class Later(Process):
        def on_response(self, source: Address, response: IncomingResponse) -> None:
            raise AssertionError(response)

    with FakeHost() as host:
        channel = host.open()
        channel.send_text("5")
        host.run(Slow)
        assert 'add "timer:distro:sys" to its request-capabilities' in host.log.pop().text
        host.grant("timer:distro:sys")
        channel.send_text("5")
        host.run()
        host.run(Later)
        host.advance(5)
        assert host.log == []


def test_an_opening_that_waits_comes_before_the_first_message_and_may_fail() -> None:
    class Opening(Process):
        async def on_open(self, channel: Channel) -> None:
            await sleep(1)
            if channel.query_params:
                raise LookupError("no luck")
            channel.send("open")

        def on_message(self, channel: Channel, message: str | bytes) -> None:
            channel.send(message)

    with slow_host() as host:
        good = host.open()
        bad = host.open(query_params={"bad": "1"})
        good.send_text("hi")
        bad.send_text("hi")
        host.run(Opening)
        host.advance(1)
        assert good.received == ["open", "hi"]
        assert bad.closed == (1011, "the process failed to open the channel")
        assert [line.text.splitlines()[0] for line in host.log] == ["on_open failed"]


def test_thousands_of_queued_messages_need_no_stack() -> None:
    class Mixed(Process):
        count = 0

        async def on_message(self, channel: Channel, message: str | bytes) -> None:
            if message == "first":
                await sleep(1)
            Mixed.count += 1

    with slow_host() as host:
        channel = host.open()
        channel.send_text("first")
        for _ in range(3000):
            channel.send_text("x")
        host.run(Mixed)
        host.advance(1)
        assert Mixed.count == 3001
        assert host.log == []


def test_methods_that_cannot_wait_are_refused_when_the_class_is_made() -> None:
    async def handler(self: Process, request: Http) -> str:
        return ""

    for name, method in (("on_http", handler), ("page", route("GET", "/")(handler)), ("on_close", handler)):
        with pytest.raises(
            TypeError, match=rf"Shop\.{name} is async: only on_open, on_resume, on_message may be"
        ):
            type("Shop", (Process,), {name: method})
