"""What stands for a socket that is gone while some of what came from it still waits for its process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class ClosedTransport(asyncio.Transport):
    """Takes what is written, which reaches nobody, and holds none of it.

    Args:
        over: called once, when more would be read or the socket be closed: then nothing of the client is left.
    """

    def __init__(self, over: Callable[[], None]) -> None:
        super().__init__()
        self._over: Callable[[], None] | None = over

    def is_closing(self) -> bool:
        """The channel is not over yet."""
        return False

    def write(self, data: Any) -> None:
        """Reaches nobody."""

    def can_write_eof(self) -> bool:
        """There is nothing to end."""
        return False

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def pause_reading(self) -> None:
        """Nothing comes."""

    def resume_reading(self) -> None:
        """All that came was taken."""
        over, self._over = self._over, None
        if over is not None:
            over()

    def close(self) -> None:
        """Nobody is waited for."""
        self.resume_reading()

    def abort(self) -> None:
        """Nobody is waited for."""
        self.resume_reading()
