"""The node's log: as text on standard error, as JSON lines in the home, and live.

Output of guests is untrusted until escaped: none of their control characters, bidirectional overrides and
newlines reaches a terminal. Writing never blocks, and memory is bounded: a thread writes file and
terminal from a bounded queue; dropped lines are counted and the count is logged.
"""

from __future__ import annotations

import json
import queue
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final, TextIO, cast

from guesthouse.core.disk import disk_errors
from guesthouse.core.disk.line_file import LineFile
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.messages import LogLine
from guesthouse.core.printable import coloured, number_of, printable, wants_colours
from guesthouse.node.log_filter import EVERYTHING, LogFilter
from guesthouse.node.log_levels import LogLevels

LINE_CHARACTERS: Final = 8 * 1024
KEPT_LINES: Final = 32_768
KEPT_CHARACTERS: Final = 2 * 1024 * 1024
"""Earlier lines that `guesthouse logs` can show: their number, and their characters together."""

HOST_LINES_PER_SECOND: Final = 200
"""Lines a second that the host writes about one source; a worker limits what the source itself writes."""

REPEATED_LINES_PER_SECOND: Final = 150
"""Of those, lines that start like another of that second, digits aside: a flood of similar lines leaves room for a
different one."""

_ALIKE_CHARACTERS: Final = 24

FILE_BYTES: Final = 8 * 1024 * 1024
OLD_FILES: Final = 3
_QUEUED_LINES: Final = 4096
_QUEUED_CHARACTERS: Final = 4 * 1024 * 1024
"""Lines queued for a slow disk or terminal, each of up to 8,192 characters."""
_SUBSCRIBER_LINES: Final = 4096
_CLOSE_SECONDS: Final = 1.0


_PARTS_OF_ID: Final = 3
_WORKER: Final = "worker-"
_NUMBERS = re.compile(r"\d+")


class LogError(GuesthouseError):
    """The log cannot be opened."""


class Subscription:
    """New lines for one reader. A reader that does not keep up loses lines, and is told how many."""

    def __init__(self, wanted: LogFilter = EVERYTHING) -> None:
        self._wanted = wanted
        self._lines: deque[LogLine] = deque()
        self._missed = 0
        self.on_line: Callable[[], None] | None = None
        """Called when there are lines to take."""

    def put(self, line: LogLine) -> None:
        """Called by the log."""
        if not self._wanted.takes(line):
            return
        if len(self._lines) >= _SUBSCRIBER_LINES:
            self._missed += 1
            return
        self._lines.append(line)
        if self.on_line is not None:
            self.on_line()

    def take(self) -> Iterator[LogLine]:
        """Yield what came since the last call."""
        while self._lines:
            yield self._lines.popleft()
        if self._missed:
            missed, self._missed = self._missed, 0
            lines = number_of(missed, "line was", "lines were")
            yield _of_log(f"{lines} dropped: they came faster than they were read")


