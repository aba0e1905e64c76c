"""Lines that could come without end come once a minute, and say how often they did not."""

from __future__ import annotations

from dataclasses import dataclass

from guesthouse.core.throttled_log import EVERY_SECONDS, ThrottledLog

from .conftest import Lines


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_matter_is_named_at_once_and_then_once_a_minute_with_how_often() -> None:
    clock, log = Clock(), Lines()
    lines = ThrottledLog(log, clock)
    for _ in range(5):
        lines.say("a:b:c", "mailbox", "it is full")
    clock.now = EVERY_SECONDS
    lines.say("a:b:c", "mailbox", "it is full")
    clock.now = 2 * EVERY_SECONDS
    lines.say("a:b:c", "mailbox", "it is full")
    assert log.lines == [
        ("a:b:c", "warning", "it is full"),
        ("a:b:c", "warning", "it is full (4 times more since it was said last)"),
        ("a:b:c", "warning", "it is full"),
    ]


def test_other_matters_and_other_processes_have_their_own_minute() -> None:
    log = Lines()
    lines = ThrottledLog(log, Clock())
    lines.say("a:b:c", "mailbox", "it is full")
    lines.say("a:b:c", "state", "it is big")
    lines.say("d:e:f", "mailbox", "it is full")
    assert len(log.lines) == 3


def test_what_was_said_is_not_remembered_for_ever() -> None:
    clock, log = Clock(), Lines()
    lines = ThrottledLog(log, clock)
    for number in range(5000):
        clock.now += 1.0
        lines.say(f"p{number}:b:c", "mailbox", "it is full")
    assert len(lines._throttle._seen) <= 1024
