"""Tuning of the node's garbage collection and memory.

CPython collects the whole heap whenever it has grown by a quarter. With thousands of connections that blocks
the loop for hundreds of milliseconds, and clients that open and close connections can cause it over and over. Here
only the youngest generation is collected, and survivors are not visited again; nearly all garbage is freed by
reference counting, since connections and requests leave no cycles. Cycles among
older objects are found by a full collection, due when the number of objects has doubled since the last one and grown by
half a million.

Memory freed after a burst of clients is fragmented, so malloc keeps it. When it is enough, `malloc_trim` returns it
to the kernel. What large messages were in is kept for the next (`linux/malloc.py`), until then.
"""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from guesthouse.linux.malloc import keep_large_buffers

YOUNG: Final = 10_000
"""Net allocations between two collections. One of this size takes 1 to 2 ms."""

FULL_FACTOR: Final = 2
FULL_MORE: Final = 500_000
_COUNT_EVERY: Final = 64
"""Collections between two counts of all objects; counting visits them all, too."""

_NEVER: Final = 1_000_000_000


class IncrementalCollection:
    """Collects incrementally inside the `with` block. Process-wide: there can be only one.

    Args:
        call_soon: schedules a function on the loop; called from any thread.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], Any]) -> None:
        self._call_soon = call_soon
        self._passes = 0
        self._kept = 0
        self.full_passes = 0
        """Since entry."""

    def __enter__(self) -> Self:
        self._thresholds = gc.get_threshold()
        gc.collect()
        gc.freeze()
        self._kept = gc.get_freeze_count()
        gc.set_threshold(YOUNG, _NEVER, _NEVER)
        gc.callbacks.append(self._passed)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        gc.callbacks.remove(self._passed)
        gc.set_threshold(*self._thresholds)
        gc.unfreeze()

    def _passed(self, phase: str, info: dict[str, int]) -> None:
        if phase != "stop" or info["generation"] != 0:
            return
        gc.freeze()
        self._passes += 1
        if self._passes % _COUNT_EVERY == 0 and gc.get_freeze_count() > FULL_FACTOR * self._kept + FULL_MORE:
            self._call_soon(self._go_through_all)

    def _go_through_all(self) -> None:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._kept = gc.get_freeze_count()
        self.full_passes += 1


LOOK_SECONDS: Final = 5.0
MUCH_BYTES: Final = 16 * 2**20
"""RSS growth since the last trim that makes another worthwhile."""


class MemoryTrimmer:
    """Returns free memory to the kernel inside the `with` block. A trim takes some milliseconds and runs only when RSS
    has grown by `MUCH_BYTES`.

    Args:
        call_later: calls a function after so many seconds; its result can be cancelled.
    """

    def __init__(self, call_later: Callable[[float, Callable[[], None]], Any]) -> None:
        self._call_later = call_later
        self._next: Any = None
        self._kept = 0
        self.times = 0
        """Since entry."""

    def __enter__(self) -> Self:
        keep_large_buffers()
        self._kept = _resident()
        self._next = self._call_later(LOOK_SECONDS, self._look)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._next.cancel()

    def _look(self) -> None:
        self._next = self._call_later(LOOK_SECONDS, self._look)
        if _resident() > self._kept + MUCH_BYTES:
            with suppress(AttributeError):  # not glibc
                ctypes.CDLL(None).malloc_trim(0)
            self._kept = _resident()
            self.times += 1
        else:
            self._kept = min(self._kept, _resident())


def _resident() -> int:
    """Resident memory of this OS process in bytes (proc(5)); 0 where unknown."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
