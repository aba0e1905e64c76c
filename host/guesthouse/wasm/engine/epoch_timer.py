"""Pre-empts guests: advances the engine's epoch without Python.

A POSIX timer calls `wasmtime_engine_increment_epoch` on a thread of libc, so guests run with the GIL held and
nothing competes for it. The timer is off while the
worker is idle.

Each tick starts and ends a thread, about 35 µs. So while there are CPU-bound guests the timer is armed for each
slice only; while there are none, it ticks slowly to detect the first.
"""

from __future__ import annotations

import ctypes
import weakref
from ctypes import byref, c_char, c_int, c_long, c_void_p
from typing import Final

from guesthouse.linux.sched import use_short_slices
from guesthouse.wasm.engine import capi
from guesthouse.wasm.engine.owned import Native, address_of_native
from guesthouse.wasm.errors import BoundaryError

ROUND_SECONDS: Final = 0.002
"""Slice of all woken guests together while there are CPU-bound ones; most finish within it."""
TICK_SECONDS: Final = 0.001
"""Slice of each guest after that, and of CPU-bound guests."""
SHORT_SECONDS: Final = 0.0003
"""Slice of CPU-bound guests while latency-sensitive ones are active."""
CALM_SECONDS: Final = 0.01
"""Slice of the first guest to become CPU-bound after a calm period."""
_ALERT_SECONDS: Final = 1.0
"""Length of a calm period."""

_CLOCK_MONOTONIC: Final = 1
_SIGEV_THREAD: Final = 2


class _SigEvent(ctypes.Structure):
    _fields_ = (
        ("value", c_void_p),
        ("signo", c_int),
        ("notify", c_int),
        ("function", c_void_p),
        ("attributes", c_void_p),
        ("padding", c_char * 32),
    )


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", c_long), ("nanoseconds", c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


_libc = ctypes.PyDLL(None, use_errno=True)
_libc.timer_delete.argtypes = [c_void_p]
_timer_settime = _libc["timer_settime"]
"""Called with `Ready` arguments (see `capi`), because it is called for each slice."""
_RELATIVE: Final = c_int.from_param(0)
_NO_OLD: Final = c_void_p.from_param(None)


_TURN_SECONDS: Final = 0.0001
"""Scheduler slice of the tick thread: a short one lets it preempt others when all CPUs are busy."""


def start_thread() -> None:
    """Start libc's timer thread, which starts one for each tick, with a short scheduler slice.

    Call it before the system call filter, which denies setting the slice, and after everything else
    that threads inherit. Otherwise the first timer starts it with the default slice.
    """
    with use_short_slices(_TURN_SECONDS):
        _libc.timer_delete(_create(None))


class _Span:
    """Seconds until the first tick, and between further ones; zeros for none."""

    def __init__(self, first: float, then: float) -> None:
        self._spec = _TimerSpec(*(_TimeSpec(0, round(seconds * 1e9)) for seconds in (then, first)))
        self.ready = capi.ready_pointer(ctypes.addressof(self._spec))


_STOPPED: Final = _Span(0.0, 0.0)
_CALM: Final = _Span(CALM_SECONDS, CALM_SECONDS)
_ROUND: Final = _Span(ROUND_SECONDS, TICK_SECONDS)
_SLICE: Final = _Span(TICK_SECONDS, TICK_SECONDS)
_SHORT: Final = _Span(SHORT_SECONDS, TICK_SECONDS)


class EpochTimer:
    """Advances the epoch of engines while it runs: at the end of each slice while there are CPU-bound guests, otherwise
    every `CALM_SECONDS`.

    Args:
        engines: each is advanced once it is `use`d.
    """

    def __init__(self, *engines: Native) -> None:
        self.running = False
        self.fast = True
        self._calm_at = 0.0
        self._timers = [(engine, _create(address_of_native(engine))) for engine in engines]
        self._used: list[tuple[Native, capi.Ready]] = []
        # Also at the interpreter's exit: a tick must not access a freed engine.
        weakref.finalize(self, _delete, self._timers)

    def use(self, engine: Native) -> None:
        """Start advancing that engine's epoch."""
        for owner, timer in self._timers:
            if owner is engine and all(used is not engine for used, _ in self._used):
                self._used.append((engine, capi.ready_pointer(timer.value or 0)))
                self._begin()

    def start(self) -> None:
        """Start ticking."""
        if not self.running:
            self.running = True
            self._begin()

    def stop(self) -> None:
        """Stop ticking."""
        if self.running:
            self.running = False
            self._begin()

    def hurry(self, now: float) -> None:
        """A guest was CPU-bound: tick at the end of slices for a while from `now` (seconds of any one clock)."""
        self._calm_at = now + _ALERT_SECONDS
        if not self.fast:
            self.fast = True
            self._begin()

    def relax(self, now: float) -> None:
        """Tick slowly again if no guest was CPU-bound for a while."""
        if self.fast and now >= self._calm_at:
            self.fast = False
            self._begin()

    def begin_round(self) -> None:
        """Woken guests run from now on. Only while `fast`."""
        self._set(_ROUND)

    def begin_slice(self, engine: Native, *, short: bool) -> None:
        """A CPU-bound guest of that engine runs from now on. Only while `fast`."""
        span = _SHORT if short else _SLICE
        for used, timer in self._used:
            if used is engine:
                _timer_settime(timer, _RELATIVE, span.ready, _NO_OLD)

    def _begin(self) -> None:
        self._set((_SLICE if self.fast else _CALM) if self.running else _STOPPED)

    def _set(self, span: _Span) -> None:
        for _, timer in self._used:
            _timer_settime(timer, _RELATIVE, span.ready, _NO_OLD)


def _create(engine: int | None) -> c_void_p:
    """A disarmed timer."""
    event = _SigEvent()
    event.value = engine
    event.notify = _SIGEV_THREAD
    event.function = ctypes.cast(capi.increment_epoch, c_void_p).value
    timer = c_void_p()
    if _libc.timer_create(_CLOCK_MONOTONIC, byref(event), byref(timer)) != 0:
        raise BoundaryError(
            f"the timer that pre-empts guests cannot be created (errno {ctypes.get_errno()}): "
            "raise the limit of pending signals (ulimit -i)"
        )
    return timer


def _delete(timers: list[tuple[Native, c_void_p]]) -> None:
    """Delete the timers. A tick's thread may still be running: engines live as long as the worker."""
    for engine, timer in timers:
        _libc.timer_delete(timer)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine))
