"""What was revoked and could not be written to the disk: it is tried again until the node ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from guesthouse.core.errors import GuesthouseError
from guesthouse.core.ports import LogPort

RETRY_SECONDS: Final = 10.0
LAST_SECONDS: Final = 5.0
"""How long the node's end waits for a disk that does not answer."""


class PendingWrites:
    """Files that lack what holds in memory already.

    Args:
        log: told of each failure, and when all is written.
    """

    def __init__(self, log: LogPort) -> None:
        self._log = log
        self._writes: dict[str, Callable[[], None]] = {}
        self._failed = asyncio.Event()
        self._trying = asyncio.Lock()

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
        if not self._writes:
            return
        lost: list[object] = [f"{name}: the disk does not answer" for name in self._writes]
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                lost = list(await self.try_all())
        for each in lost:
            self._log.write("node", "error", f"what was revoked is valid again when the node starts: {each}")

    async def try_all(self) -> list[GuesthouseError]:
        """Try now. Returns why what is still to be written is not."""
        errors = []
        async with self._trying:
            for name, write in tuple(self._writes.items()):
                try:
                    await asyncio.to_thread(write)
                except GuesthouseError as error:
                    errors.append(error)
                else:
                    if self._writes.get(name) is write:  # and not another that has failed meanwhile
                        del self._writes[name]
                    self._log.write("node", "info", f"{name}: what could not be written before is written")
        return errors
