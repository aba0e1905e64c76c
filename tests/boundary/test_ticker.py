from __future__ import annotations

from guesthouse.worker.boundary.engine import new_engine
from guesthouse.worker.boundary.ticker import Ticker

from .harness import ENGINE


def is_fast(ticker: Ticker) -> bool:
    return ticker.fast


def test_it_ticks_fast_for_a_while_after_a_guest_computed_for_long() -> None:
    ticker = Ticker(ENGINE)
    ticker.relax(10.0)
    assert not is_fast(ticker)
    ticker.hurry(20.0)
    ticker.relax(20.9)
    assert is_fast(ticker)
    ticker.relax(21.0)
    assert not is_fast(ticker)


def test_an_engine_that_is_used_later_ticks_too() -> None:
    first, second = new_engine(), new_engine(small=True)
    ticker = Ticker(first, second)
    ticker.start()
    ticker.use(second)
    ticker.use(second)
    running = ticker.running
    ticker.stop()
    assert (running, ticker.running) == (True, False)
