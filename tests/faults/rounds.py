"""How many rounds of each fault there are, and the moments at which they strike: random, and the same again by seed.

`make test ALL=1` plays 219, and `make test` a quarter (`tests/examples.py`). `GUESTHOUSE_FAULT_ROUNDS=N` plays N times
as many, and `GUESTHOUSE_FAULT_SEED=S` others.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.examples import examples

TIMES: Final = int(os.environ.get("GUESTHOUSE_FAULT_ROUNDS", "1"))
SEED: Final = int(os.environ.get("GUESTHOUSE_FAULT_SEED", "5"))

WORKER_KILLS: Final = 80 * TIMES
WORKER_STOPS: Final = 10 * TIMES
NODE_STOPS: Final = 60 * TIMES
NODE_KILLS: Final = 12 * TIMES
COMPILER_KILLS: Final = 36 * TIMES
COMPILER_STOPS: Final = 2 * TIMES
CLUSTER_FAULTS: Final = 10 * TIMES
CLUSTER_MEMORY_FAULTS: Final = 9 * TIMES

LONG_SECONDS: Final = 120 * (TIMES + 1)
"""How long a test of many rounds may take: far more than it does, for a machine that does much else."""


def chances(fault: str) -> random.Random:
    """The moments of one kind of fault."""
    return random.Random(f"{SEED} {fault}")


@contextmanager
def told(fault: str, number: int, delay: float) -> Iterator[None]:
    """Whatever fails in a round says which it was."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"in round {number} of {fault}, {delay:.4f} s into its traffic, seed {SEED}")
        raise


def each(
    fault: str, count: int, shortest: float, longest: float, *, least: int = 1
) -> Iterator[tuple[int, float]]:
    """The rounds: their numbers, and after how many seconds of traffic the fault strikes.

    Args:
        fault: its name, by which its moments are drawn.
        count: of rounds in the whole run of tests.
        shortest: time before a fault, in seconds.
        longest: the same.
        least: as many rounds as it takes to show anything.
    """
    chance = chances(fault)
    for number in range(max(least, examples(count))):
        yield number, chance.uniform(shortest, longest)
