from __future__ import annotations

import io
import json
import os
import threading
import unicodedata
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guesthouse.core.messages import LogLine
from guesthouse.core.printable import printable
from guesthouse.node import log as logs
from guesthouse.node.log import (
    HOST_LINES_PER_SECOND,
    REPEATED_LINES_PER_SECOND,
    Log,
    for_people,
)
from guesthouse.node.log_filter import LogFilter
from guesthouse.node.log_levels import MOST_SOURCES, BadLevel, LogLevels

ESCAPE_SEQUENCE = "\x1b[31mred\u202e\x07"


def test_lines_go_to_the_file_the_terminal_and_who_asks(tmp_path: Path) -> None:
    terminal = io.StringIO()
    log = Log(tmp_path / "logs", terminal)
    log.write("chat:chat:a.os", "info", "hello", stream="stdout")
    log.write("node", "debug", "only in the file")
    log.close()
    written = [json.loads(line) for line in (tmp_path / "logs" / "node.jsonl").read_text().splitlines()]
    assert [(line["source"], line["stream"], line["level"], line["text"]) for line in written] == [
        ("chat:chat:a.os", "stdout", "info", "hello"),
        ("node", "host", "debug", "only in the file"),
    ]
    assert terminal.getvalue().endswith(" info    chat:chat:a.os stdout: hello\n")
    assert [line.text for line in log.recent(1)] == ["only in the file"]


def test_lines_for_programs_are_as_in_the_file(tmp_path: Path) -> None:
    terminal = io.StringIO()
    log = Log(tmp_path / "logs", terminal, "json")
    log.write("node", "warning", "über\x1b[2J\nand more")
    log.close()
    assert terminal.getvalue() == (tmp_path / "logs" / "node.jsonl").read_text()
    assert terminal.getvalue().isascii()
    assert json.loads(terminal.getvalue())["text"] == "über\x1b[2J\nand more"


def test_a_level_of_a_process_its_package_or_a_part_decides_what_is_kept_and_shown(tmp_path: Path) -> None:
    terminal = io.StringIO()
    log = Log(tmp_path / "logs", terminal)
    log.levels.set("chat:chat:a.os", "warning")
    log.levels.set("chat:a.os", "debug")
    for source in ("chat:chat:a.os", "bot:chat:a.os", "other:other:a.os"):
        for level in ("debug", "info", "warning"):
            log.write(source, level, f"{source} {level}", stream="print")
    log.levels.set("chat:chat:a.os", "default")
    log.write("chat:chat:a.os", "info", "its package's level holds", stream="print")
    log.levels.set("chat:a.os", "default")
    log.write("chat:chat:a.os", "debug", "only in the file", stream="print")
    log.close()
    kept = [line.text for line in log.recent(100)]
    assert kept == [
        "chat:chat:a.os warning",
        *(f"bot:chat:a.os {level}" for level in ("debug", "info", "warning")),
        *(f"other:other:a.os {level}" for level in ("debug", "info", "warning")),
        "its package's level holds",
        "only in the file",
    ]
    shown = [line.partition(": ")[2] for line in terminal.getvalue().splitlines()]
    assert shown == [text for text in kept if text not in ("other:other:a.os debug", "only in the file")]
    assert log.levels.all() == {}


def test_levels_are_known_and_bounded() -> None:
    levels = LogLevels()
    with pytest.raises(BadLevel, match="there is no level 'loud'"):
        levels.set("node", "loud")
    for number in range(MOST_SOURCES):
        levels.set(f"part-{number}", "error")
    with pytest.raises(BadLevel, match="have a level of their own"):
        levels.set("one-more", "error")
    levels.set("part-1", "info")
    assert levels.all()["part-1"] == "info"


