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

TICK_SECONDS: Final = 0.002
"""How long a computing guest may hold the worker before others get their turn."""

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
    """Advances one engine's epoch every `TICK_SECONDS` while it runs."""

    def __init__(self, engine: Engine) -> None:
        event = _SigEvent()
        event.value = ctypes.cast(engine.ptr(), c_void_p).value
        event.notify = _SIGEV_THREAD
        event.function = ctypes.cast(capi.increment_epoch, c_void_p).value
        self._timer = c_void_p()
        self.running = False
        if _libc.timer_create(_CLOCK_MONOTONIC, byref(event), byref(self._timer)) != 0:
            raise BoundaryError(
                f"the timer that pre-empts guests cannot be made (errno {ctypes.get_errno()}): "
                "raise the limit of pending signals (ulimit -i)"
            )
        # Runs at the interpreter's exit too: a tick must not find the engine freed.
        weakref.finalize(self, _delete, self._timer, engine)

    def start(self) -> None:
        """Tick from now on."""
        if not self.running:
            self._set(TICK_SECONDS)
            self.running = True

    def stop(self) -> None:
        """Stand still."""
        if self.running:
            self._set(0.0)
            self.running = False

    def _set(self, seconds: float) -> None:
        span = _TimeSpec(int(seconds), int(seconds % 1 * 1e9))
        _libc.timer_settime(self._timer, 0, byref(_TimerSpec(span, span)), None)


def _delete(timer: c_void_p, engine: Engine) -> None:
    """Delete the timer; `engine` is an argument so that it lives until then."""
    _libc.timer_delete(timer)
