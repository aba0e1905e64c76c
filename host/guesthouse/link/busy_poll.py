"""Adaptive busy polling of the link. Pure.

Waking a sleeping thread costs more than a message, and far more where its CPU sleeps, too. So an end that has just sent
polls briefly for the answer before it sleeps. Each miss in a row doubles the number of sends after which it does not
poll, so that a quiet link just sleeps.
"""

from __future__ import annotations

from typing import Final

AWAKE_SECONDS: Final = 100e-6
"""How long to poll: a few round trips of a message."""
LONE_SECONDS: Final = 200e-6
"""How long after a lone message: the next one comes once its client has answered, whose CPU may have to wake."""
MOST_PASSED_OVER: Final = 256
"""Maximum sends without polling; the cost of missed polls is then well under 1 µs for each send."""


class BusyPoll:
    """Polling of one end. Call `begin` after a send, then `heard` or `in_vain`."""

    __slots__ = ("_pass_over", "_passed_over")

    def __init__(self) -> None:
        self._pass_over = 0
        self._passed_over = 0

    def begin(self, now: float, *, lone: bool) -> float:
        """Until when to poll, in seconds on the clock of `now`; 0 to sleep at once.

        Args:
            now: the time.
            lone: whether a single message was sent or handled.
        """
        if self._passed_over < self._pass_over:
            self._passed_over += 1
            return 0.0
        self._passed_over = 0
        return now + (LONE_SECONDS if lone else AWAKE_SECONDS)

    def heard(self) -> None:
        """An answer came in time."""
        self._pass_over = 0

    def in_vain(self) -> None:
        """No answer came in time."""
        self._pass_over = min(2 * self._pass_over + 1, MOST_PASSED_OVER)
