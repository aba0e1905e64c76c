from __future__ import annotations

from guesthouse.core.config import RestartSettings
from guesthouse.core.exit_cause import ExitCause
from guesthouse.kernel.supervision.backoff import Backoff

SETTINGS = RestartSettings(first_delay=1, longest_delay=600, healthy_after=60)


def test_the_first_restart_is_immediate_and_further_ones_wait_twice_as_long_each() -> None:
    backoff = Backoff(SETTINGS)
    pauses = [backoff.pause_after(ExitCause.TRAP, 0.1) for _ in range(13)]
    assert pauses == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]


def test_a_healthy_run_resets_the_pause() -> None:
    backoff = Backoff(SETTINGS)
    for _ in range(5):
        backoff.pause_after(ExitCause.TRAP, 0.1)
    assert backoff.pause_after(ExitCause.TRAP, 60) == 0
    assert backoff.pause_after(ExitCause.TRAP, 59) == 1


def test_the_loss_of_its_worker_is_not_held_against_a_process_that_ran() -> None:
    backoff = Backoff(SETTINGS)
    assert [backoff.pause_after(ExitCause.WORKER_LOST, 5) for _ in range(5)] == [0] * 5


def test_a_process_that_loses_its_worker_as_it_starts_waits_like_others() -> None:
    backoff = Backoff(SETTINGS)
    assert [backoff.pause_after(ExitCause.WORKER_LOST, 0.01) for _ in range(3)] == [0, 1, 2]
