from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from wasmtime import Engine

from guesthouse.wasm.engine.engines import new_compiling_engine
from guesthouse.wasm.engine.epoch_timer import (
    CALM_SECONDS,
    ROUND_SECONDS,
    SHORT_SECONDS,
    TICK_SECONDS,
    EpochTimer,
)

from .harness import ENGINE

_libc = ctypes.CDLL(None)


def is_fast(ticker: EpochTimer) -> bool:
    return ticker.fast


def test_it_ticks_fast_for_a_while_after_a_guest_computed_for_long() -> None:
    ticker = EpochTimer(ENGINE)
    ticker.relax(10.0)
    assert not is_fast(ticker)
    ticker.hurry(20.0)
    ticker.relax(20.9)
    assert is_fast(ticker)
    ticker.relax(21.0)
    assert not is_fast(ticker)


def test_an_engine_that_is_used_later_ticks_too() -> None:
    first, second = new_compiling_engine(), new_compiling_engine(small=True)
    ticker = EpochTimer(first, second)
    ticker.start()
    ticker.use(second)
    ticker.use(second)
    running = ticker.running
    ticker.stop()
    assert (running, ticker.running) == (True, False)


@contextmanager
def ticking(*engines: Engine) -> Iterator[EpochTimer]:
    ticker = EpochTimer(*engines)
    for engine in engines:
        ticker.use(engine)
    ticker.start()
    yield ticker
    ticker.stop()


def spans(ticker: EpochTimer) -> list[tuple[float, float]]:
    """Of each engine's timer: seconds until the next tick and between those after it, by the kernel."""
    found = []
    for _, timer in ticker._timers:
        spec = (ctypes.c_long * 4)()
        assert _libc.timer_gettime(timer, spec) == 0
        interval, value = (spec[at] + spec[at + 1] / 1e9 for at in (0, 2))
        found.append((value, interval))
    return found


def test_a_slice_is_set_for_the_engine_of_its_guest_alone() -> None:
    engines = new_compiling_engine(), new_compiling_engine(small=True)
    with ticking(*engines) as ticker:
        ticker.relax(float("inf"))
        ticker.begin_slice(engines[1], short=True)
        calm, short = spans(ticker)
    assert (calm[1], short[1]) == (CALM_SECONDS, TICK_SECONDS)
    assert 0 < short[0] <= TICK_SECONDS


def lefts(ticker: EpochTimer, begin: Callable[[], None]) -> list[float]:
    """What is left just after it began; again and again, as this test may be kept from the CPU for a while."""
    found = []
    for _ in range(20):
        begin()
        ((left, then),) = spans(ticker)
        assert then == TICK_SECONDS
        found.append(left)
    return found


@pytest.mark.parametrize(("short", "seconds"), [(True, SHORT_SECONDS), (False, TICK_SECONDS)])
def test_a_slice_begins_anew_however_much_was_left_of_the_round(short: bool, seconds: float) -> None:
    with ticking(ENGINE) as ticker:
        of_round = lefts(ticker, ticker.begin_round)
        of_slice = lefts(ticker, lambda: ticker.begin_slice(ENGINE, short=short))
    assert TICK_SECONDS < max(of_round) <= ROUND_SECONDS
    assert min(of_slice) <= seconds


def test_it_stands_still_once_it_is_stopped() -> None:
    with ticking(ENGINE) as ticker:
        ticker.begin_round()
    assert spans(ticker) == [(0.0, 0.0)]
