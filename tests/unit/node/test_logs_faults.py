"""The log when its disk is full, or does not let files be renamed: lines are shown, counted, and kept again later."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest
from tests.full_disk import largest_file
from tests.patience import PATIENCE

from guesthouse.node import log as logs
from guesthouse.node.log import Log


class Terminal(io.StringIO):
    """Counts lines, so that a test can wait until the log's thread has shown them."""

    def shows(self, text: str, seconds: float = PATIENCE) -> None:
        end = time.monotonic() + seconds
        while text not in self.getvalue():
            assert time.monotonic() < end, self.getvalue()
            time.sleep(0.005)


def kept(folder: Path) -> list[str]:
    """The lines of the file that are whole."""
    texts = []
    for line in (folder / "node.jsonl").read_text().splitlines():
        try:
            texts.append(json.loads(line)["text"])
        except ValueError:
            continue
    return texts


def test_lines_that_find_no_room_are_shown_and_counted_and_the_next_ones_kept(tmp_path: Path) -> None:
    terminal = Terminal()
    log = Log(tmp_path, terminal)
    log.write("node", "info", "first")
    terminal.shows("first")
    with largest_file((tmp_path / "node.jsonl").stat().st_size + 20):  # the next line is cut off
        for number in range(5):
            log.write("node", "info", f"lost {number}")
        terminal.shows("lost 4")
    log.write("node", "info", "after")
    log.close()
    shown = terminal.getvalue()
    assert shown.count("until that is fixed, lines are not written to the file") == 1
    assert kept(tmp_path) == ["first", "after", f"5 lines are missing here: {tmp_path} was not writable"]


def test_a_file_that_cannot_be_put_aside_costs_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 300)
    for name in ("node.2.jsonl", "node.3.jsonl"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "in the way").touch()
    log = Log(tmp_path, Terminal())
    for number in range(20):
        log.write("node", "info", f"line {number}")
    log.close()
    assert kept(tmp_path) == [f"line {number}" for number in range(20)]


def test_a_line_that_the_run_before_left_unfinished_does_not_take_the_next_one_along(tmp_path: Path) -> None:
    (tmp_path / "node.jsonl").write_text('{"text": "bef')
    log = Log(tmp_path, Terminal())
    log.write("node", "info", "after")
    log.close()
    assert kept(tmp_path) == ["after"]