class Log:
    """Implements `guesthouse.core.ports.LogPort`. `close` flushes it.

    Args:
        folder: of `node.jsonl`; None writes no file.
        terminal: where lines of info and above go; None for nowhere.
        form: how they are written there: `text`, or `json` as in the file.
        route: also gets each line, in the writing thread; it may block.
    """

    def __init__(
        self,
        folder: Path | None,
        terminal: TextIO | None = sys.stderr,
        form: str = "text",
        route: Callable[[LogLine], None] | None = None,
    ) -> None:
        """Raises:
        LogError: the file cannot be opened.
        """
        self._recent: deque[LogLine] = deque()
        self._recent_size = 0
        self._subscriptions: list[Subscription] = []
        self._rate = _Rate()
        self.levels = LogLevels()
        """Of single sources."""
        self.worker_of: Callable[[str], str | None] = lambda _: None
        """The worker on which a process runs."""
        self.trace_id: Callable[[], str | None] = lambda: None
        """The trace of what the node is handling now."""
        shown = json_line if form == "json" else _in_colours if wants_colours(terminal) else for_people
        self._writer = _Writer(folder, terminal, shown, self.levels.shows, route)

    def write(self, source: str, level: str, text: str, *, stream: str = "host", channel_id: int = 0) -> None:
        """See `LogPort`. Of a flood of host lines about one source, the first are written and the rest counted."""
        if not self.levels.keeps(source, level):
            return
        now = time.time()
        if stream == "host":
            for summary in self._rate.summaries(now):
                self._write(LogLine(*summary, now))
            if not self._rate.allows(source, text):
                return
        shown = text if len(text) <= LINE_CHARACTERS else text[:LINE_CHARACTERS] + " …"
        self._write(
            LogLine(
                *(source, stream, cast(Any, level), shown, now),
                *(self.worker_of(source), channel_id or None, self.trace_id()),
            )
        )

    def recent(self, count: int, wanted: LogFilter = EVERYTHING) -> list[LogLine]:
        """The last `count` lines that are wanted, oldest first."""
        return list(islice(filter(wanted.takes, reversed(self._recent)), count))[::-1]

    def tail(self, count: int, source: str, level: str, since: float, text: str) -> list[LogLine]:
        """The last `count` lines that a `LogFilter` of these takes, oldest first."""
        return self.recent(count, LogFilter(source, level, since, text))

    def subscribe(self, wanted: LogFilter = EVERYTHING) -> Subscription:
        """Follow the log, until `unsubscribe`."""
        subscription = Subscription(wanted)
        self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop following."""
        self._subscriptions.remove(subscription)

    @contextmanager
    def following(self, source: str, level: str) -> Iterator[Subscription]:
        """Follow lines that a `LogFilter` of these takes, in the block."""
        subscription = self.subscribe(LogFilter(source, level))
        try:
            yield subscription
        finally:
            self.unsubscribe(subscription)

    def reopen(self) -> None:
        """Open the file again if it was rotated by another program."""
        self._writer.reopen = True

    def close(self) -> None:
        """Flush, for at most a second."""
        self._writer.close()

    def _write(self, line: LogLine) -> None:
        self._recent.append(line)
        self._recent_size += len(line.text)
        while self._recent_size > KEPT_CHARACTERS or len(self._recent) > KEPT_LINES:
            self._recent_size -= len(self._recent.popleft().text)
        for subscription in self._subscriptions:
            subscription.put(line)
        self._writer.put(line)


class _Rate:
    """Counts lines by source in the current second."""

    def __init__(self) -> None:
        self._second = 0
        self._counts: dict[str, int] = {}
        self._repeated: dict[str, int] = {}
        self._kinds: set[tuple[str, str]] = set()
        self._dropped: dict[str, int] = {}

    def summaries(self, now: float) -> list[tuple[str, str, Any, str]]:
        if int(now) == self._second:
            return []
        dropped = self._dropped
        self._second, self._counts, self._repeated = int(now), {}, {}
        self._kinds, self._dropped = set(), {}
        return [
            (source, "host", "warning", f"{number_of(count, 'more line was', 'more lines were')} dropped")
            for source, count in dropped.items()
        ]

    def allows(self, source: str, text: str) -> bool:
        count = self._counts.get(source, 0)
        repeated = self._repeated.get(source, 0)
        kind = source, _NUMBERS.sub("", text[:_ALIKE_CHARACTERS])
        is_new = kind not in self._kinds
        if count >= HOST_LINES_PER_SECOND or (repeated >= REPEATED_LINES_PER_SECOND and not is_new):
            self._dropped[source] = self._dropped.get(source, 0) + 1
            return False
        self._counts[source] = count + 1
        if is_new:
            self._kinds.add(kind)
        else:
            self._repeated[source] = repeated + 1
        return True


class _Writer:
    """The writing thread. It may block on a full disk or a stopped terminal; nothing waits for it."""

    def __init__(
        self,
        folder: Path | None,
        terminal: TextIO | None,
        form: Callable[[LogLine], str],
        shows: Callable[[str, str], bool],
        route: Callable[[LogLine], None] | None,
    ) -> None:
        self._shows = shows
        self._route = route
        self._folder = folder
        self._form = form
        self._terminal = terminal
        self._file = None if folder is None else _open_file(folder)
        self._unwritten = 0
        self.reopen = False
        self._lines: queue.Queue[tuple[LogLine, bool] | None] = queue.Queue(_QUEUED_LINES)
        self._dropped = 0
        # Two counters with one writing thread each: callers of `put`, and this thread.
        self._characters_put = self._characters_taken = 0
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    def put(self, line: LogLine) -> None:
        if self._characters_put - self._characters_taken > _QUEUED_CHARACTERS:
            self._dropped += 1
            return
        try:
            self._lines.put_nowait((line, self._shows(line.source, line.level)))
        except queue.Full:
            self._dropped += 1
        else:
            self._characters_put += len(line.text)

    def close(self) -> None:
        try:
            self._lines.put(None, timeout=_CLOSE_SECONDS)
        except queue.Full:
            return
        self._thread.join(_CLOSE_SECONDS)

    def _work(self) -> None:
        while (queued := self._lines.get()) is not None:
            line, shown = queued
            self._write(line, shown=shown)
            self._characters_taken += len(line.text)
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                text = f"{number_of(dropped, 'line was', 'lines were')} dropped: the disk or the terminal is too slow"
                self._write(_of_log(text))
        if self._file is not None:
            self._file.close()

    def _write(self, line: LogLine, *, shown: bool = True) -> None:
        if shown:
            self._show(line)
        if self._route is not None:
            self._hand_on(line, self._route)
        if self._folder is None:
            return
        try:
            self._keep(line, self._folder)
        except (OSError, LogError) as error:
            if not self._unwritten:
                why = error if isinstance(error, LogError) else f"{self._folder}: {error.strerror}"
                self._show(_of_log(f"{why}: until that is fixed, lines are not written to the file"))
            self._unwritten += 1
            return
        if self._unwritten:
            missing, self._unwritten = self._unwritten, 0
            lines = number_of(missing, "line is", "lines are")
            self._write(_of_log(f"{lines} missing here: {self._folder} was not writable"))

    def _hand_on(self, line: LogLine, route: Callable[[LogLine], None]) -> None:
        try:
            route(line)
        except (
            Exception
        ) as error:  # a filter or formatter of the operator's; handlers report theirs themselves
            self._route = None
            self._show(_of_log(f"log_config: lines are not routed any more: {error!r}"))

    def _show(self, line: LogLine) -> None:
        try:
            if self._terminal is not None:
                self._terminal.write(self._form(line) + "\n")
                self._terminal.flush()
        except (BrokenPipeError, ValueError):  # the terminal is gone
            self._terminal = None
        except OSError:  # it is a file, and its disk is full
            return

    def _keep(self, line: LogLine, folder: Path) -> None:
        """Append a line to the file, or nothing."""
        if self.reopen and self._file is not None:
            self.reopen = False
            self._file.close()
            self._file = None
        if self._file is None:
            self._file = _open_file(folder)
        if self._file.append(json_line(line).encode() + b"\n") >= FILE_BYTES:
            self._rotate(folder)

    def _rotate(self, folder: Path) -> None:
        """Start a new file. If that fails, the next line reopens the old one and tries again."""
        if self._file is not None:
            self._file.close()
            self._file = None
        with suppress(OSError):
            for number in range(OLD_FILES, 0, -1):
                older = folder / f"node.{number}.jsonl"
                newer = folder / (f"node.{number - 1}.jsonl" if number > 1 else "node.jsonl")
                if newer.exists():
                    newer.replace(older)


def _of_log(text: str) -> LogLine:
    return LogLine("log", "host", "warning", text, time.time())


def _open_file(folder: Path) -> LineFile:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        return LineFile(folder / "node.jsonl")
    except OSError as error:
        raise LogError(disk_errors.unwritten(folder, error)) from None


def for_people(line: LogLine) -> str:
    """One line for a terminal: time, level, source, text. Further lines of the text are indented."""
    clock = time.strftime("%H:%M:%S", time.localtime(line.time))
    first, *rest = line.text.rstrip("\n").split("\n")
    stream = "" if line.stream in ("host", "print") else f" {line.stream}"
    head = f"{clock} {line.level:<7} {line.source}{stream}: {printable(first)}"
    if line.trace_id is not None:
        head += f" (trace {line.trace_id})"
    return "\n".join((head, *(f"    {printable(more)}" for more in rest)))


def _in_colours(line: LogLine) -> str:
    return coloured(for_people(line))


def json_line(line: LogLine) -> str:
    """The line as JSON, in ASCII."""
    return json.dumps(as_dict(line))


def as_dict(line: LogLine) -> dict[str, str | float]:
    """The line as in `node.jsonl` and `guesthouse logs --json`: with `process`, `package`, `worker`, `channel` and
    `trace_id` where it has them.
    """
    parts = line.source.split(":")
    fields: dict[str, str | float] = {}
    if len(parts) == _PARTS_OF_ID:
        fields |= {"process": line.source, "package": ":".join(parts[1:])}
    worker = line.source if line.source.startswith(_WORKER) else line.worker
    if worker is not None:
        fields["worker"] = worker
    if line.channel_id is not None:
        fields["channel"] = line.channel_id
    if line.trace_id is not None:
        fields["trace_id"] = line.trace_id
    return fields | {
        "time": round(line.time, 3),
        "level": line.level,
        "source": line.source,
        "stream": line.stream,
        "text": line.text,
    }
