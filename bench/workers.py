"""Whether a second worker is a second CPU: guests that compute, on one worker and on two."""

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
BARE_ONE: Final = "1 process"
BARE_TWO: Final = "2 processes"
_GUESTS: Final = 4
_STEPS_KIB: Final = 2000
"""Thousand steps that each message costs, and its bytes: about a millisecond."""


def run(effort: Effort) -> Result:
    """The same guests and the same load on both."""
    result = Result("workers", "Guests that compute, on one worker and on two")
    table = Table(
        f"{_GUESTS} guests, one connection each",
        [Column("messages/s"), Column("to 1 worker", "x", 2), Column("p99", "ms", 1)],
    )
    machine = Table(
        "the machine: processes that do nothing but compute",
        [Column("turns/s", "million", 1), Column("to 1 process", "x", 2)],
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
                    to_1_worker=found["messages_per_second"] / base,
                    p99=found["p99_us"] / 1000,
                )
            _measure_machine(machine, effort.seconds)
    result.tables += [table, machine]
    result.goals.append(
        Goal("2 workers to 1, messages/s", 1.8, table.rounds(TWO, "to 1 worker"), at_least=True)
    )
    return result


def _measure_machine(table: Table, seconds: float) -> None:
    """What a second CPU is worth here at most: others may share it, or its core."""
    base = 0.0
    for name, count in ((BARE_ONE, 1), (BARE_TWO, 2)):
        turns = thousand_turns_a_second(count, seconds) / 1000
        base = base or turns
        table.add(name, turns_s=turns, to_1_process=turns / base)


if __name__ == "__main__":
    only(run)
