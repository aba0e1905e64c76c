"""Whether an end of the link stays awake for what the other end says next. Pure.

To be woken from sleep costs a thread more than a whole message does. While two ends take turns, an answer
comes within a fraction of that, so an end that has just spoken looks for it for a moment before it sleeps.
It does so only while it pays: each time in a row that nothing came in time, twice as many occasions are
passed over, so a link with little traffic sleeps as if there were none of this.
"""

from __future__ import annotations

from typing import Final

AWAKE_SECONDS: Final = 100e-6
"""How long it looks: a few times what a message takes from one end through the other and back."""
MOST_PASSED_OVER: Final = 256
"""Occasions passed over at most: then staying awake in vain takes well under 1 µs of each."""


class BusyPoll:
    """One end's. `begin` at each occasion, then `heard` or `in_vain`."""

    __slots__ = ("_pass_over", "_passed_over")

    def __init__(self) -> None:
        self._pass_over = 0
        self._passed_over = 0

    def begin(self, now: float) -> float:
        """Until when to stay awake, on the clock of `now` (seconds); 0 when this occasion is passed over."""
        if self._passed_over < self._pass_over:
            self._passed_over += 1
            return 0.0
        self._passed_over = 0
        return now + AWAKE_SECONDS

    def heard(self) -> None:
        """It was worth it."""
        self._pass_over = 0

    def in_vain(self) -> None:
        """Nothing came in time."""
        self._pass_over = min(2 * self._pass_over + 1, MOST_PASSED_OVER)
