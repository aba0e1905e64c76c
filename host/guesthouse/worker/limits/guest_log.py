"""A guest's log output: lines are truncated and rate-limited."""

from __future__ import annotations

import re
from time import monotonic
from typing import Final

from guesthouse.link.frames import checked
from guesthouse.link.to_node import LogLine
from guesthouse.worker.limits.rate import TokenBucket
from guesthouse.worker.link import LinkWriter

_CUT: Final = " … (cut)"
_COLOURS: Final = re.compile(r"\x1b\[[0-9;:]*m")
"""Colour sequences of terminals (SGR of ECMA-48), which are meaningless in a log. Others stay, because they may contain
text; they are escaped when shown."""


class GuestLog:
    """The log of one guest. Lines over the rate are counted, and the count is logged later."""

    __slots__ = (
        "_bucket",
        "_handle",
        "_line_bytes",
        "_lines",
        "_outgoing",
        "_partial",
        "_suppressed",
        "channel_id",
        "dropped",
        "trace",
    )

    def __init__(self, handle: int, lines_per_second: int, line_bytes: int, outgoing: LinkWriter) -> None:
        self._handle = handle
        self._bucket = TokenBucket(lines_per_second, monotonic())
        self._lines = 0
        self._line_bytes = line_bytes
        self._outgoing = outgoing
        self._suppressed = 0
        self.dropped = 0
        """Lines dropped, in all."""
        self.channel_id = 0
        """The channel of the message in hand; 0 without one."""
        self.trace = 0
        """The number of the trace of the message in hand; 0 without one."""
        self._partial: dict[str, bytearray] = {}

    def line(self, stream: str, level: str, text: str) -> None:
        """Log a line."""
        if not self._admit():
            self._suppressed += 1
            self.dropped += 1
            return
        if self._suppressed:
            self._send("host", "warning", f"{self._suppressed} log lines over the rate were dropped")
            self._suppressed = 0
        self._send(stream, level, self._cut(text))

    def stream(self, name: str, data: bytes) -> None:
        """Log whole lines of standard output or error; an incomplete line is buffered (bounded)."""
        partial = self._partial.setdefault(name, bytearray())
        partial += data
        *lines, rest = bytes(partial).split(b"\n")
        if len(rest) > self._line_bytes:
            lines.append(rest)
            rest = b""
        partial[:] = rest
        for line in lines:
            self._stream_line(name, line)

    def close(self) -> None:
        """Log the incomplete lines, and the number of dropped ones."""
        for name, partial in self._partial.items():
            if partial:
                self._stream_line(name, bytes(partial))
        self._partial.clear()
        if self._suppressed:
            self._send("host", "warning", f"{self._suppressed} log lines over the rate were dropped")
            self._suppressed = 0

    def warn(self, text: str) -> None:
        """Log a line of the host's about this guest, without counting it."""
        self._send("host", "warning", text)

    def _stream_line(self, name: str, line: bytes) -> None:
        level = "warning" if name == "stderr" else "info"
        self.line(name, level, line[: 4 * self._line_bytes + 2].decode("utf-8", "replace"))

    def _cut(self, text: str) -> str:
        limit = self._line_bytes
        shown = text if 4 * len(text) <= limit else text[: 4 * limit + 1]
        if "\x1b" in shown:
            shown = _COLOURS.sub("", shown)
        encoded = shown[: limit + 1].encode()
        whole = len(encoded) <= limit and len(text) <= 4 * limit + 1
        return shown if whole else encoded[:limit].decode("utf-8", "ignore") + _CUT

    def _admit(self) -> bool:
        self._bucket.wait_seconds(self._lines, monotonic())
        if self._lines + 1 > self._bucket.enough:
            return False
        self._lines += 1
        return True

    def _send(self, stream: str, level: str, text: str) -> None:
        line = checked(LogLine(self._handle, stream, level, text, self.channel_id, self.trace))  # type: ignore[arg-type] # validated by `checked`
        self._outgoing.add(line, len(text))
