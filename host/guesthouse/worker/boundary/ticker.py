"""The clock that pre-empts guests: it advances the engine's epoch without Python.

A POSIX timer calls `wasmtime_engine_increment_epoch` from a thread of libc's own. No Python thread is
involved, so guests run with the GIL held and nobody competes for it. The timer stands still while the
worker is idle.
"""

from __future__ import annotations

import ctypes
import weakref
from ctypes import POINTER, byref, c_char, c_int, c_long, c_void_p
from typing import Final

from wasmtime import Engine

from guesthouse.worker.boundary import capi
from guesthouse.worker.boundary.errors import BoundaryError

TICK_SECONDS: Final = 0.001
"""How long a guest that computes for long may hold the worker before others get their turn."""
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


_libc = ctypes.CDLL(None, use_errno=True)
_libc.timer_delete.argtypes = [c_void_p]
_libc.timer_settime.argtypes = [c_void_p, c_int, POINTER(_TimerSpec), c_void_p]


class Ticker:
    """Advances the epoch of engines while it runs: every `TICK_SECONDS` while guests compute for long, and every
    `CALM_SECONDS` when none did for a while, since each tick is a thread's start and end.

    Args:
        engines: each ticks from when it is `use`d, while this runs.
    """

    def __init__(self, *engines: Engine) -> None:
        self.running = False
        self.fast = True
        self._calm_at = 0.0
        self._timers = [(engine, _make(engine)) for engine in engines]
        self._used: list[c_void_p] = []
        # Runs at the interpreter's exit too: a tick must not find an engine freed.
        weakref.finalize(self, _delete, self._timers)

    def use(self, engine: Engine) -> None:
        """Guests of that engine run from now on."""
        for owner, timer in self._timers:
            if owner is engine and timer not in self._used:
                self._used.append(timer)
                self._set(timer)

    def start(self) -> None:
        """Tick from now on."""
        if not self.running:
            self.running = True
            self._set(*self._used)

    def stop(self) -> None:
        """Stand still."""
        if self.running:
            self.running = False
            self._set(*self._used)

    def hurry(self, now: float) -> None:
        """A guest computed for long: tick fast for a while from `now` (seconds of any one clock)."""
        self._calm_at = now + _ALERT_SECONDS
        if not self.fast:
            self.fast = True
            self._set(*self._used)

    def relax(self, now: float) -> None:
        """Tick slowly, if no guest computed for long for a while."""
        if self.fast and now >= self._calm_at:
            self.fast = False
            self._set(*self._used)

    def _set(self, *timers: c_void_p) -> None:
        seconds = (TICK_SECONDS if self.fast else CALM_SECONDS) if self.running else 0.0
        span = _TimeSpec(int(seconds), int(seconds % 1 * 1e9))
        for timer in timers:
            _libc.timer_settime(timer, 0, byref(_TimerSpec(span, span)), None)


def _make(engine: Engine) -> c_void_p:
    event = _SigEvent()
    event.value = ctypes.cast(engine.ptr(), c_void_p).value
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
