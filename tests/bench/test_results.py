"""What is made of the rounds: medians, ratios, goals, the page."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from report import rendered
from results import Column, Effort, Goal, Result, Table, figure, shown

RATE = Column("messages/s")


def a_result() -> Result:
    table = Table("50 connections", [RATE, Column("p99", "µs", 1)])
    for base, ours in ((100.0, 80.0), (50.0, 45.0), (200.0, 140.0)):
        table.add("websockets", messages_s=base, p99=10.0)
        table.add("Guesthouse", messages_s=ours, p99=12.5)
    goal = Goal("messages/s", 1.0, table.ratios("Guesthouse", "websockets", "messages/s"), at_least=True)
    about = {"cpu": "a CPU", "cpus": 2, "memory_gib": 4, "kernel": "6", "machine": "x86_64", "python": "3.11",
             "versions": {"websockets": "17"}, "commit": "abc", "date": "2026-01-02T03:04:05", "seconds": 1.0,
             "load_at_start": 0.1, "speed": [{"one_cpu": 40.0, "all_to_one": 2.0},
                                             {"one_cpu": 25.0, "all_to_one": 1.2}]}  # fmt: skip
    return Result("echo", "Echo", [table], [goal], ["a note"], Effort(rounds=3), about)


def test_ratios_are_made_within_a_round() -> None:
    assert a_result().goals[0].rounds == pytest.approx([0.8, 0.9, 0.7])
    assert a_result().goals[0].measured == pytest.approx(0.8)


def test_a_cell_shows_the_median_and_the_spread() -> None:
    assert shown([3.0, 1000.0, 2.0], RATE) == "3 (2…1,000)"
    assert shown([7.25], Column("p99", "µs", 1)) == "7.2"


@pytest.mark.parametrize(
    ("rounds", "at_least", "met"),
    [
        ([0.9, 1.0, 1.1], True, True),
        ([0.9, 0.99, 1.1], True, False),
        ([2.0], False, True),
        ([2.1], False, False),
    ],
)
def test_a_goal_is_met_by_the_median(rounds: list[float], at_least: bool, met: bool) -> None:
    limit = 1.0 if at_least else 2.0
    assert Goal("it", limit, rounds, at_least=at_least).met is met


def test_figures_have_few_digits() -> None:
    assert [figure(value, "µs") for value in (1.234, 12.34, 1234.5)] == ["1.23 µs", "12.3 µs", "1,234 µs"]
    assert figure(0.5, "x") == "0.50x"
    assert figure(0.0523, "x") == "0.052x"


def test_a_result_is_read_back_as_it_was(tmp_path: Path) -> None:
    result = a_result()
    assert Result.load(result.save(tmp_path)) == result


def test_less_effort_keeps_the_first_places_of_a_curve() -> None:
    assert Effort(scale=0.001).points((10, 100, 1000)) == [10, 100]
    assert Effort().points((10, 100, 1000)) == [10, 100, 1000]
    assert (Effort(scale=0.5).count(10), Effort(scale=0.0).count(10)) == (5, 2)


@pytest.fixture
def charts() -> Any:
    """What draws them: to import it takes a second, which each process of a run would spend."""
    return import_module("charts")


def test_a_curve_is_in_order_whatever_its_rows_are(charts: Any) -> None:
    table = Table("sizes", [RATE], chart="lines", x="bytes")
    for size in (4096, 16):
        table.add(f"Guesthouse: {size}", messages_s=float(size))
    assert charts.curves(table, "messages/s") == {"Guesthouse": [(16, [16.0]), (4096, [4096.0])]}


def test_charts_of_the_same_figures_are_the_same(tmp_path: Path, charts: Any) -> None:
    (first,) = charts.write_charts(a_result(), tmp_path)
    before = first.read_bytes()
    charts.write_charts(a_result(), tmp_path)
    assert first.read_bytes() == before


def test_the_page_gets_tables_goals_and_machine_and_keeps_all_else(tmp_path: Path) -> None:
    a_result().save(tmp_path)
    page = "# Speed\n" + "".join(
        f"<!-- bench:{name} -->\nold\n<!-- /bench -->\nbetween\n"
        for name in ("goals", "machine", "echo", "idle")
    )
    now = rendered(page, tmp_path)
    assert "old" not in now
    assert now.count("between\n") == 4
    assert "| messages/s | ≥ 1.00x | 0.80x (0.70x…0.90x) | **not met** |" in now
    assert "| Guesthouse | 80 (45…140) | 12.5 (12.5…12.5) |" in now
    assert "![Echo: 50 connections](../bench/results/echo-1.svg)" in now
    assert "- a note" in now
    assert "a CPU, 2 CPUs" in now
    assert "Not measured yet: run `make bench BENCH=idle`." in now
    assert rendered(now, tmp_path) == now
