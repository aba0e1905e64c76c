"""Decides at the end of a time slice whether a guest yields.

While the guest's allocator runs inside a host call, Python frames are on the guest's stack, which must not be
switched before they return.
"""

from __future__ import annotations

from time import thread_time
from typing import Any, Final

from guesthouse.wasm.core.core_capi import CONTINUE, EPOCH_CALL, YIELD, epoch_callback, put_u64
from guesthouse.wasm.engine import capi
from guesthouse.wasm.engine.fiber import CURRENT, FIBERS, SLICE
from guesthouse.wasm.engine.native import slots

LONGEST_SECONDS: Final = 0.025
"""CPU time past its slice for a guest's allocator, all calls together: no other guest runs meanwhile."""

_delta: Final = slots(8)
_kind: Final = slots(1)


def _slice_over(context: int, env: int, delta_out: int, kind_out: int) -> int:
    put_u64(_delta(delta_out), 0, SLICE)
    kind = _kind(kind_out)
    fiber: Any = FIBERS[context]
    if not fiber.must_finish:
        kind[0] = YIELD
        return 0
    kind[0] = CONTINUE
    now = thread_time()
    if not CURRENT.finish_by:
        CURRENT.finish_by = now + LONGEST_SECONDS
    elif now > CURRENT.finish_by:
        made: int = capi.error_new(b"its allocator took over %d ms" % (1000 * LONGEST_SECONDS))
        return made
    return 0


_SLICE_OVER: Final = EPOCH_CALL(_slice_over)


def let_yield(store: int | None) -> None:
    """Have the guest of a store yield at the end of each slice, unless its allocator runs inside a host call."""
    epoch_callback(store, _SLICE_OVER, None, None)
