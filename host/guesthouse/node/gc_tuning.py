"""How a node collects garbage, and gives memory back.

Garbage is collected in small passes, of which none goes through all that there is.
Python's own way is a full pass whenever what is there has grown by a fourth. With thousands of connections that holds
the loop for hundreds of milliseconds, and whoever opens and closes thousands more can have it again and again. Here
each pass looks at the youngest objects, and what survives it is not looked at again. Nearly everything is freed without
any pass, by its count of references: connections and requests leave no cycles behind. What cycles there are among
older objects are found by a full pass, which is due once there are twice as many objects as after the last, and half
a million more.

What a storm of clients took is freed in pieces between others that live on, so that the C library keeps it. Once
that is much, the library is told to give the pieces back.
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

YOUNG: Final = 10_000
"""Objects that are made, and not freed, between two passes. A pass over so many takes a millisecond or two."""

FULL_FACTOR: Final = 2
FULL_MORE: Final = 500_000
_COUNT_EVERY: Final = 64
"""Passes between two counts of all objects: counting goes through them too, if quickly."""

_NEVER: Final = 1_000_000_000


class IncrementalCollection:
    """Collects so inside the `with` block. For the whole OS process: there can be only one.

    Args:
        call_soon: has a function called that must not be called here and now; called from any thread.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], Any]) -> None:
        self._call_soon = call_soon
        self._passes = 0
        self._kept = 0
        self.full_passes = 0
        """Since the block began."""

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
"""Memory is worth giving back once there is so much more than after the last time."""


class MemoryTrimmer:
    """Gives memory back inside the `with` block. It takes some milliseconds, of as good as no node that is at rest.

    Args:
        call_later: has a function called after so many seconds; what it returns can be cancelled.
    """

    def __init__(self, call_later: Callable[[float, Callable[[], None]], Any]) -> None:
        self._call_later = call_later
        self._next: Any = None
        self._kept = 0
        self.times = 0
        """Since the block began."""

    def __enter__(self) -> Self:
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
            with suppress(AttributeError):  # a C library that has no such function
                ctypes.CDLL(None).malloc_trim(0)
            self._kept = _resident()
            self.times += 1
        else:
            self._kept = min(self._kept, _resident())


def _resident() -> int:
    """Bytes of this OS process that are in memory (proc(5)); 0 where that is not told."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
