"""Whether a second worker uses a second CPU: CPU-bound guests on one worker and on two."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from load import load
from machine import thousand_turns_a_second
from results import Column, Effort, Goal, Result, Table
from run import only
from servers import component, guesthouse

ONE: Final = "Guesthouse, 1 worker"
TWO: Final = "Guesthouse, 2 workers"
MACHINE: Final = "2 processes that only compute"
"""The most that a second CPU can give here: others may share it, or its core."""
_GUESTS: Final = 4
_STEPS_KIB: Final = 2000
"""Thousand steps that each message costs, and its bytes: about a millisecond."""


def run(effort: Effort) -> Result:
    """Measure the same guests and load on both."""
    result = Result("workers", "Guests that compute, on one worker and on two")
    table = Table(
        f"{_GUESTS} guests, one connection each",
        [Column("messages/s"), Column("to one", "x", 2), Column("p99", "ms", 1)],
    )
    wasm = component("toiler")
    guests = [f"t{number}:t{number}:bench.os={wasm}" for number in range(_GUESTS)]
    with ExitStack() as stack:
        nodes = {
            ONE: stack.enter_context(guesthouse(*guests, workers=1)),
            TWO: stack.enter_context(guesthouse(*guests, workers=2)),
        }
        for _ in range(effort.rounds):
            base = 0.0
            for name, node in nodes.items():
                urls = [f"{node.url}/t{number}:t{number}:bench.os/" for number in range(_GUESTS)]
                found = load(urls, _GUESTS, _STEPS_KIB, effort.seconds)
                base = base or found["messages_per_second"]
                table.add(
                    name,
                    messages_s=found["messages_per_second"],
                    to_one=found["messages_per_second"] / base,
                    p99=found["p99_us"] / 1000,
                )
            one, two = (thousand_turns_a_second(count, effort.seconds) for count in (1, 2))
            table.add(MACHINE, to_one=two / one)
    result.tables.append(table)
    result.goals.append(Goal("2 workers to 1, messages/s", 1.8, table.rounds(TWO, "to one"), at_least=True))
    return result


if __name__ == "__main__":
    only(run)
