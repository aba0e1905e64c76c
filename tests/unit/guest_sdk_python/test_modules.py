"""`kv`, `vfs` and timers in the fake host. Their scenarios run in real nodes in `tests/e2e/test_python_modules.py`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from guesthouse_sdk import Address, Channel, IncomingRequest, MailboxFull, Process, receive
from guesthouse_sdk._native import types
from guesthouse_sdk.kv import MAX_LIST, KeyValues, KvError, NotStored
from guesthouse_sdk.passwords import Busy, PasswordError, hash_password, is_outdated, verify_password
from guesthouse_sdk.testing import Answer, FakeHost, FakeLimits, SentRequest, load_main
from guesthouse_sdk.timers import TimerError, TimerNotStored, TooManyTimers, set_timer
from guesthouse_sdk.vfs import Drive, VfsError
from guesthouse_sdk.vfs import NotStored as FileNotStored

MAIN = load_main(Path(__file__).parents[2] / "e2e/guests/python/scenarios.py")
_module = __import__(MAIN.__module__)
SCENARIOS, QUOTA = list(_module.SCENARIOS), _module.QUOTA
MODULES = ("kv:distro:sys", "vfs:distro:sys", "timer:distro:sys", "passwords:distro:sys")


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_modules_are_as_the_sdk_says(name: str) -> None:
    with FakeHost(limits=FakeLimits(kv_bytes=QUOTA, drive_bytes=QUOTA)) as host:
        if name != "lacks":
            host.grant(*MODULES)
        host.package_files["package.toml"] = b"[package]"
        host.run(MAIN)
        channel = host.open("/")
        channel.send_text(name)
        host.run()
        host.advance(1)
        assert channel.received == ["ok"]


@pytest.mark.slow
def test_all_keys_are_asked_for_in_parts() -> None:
    found: list[str] = []

    def main(our: Address) -> None:
        notes = KeyValues("notes")
        for number in range(2 * MAX_LIST + 1):
            notes.set(f"{number:05}", "x")
        found.extend(notes)

    with FakeHost() as host:
        host.grant("kv:distro:sys")
        host.run(main)
        lists = [sent for sent in host.sent if b'"List"' in sent.body]
        assert found == [f"{number:05}" for number in range(2 * MAX_LIST + 1)]
        assert len(lists) == 3


def test_a_value_expires_when_its_time_has_passed() -> None:
    values: list[bytes | None] = []

    def main(our: Address) -> None:
        notes = KeyValues("notes")
        notes.set("k", "v", ttl=10)
        while True:
            values.append(notes.get("k"))
            receive()

    with FakeHost() as host:
        host.grant("kv:distro:sys")
        host.run(main)
        for _ in range(2):
            host.advance(5)
            host.request(b"look")
            host.run()
    assert values == [b"v", b"v", None]


def test_what_modules_say_that_is_not_foreseen_is_an_error_of_theirs() -> None:
    raised: list[Exception] = []

    def main(our: Address) -> None:
        for call in (
            partial(KeyValues("notes").get, "k"),
            partial(Drive("notes").read, "a"),
            partial(set_timer, "x", 1),
            partial(hash_password, "x"),
        ):
            with pytest.raises(Exception) as caught:  # noqa: PT011 - which is asserted below
                call()
            raised.append(caught.value)

    for body, kinds in (
        (b'{"Err": "IOError"}', [NotStored, FileNotStored, TimerNotStored, PasswordError]),
        (
            b'{"Err": {"IOError": {"error": "the log"}}}',
            [NotStored, FileNotStored, TimerNotStored, PasswordError],
        ),
        (b'{"Err": {"Novel": {"error": "as never before"}}}', [KvError, VfsError, TimerError, PasswordError]),
    ):
        with FakeHost() as host:
            for name in MODULES:
                host.process(name, partial(_says, body))
            host.run(main)
        assert [type(error) for error in raised] == kinds
        assert all("Novel" not in str(error) or "as never before" in str(error) for error in raised)
        raised.clear()


def _says(body: bytes, sent: SentRequest) -> Answer:
    return Answer(body)


class Sleeper(Process):
    """Sets a timer for each number that it is sent, and notes what came when."""

    latest: Sleeper

    def on_start(self) -> None:
        Sleeper.latest = self
        self.called: list[float] = []
        self.rung: list[str] = []

    def on_message(self, channel: Channel, message: str | bytes) -> None:
        seconds = float(message)
        self.call_later(seconds, self.called.append, seconds)

    def on_timer(self, timer_id: str) -> None:
        self.rung.append(timer_id)


def test_the_node_is_asked_for_the_next_timer_only() -> None:
    with FakeHost() as host:
        host.grant("timer:distro:sys")
        channel = host.open()
        host.run(Sleeper)
        for seconds in (5, 7, 6, 3, 9, 200_000):
            channel.send_text(str(seconds))
        host.run()
        assert len(host.sent) == 2
        host.advance(6)
        assert Sleeper.latest.called == [3, 5, 6]
        host.advance(200_000)
        assert Sleeper.latest.called == [3, 5, 6, 7, 9, 200_000]
        assert host.log == []


def test_timers_that_are_cancelled_all_the_time_are_dropped() -> None:
    kept: list[int] = []

    class Debounce(Process):
        def on_message(self, channel: Channel, message: str | bytes) -> None:
            for _ in range(1000):
                self.call_later(60, print).cancel()
            timer = self.call_later(60, kept.append, 1)
            assert timer.pending
            assert self._wakeups is not None
            assert len(self._wakeups._timers) < 300

    with FakeHost() as host:
        host.grant("timer:distro:sys")
        host.open().send_text("go")
        host.run(Debounce)
        assert len(host.sent) == 1
        host.advance(61)
        assert kept == [1]
        assert host.log == []


def test_a_wake_that_an_earlier_run_asked_for_wakes_nobody() -> None:
    with FakeHost() as host:
        host.grant("timer:distro:sys")
        channel = host.open()
        channel.send_text("5")
        host.run(Sleeper)
        host.restart()
        host.advance(10)
        assert Sleeper.latest.called == []
        channel.send_text("5")
        host.run()
        host.advance(5)
        assert Sleeper.latest.called == [5]
        assert host.log == []


def test_a_durable_timer_outlives_the_run_that_set_it() -> None:
    with FakeHost() as host:
        host.grant("timer:distro:sys")
        host.run(Sleeper)
        set_timer("wake", 5)
        host.restart()
        host.advance(4)
        assert Sleeper.latest.rung == []
        host.advance(1)
        assert Sleeper.latest.rung == ["wake"]


def test_a_durable_timer_comes_to_on_request_without_on_timer() -> None:
    bodies: list[bytes] = []

    class Old(Process):
        def on_request(self, source: Address, request: IncomingRequest) -> None:
            bodies.append(request.body)

    with FakeHost() as host:
        host.grant("timer:distro:sys")
        host.run(Old)
        set_timer("wake", 5)
        host.advance(5)
    assert bodies == [b'{"Timer":{"id":"wake"}}']


def test_another_process_cannot_ring() -> None:
    with FakeHost() as host:
        host.run(Sleeper)
        host.request(b'{"Timer":{"id":"wake"}}', expects_response=None)
        host.request(b'{"Timer":{"id":"wake"}}', source="evil.os@timer:distro:sys", expects_response=None)
        host.run()
        assert Sleeper.latest.rung == []


def test_a_failing_on_timer_is_logged_by_its_name() -> None:
    class Broken(Process):
        def on_timer(self, timer_id: str) -> None:
            raise LookupError(timer_id)

    with FakeHost() as host:
        host.grant("timer:distro:sys")
        host.run(Broken)
        set_timer("wake", 5)
        host.advance(5)
        assert host.log[0].text.startswith("on_timer failed")


def test_too_many_durable_timers_are_refused() -> None:
    with FakeHost() as host:
        host.grant("timer:distro:sys")
        host.run(Sleeper)
        for number in range(1000):
            set_timer(str(number), 5)
        set_timer("7", 50)
        with pytest.raises(TooManyTimers):
            set_timer("one more", 5)


def test_a_wake_that_the_node_refuses_is_logged_and_the_next_timer_asks_again() -> None:
    refusals: list[SentRequest] = []

    class Full(FakeHost):
        def ask(self, raw_target, request, context, blob, done) -> None:  # type: ignore[no-untyped-def]
            if b"SetTimer" in request.body and not refusals:
                refusals.append(request)
                done(types.SendError(types.SendErrorKind.MAILBOX_FULL, raw_target, request, blob, None))
            else:
                super().ask(raw_target, request, context, blob, done)

    with Full() as host:
        host.grant("timer:distro:sys")
        channel = host.open()
        channel.send_text("5")
        host.run(Sleeper)
        assert [line.text.splitlines()[0] for line in host.log] == ["a timer failed"]
        assert MailboxFull.__name__ in host.log[0].text
        channel.send_text("7")
        host.run()
        host.advance(8)
        assert Sleeper.latest.called == [5, 7]


def test_a_process_that_waits_for_a_timer_sees_time_pass() -> None:
    from guesthouse_sdk import Request

    def main(our: Address) -> None:
        Request().target(f"{our.node}@timer:distro:sys").body('{"SetTimer": 3000}').send_and_await_response(5)

    with FakeHost() as host:
        host.grant("timer:distro:sys")
        host.run(main)
        assert host.now == 3.0
        with pytest.raises(ValueError, match="pass"):
            host.advance(-1)


def test_a_hash_of_another_cost_is_outdated_and_a_busy_node_says_so() -> None:
    with FakeHost() as host:
        host.grant("passwords:distro:sys")
        host.run(Sleeper)
        stored = hash_password("x")
        other = stored.replace("t=2", "t=3")
        assert not verify_password("x", other)  # the cost is part of what is hashed
        assert not is_outdated("x", other)
        host.process("passwords:distro:sys", partial(_says, b'{"Err":"Busy"}'))
        with pytest.raises(Busy):
            hash_password("x")
        host.process("passwords:distro:sys", partial(_says, b'{"Verify":{"matches":true,"outdated":true}}'))
        assert is_outdated("x", stored)