def test_lines_for_programs_say_whose_they_are(tmp_path: Path) -> None:
    log = Log(tmp_path / "logs", None)
    log.worker_of = {"chat:chat:a.os": "worker-1"}.get
    for source in ("chat:chat:a.os", "bot:chat:a.os", "worker-0", "node"):
        log.write(source, "info", "text")
    log.close()
    written = map(json.loads, (tmp_path / "logs/node.jsonl").read_text().splitlines())
    names = ("process", "package", "worker")
    assert [tuple(line.get(name) for name in names) for line in written] == [
        ("chat:chat:a.os", "chat:a.os", "worker-1"),
        ("bot:chat:a.os", "chat:a.os", None),
        (None, None, "worker-0"),
        (None, None, None),
    ]


LINES: Final = (
    LogLine("chat:chat:a.os", "print", "info", "Hello", 10.0),
    LogLine("chat:other:a.os", "stderr", "error", "HELLO again", 20.0),
    LogLine("node", "host", "warning", "a worker was lost", 30.0),
    LogLine("worker-0", "host", "debug", "ready", 40.0),
)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (LogFilter(), [0, 1, 2, 3]),
        (LogFilter(source="node"), [2]),
        (LogFilter(source="chat:chat:a.os"), [0]),
        (LogFilter(source="chat:a.os"), [0]),
        (LogFilter(source="other:a.os"), [1]),
        (LogFilter(source="a.os"), [0, 1]),
        (LogFilter(source="chat"), []),
        (LogFilter(level="info"), [0, 1, 2]),
        (LogFilter(level="warning"), [1, 2]),
        (LogFilter(level="error"), [1]),
        (LogFilter(since=20.0), [1, 2, 3]),
        (LogFilter(since=20.001), [2, 3]),
        (LogFilter(text="hello"), [0, 1]),
        (LogFilter(text="again", level="error"), [1]),
        (LogFilter(text="again", level="error", source="node"), []),
    ],
)
def test_only_lines_that_are_asked_for_are_shown(wanted: LogFilter, numbers: list[int]) -> None:
    assert [number for number, line in enumerate(LINES) if wanted.takes(line)] == numbers


def test_earlier_lines_are_counted_and_later_ones_kept_by_what_is_asked_for() -> None:
    log = Log(None, None)
    wanted = LogFilter(source="node")
    for number in range(3):
        log.write("node", "info", f"line {number}")
        log.write("worker-0", "info", f"other {number}")
    assert [line.text for line in log.recent(2, wanted)] == ["line 1", "line 2"]
    assert log.recent(0, wanted) == []
    reader = log.subscribe(wanted)
    for number in range(5000):  # more than a reader may leave waiting
        log.write(f"worker-{number}", "info", "other")
    log.write("node", "info", "last")
    assert [line.text for line in reader.take()] == ["last"]
    log.close()


@given(st.text())
def test_nothing_that_a_terminal_acts_on_is_printed(text: str) -> None:
    shown = for_people(LogLine("a", "print", "info", text))
    assert not any(ord(character) < 32 for character in shown if character != "\n")
    assert not set(shown) & {"\x1b", "\r", "\x07", "\x9b", "\u202e", "\u2066", "\u2028"}


def test_a_guest_cannot_forge_a_line() -> None:
    first, second = for_people(LogLine("a:a:a", "print", "info", "x\n12:00:00 error node: fire")).split("\n")
    assert first.endswith("a:a:a: x")
    assert second.startswith("    ")


@pytest.mark.slow
def test_every_character_that_is_not_seen_is_shown_as_an_escape() -> None:
    hidden = [
        chr(code)
        for code in range(0x110000)
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    ]
    assert [character for character in hidden if printable(character) == character] == []
    assert printable("a\u200b\U000e0041b") == r"a\u200b\U000e0041b"
    assert printable("für 你好 \U0001f600\ufe0f") == "für 你好 \U0001f600\ufe0f"


def test_escapes_are_shown_as_such() -> None:
    assert printable(ESCAPE_SEQUENCE) == r"\x1b[31mred\u202e\x07"


