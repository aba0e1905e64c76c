"""Stands in for a closed socket while messages received from it still wait for their process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class ClosedTransport(asyncio.Transport):
    """Discards what is written.

    Args:
        drained: called once, on resume, close or abort: all input was delivered or is no longer wanted.
    """

    def __init__(self, drained: Callable[[], None]) -> None:
        super().__init__()
        self._drained: Callable[[], None] | None = drained

    def is_closing(self) -> bool:
        """False: the channel stays open until its input is delivered."""
        return False

    def write(self, data: Any) -> None:
        """Discard the data."""

    def can_write_eof(self) -> bool:
        """False."""
        return False

    def get_write_buffer_size(self) -> int:
        """0: nothing is buffered."""
        return 0

    def pause_reading(self) -> None:
        """Do nothing: there is no more input."""

    def resume_reading(self) -> None:
        """Report that all input was delivered."""
        drained, self._drained = self._drained, None
        if drained is not None:
            drained()

    def close(self) -> None:
        """Report it at once."""
        self.resume_reading()

    def abort(self) -> None:
        """Report it at once."""
        self.resume_reading()
