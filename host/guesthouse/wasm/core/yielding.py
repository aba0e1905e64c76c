"""The end of a time slice, for guests that call the host on their own stack.

While the host waits for such a guest's allocator, Python's frames stand on the guest's stack: it must not be
left before they are done. So what happens at the end of a slice is decided here each time.
"""

from __future__ import annotations

from time import thread_time
from typing import Any, Final

from guesthouse.wasm.core.core_capi import CONTINUE, EPOCH_CALL, YIELD, epoch_callback, put_u64
from guesthouse.wasm.engine import capi
from guesthouse.wasm.engine.fiber import FIBERS, SLICE, CurrentFiber
from guesthouse.wasm.engine.native import slots

LONGEST_SECONDS: Final = 0.025
"""CPU time that a guest's allocator may take past a slice, all calls of it together: nobody else runs meanwhile."""

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
    if not CurrentFiber.finish_by:
        CurrentFiber.finish_by = now + LONGEST_SECONDS
    elif now > CurrentFiber.finish_by:
        made: int = capi.error_new(b"its allocator took over %d ms" % (1000 * LONGEST_SECONDS))
        return made
    return 0


_SLICE_OVER: Final = EPOCH_CALL(_slice_over)


def let_yield(store: int | None) -> None:
    """Have the guest of a store yield at the end of each slice, unless the host waits for its allocator."""
    epoch_callback(store, _SLICE_OVER, None, None)