def test_a_flood_of_host_lines_about_one_source_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(None, None)
    now = [1000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    for _ in range(1 + REPEATED_LINES_PER_SECOND + 50):
        log.write("flooder", "info", "again")
    log.write("flooder", "warning", "the one line that a person needs")
    log.write("other", "info", "is heard")
    now[0] += 1
    log.write("other", "info", "next second")
    texts = [line.text for line in log.recent(10_000)]
    assert texts.count("again") == 1 + REPEATED_LINES_PER_SECOND
    assert "the one line that a person needs" in texts
    assert "is heard" in texts
    assert "50 more lines were dropped" in texts
    log.close()


def test_two_floods_with_numbers_leave_room_for_the_line_that_tells_of_something_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each line of a flood that a worker lets pass comes after one that counts those that it did not."""
    log = Log(None, None)
    monkeypatch.setattr("time.time", lambda: 1000.0)
    for number in range(HOST_LINES_PER_SECOND):
        log.write("flooder", "warning", f"{number} log lines over the rate were dropped")
        log.write("flooder", "warning", "a response was dropped: no request is waiting for one")
    log.write("flooder", "warning", "spawning a process was refused")
    assert log.recent(1)[0].text == "spawning a process was refused"
    log.close()


def test_host_lines_of_many_kinds_are_counted_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(None, None)
    monkeypatch.setattr("time.time", lambda: 1000.0)
    for number in range(HOST_LINES_PER_SECOND + 50):
        log.write("flooder", "info", f"{'x' * (number % 20)}{'y' * (number // 20)}")
    assert len(log.recent(10_000)) == HOST_LINES_PER_SECOND
    log.close()


def test_what_is_kept_for_later_is_bounded_and_a_long_line_cut() -> None:
    log = Log(None, None)
    for _ in range(400):
        log.write("a", "info", "x" * 100_000, stream="print")
    recent = log.recent(10_000)
    assert all(len(line.text) <= logs.LINE_CHARACTERS + 2 for line in recent)
    assert sum(len(line.text) for line in recent) <= logs.KEPT_CHARACTERS
    log.close()


def test_the_file_is_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 2000)
    log = Log(tmp_path, None)
    for number in range(100):
        log.write("a", "info", f"line {number} " + "x" * 100, stream="print")
    log.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["node.1.jsonl", "node.2.jsonl", "node.3.jsonl", "node.jsonl"]
    assert all(path.stat().st_size < 2500 for path in tmp_path.iterdir())


def test_a_terminal_that_stands_still_does_not_stop_the_log() -> None:
    reading, writing = os.pipe()
    terminal = os.fdopen(writing, "w")
    log = Log(None, terminal)
    for _ in range(20_000):
        log.write("a", "info", "x" * 100, stream="print")
    assert len(log.recent(100_000)) == 20_000

    def drain() -> None:
        with os.fdopen(reading) as pipe:
            pipe.read()

    drained = threading.Thread(target=drain)
    drained.start()
    log.close()
    terminal.close()
    drained.join()


def test_what_waits_for_a_terminal_that_stands_still_is_bounded_in_characters() -> None:
    """Lines are up to 8,192 characters long: 4,096 of them would be 32 MiB, or 128 of wide ones."""
    reading, writing = os.pipe()
    terminal = os.fdopen(writing, "w")
    log = Log(None, terminal)
    for _ in range(2000):
        log.write("a", "info", "x" * 8000, stream="print")
    shown: list[int] = []

    def drain() -> None:
        with os.fdopen(reading) as pipe:
            shown.extend(map(len, pipe))

    drained = threading.Thread(target=drain)
    drained.start()
    log.close()
    terminal.close()
    drained.join()
    assert 4_000_000 <= sum(shown) <= 6_000_000


def test_a_subscriber_that_does_not_read_loses_lines_and_is_told() -> None:
    log = Log(None, None)
    subscription = log.subscribe()
    for number in range(5000):
        log.write("a", "info", str(number), stream="print")
    lines = list(subscription.take())
    assert [line.text for line in lines[:2]] == ["0", "1"]
    assert lines[-1].text == "904 lines were dropped: they came faster than they were read"
    log.unsubscribe(subscription)
    log.close()
