"""Writes down who pushed, in few lines: a service may push a thousand times a second."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from guesthouse.core.ports import LogPort
from guesthouse.core.printable import number_of

TOGETHER_SECONDS: Final = 10.0
"""Pushes after the first are written down together after that time."""
MOST_KEPT: Final = 1024


class PushRecord:
    """Counts the pushes of each caller to each process.

    Args:
        log: the node's log.
        source: of the lines.
    """

    def __init__(self, log: LogPort, source: str) -> None:
        self._log = log
        self._source = source
        self._messages: Counter[tuple[str, str]] = Counter()
        self._channels: Counter[tuple[str, str]] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def count(self, caller: str, process: str, channels: int) -> None:
        """A message was pushed to so many channels."""
        self._messages[caller, process] += 1
        self._channels[caller, process] += channels
        if self._timer is None:
            self._write()
            self._timer = asyncio.get_running_loop().call_later(TOGETHER_SECONDS, self._due)
        elif len(self._messages) >= MOST_KEPT:
            self._write()

    def close(self) -> None:
        """Write what is counted."""
        if self._timer is not None:
            self._timer.cancel()
        self._write()

    def _due(self) -> None:
        self._timer = None
        if self._messages:
            self._write()
            self._timer = asyncio.get_running_loop().call_later(TOGETHER_SECONDS, self._due)

    def _write(self) -> None:
        for (caller, process), messages in self._messages.items():
            channels = self._channels[caller, process]
            times = number_of(channels, "time")
            text = f"{caller} pushed to {process}: {number_of(messages, 'message')}, delivered to channels {times}"
            self._log.write(self._source, "info", text)
        self._messages.clear()
        self._channels.clear()
