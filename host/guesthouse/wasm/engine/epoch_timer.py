"""The clock that pre-empts guests: it advances the engine's epoch without Python.

A POSIX timer calls `wasmtime_engine_increment_epoch` from a thread of libc's own. No Python thread is
involved, so guests run with the GIL held and nobody competes for it. The timer stands still while the
worker is idle.

Each tick is a thread's start and end, some 35 µs. So while guests compute for long the timer is set anew for each
slice, and ticks when one is over; while none does, it ticks now and then, for the first that will.
"""

from __future__ import annotations

import ctypes
import weakref
from ctypes import byref, c_char, c_int, c_long, c_void_p
from typing import Final

from wasmtime import Engine

from guesthouse.linux.sched import use_short_slices
from guesthouse.wasm.engine import capi
from guesthouse.wasm.errors import BoundaryError

ROUND_SECONDS: Final = 0.002
"""How long the guests that were woken may hold the worker before the one that runs is pre-empted, while some compute
for long. One that answers within that goes on to its end.
"""
TICK_SECONDS: Final = 0.001
"""How long each of those that are behind it may, and one that computes for long."""
SHORT_SECONDS: Final = 0.0003
"""How long one may that computes for long while others are woken that are done sooner."""
CALM_SECONDS: Final = 0.01
"""How long the first one may that computes after a while in which none did."""
_ALERT_SECONDS: Final = 1.0
"""How long that while is."""

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
"""Called with arguments that are ready (see `capi`): it is called for each slice."""
_RELATIVE: Final = c_int.from_param(0)
_NO_OLD: Final = c_void_p.from_param(None)


_TURN_SECONDS: Final = 0.0001
"""How long a tick may keep a CPU from others: a tick that comes late while all CPUs are busy makes a slice long."""


def start_thread() -> None:
    """Start libc's thread for the timers of this OS process, which starts one for each tick, with short turns.

    To be called before the system call filter, which leaves no means to ask for them, and after everything else
    that threads inherit. Without it the thread starts with the first timer, with turns like any.
    """
    with use_short_slices(_TURN_SECONDS):
        _libc.timer_delete(_create(None))


class _Span:
    """When the first tick comes, and how long after each the next. Seconds; zeros for no tick."""

    def __init__(self, first: float, then: float) -> None:
        self._spec = _TimerSpec(*(_TimeSpec(0, round(seconds * 1e9)) for seconds in (then, first)))
        self.ready = capi.ready_pointer(ctypes.addressof(self._spec))


_STOPPED: Final = _Span(0.0, 0.0)
_CALM: Final = _Span(CALM_SECONDS, CALM_SECONDS)
_ROUND: Final = _Span(ROUND_SECONDS, TICK_SECONDS)
_SLICE: Final = _Span(TICK_SECONDS, TICK_SECONDS)
_SHORT: Final = _Span(SHORT_SECONDS, TICK_SECONDS)


class EpochTimer:
    """Advances the epoch of engines while it runs: at the end of each slice while guests compute for long, and every
    `CALM_SECONDS` when none did for a while.

    Args:
        engines: each ticks from when it is `use`d, while this runs.
    """

    def __init__(self, *engines: Engine) -> None:
        self.running = False
        self.fast = True
        self._calm_at = 0.0
        self._timers = [(engine, _create(ctypes.cast(engine.ptr(), c_void_p).value)) for engine in engines]
        self._used: list[tuple[Engine, capi.Ready]] = []
        # Runs at the interpreter's exit too: a tick must not find an engine freed.
        weakref.finalize(self, _delete, self._timers)

    def use(self, engine: Engine) -> None:
        """Guests of that engine run from now on."""
        for owner, timer in self._timers:
            if owner is engine and all(used is not engine for used, _ in self._used):
                self._used.append((engine, capi.ready_pointer(timer.value or 0)))
                self._begin()

    def start(self) -> None:
        """Tick from now on."""
        if not self.running:
            self.running = True
            self._begin()

    def stop(self) -> None:
        """Stand still."""
        if self.running:
            self.running = False
            self._begin()

    def hurry(self, now: float) -> None:
        """A guest computed for long: tick at the end of slices for a while from `now` (seconds of any one clock)."""
        self._calm_at = now + _ALERT_SECONDS
        if not self.fast:
            self.fast = True
            self._begin()

    def relax(self, now: float) -> None:
        """Tick slowly, if no guest computed for long for a while."""
        if self.fast and now >= self._calm_at:
            self.fast = False
            self._begin()

    def begin_round(self) -> None:
        """Those that were woken run from now on. To be called while `fast`."""
        self._set(_ROUND)

    def begin_slice(self, engine: Engine, *, short: bool) -> None:
        """One guest, of that engine, runs from now on that has computed for long. To be called while `fast`."""
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
    """A timer that is not set yet."""
    event = _SigEvent()
    event.value = engine
    event.notify = _SIGEV_THREAD
    event.function = ctypes.cast(capi.increment_epoch, c_void_p).value
    timer = c_void_p()
    if _libc.timer_create(_CLOCK_MONOTONIC, byref(event), byref(timer)) != 0:
        raise BoundaryError(
            f"the timer that pre-empts guests cannot be made (errno {ctypes.get_errno()}): "
            "raise the limit of pending signals (ulimit -i)"
        )
    return timer


def _delete(timers: list[tuple[Engine, c_void_p]]) -> None:
    """Delete the timers. A tick's thread may be on its way even so: the engines stay as long as the worker."""
    for engine, timer in timers:
        _libc.timer_delete(timer)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine))
