"""What was revoked and could not be written to the disk: it is tried again until the node ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from guesthouse.core.errors import GuesthouseError
from guesthouse.core.ports import LogPort

RETRY_SECONDS: Final = 10.0


class PendingWrites:
    """Files that lack what holds in memory already.

    Args:
        log: told of each failure, and when all is written.
    """

    def __init__(self, log: LogPort) -> None:
        self._log = log
        self._writes: dict[str, Callable[[], None]] = {}
        self._failed = asyncio.Event()

    def add(self, name: str, write: Callable[[], None], error: GuesthouseError) -> None:
        """A file could not be written.

        Args:
            name: of the file.
            write: writes what it lacks, in a thread, or raises a `GuesthouseError`.
            error: why it could not.
        """
        self._log.write("node", "error", str(error))
        self._writes[name] = write
        self._failed.set()

    async def keep_trying(self) -> None:
        """Try again every `RETRY_SECONDS` while something is to be written. Ends when it is cancelled."""
        while True:
            await self._failed.wait()
            await asyncio.sleep(RETRY_SECONDS)
            await self.try_all()
            if not self._writes:
                self._failed.clear()

    async def finish(self) -> None:
        """The node ends: try for the last time, and log what is lost."""
        for error in await self.try_all():
            self._log.write("node", "error", f"what was revoked is valid again when the node starts: {error}")

    async def try_all(self) -> list[GuesthouseError]:
        """Try now. Returns why what is still to be written is not."""
        errors = []
        for name in tuple(self._writes):
            write = self._writes.pop(name)
            try:
                await asyncio.to_thread(write)
            except GuesthouseError as error:
                self._writes[name] = write
                errors.append(error)
            else:
                self._log.write("node", "info", f"{name}: what could not be written before is written")
        return errors
