"""What `guesthouse top` makes of two looks at the processes, and how it is shown."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from guesthouse.cli.top import COLUMNS, SORTS, _next_sort, measured, view


def item(name: str, **values: Any) -> dict[str, Any]:
    plain = dict.fromkeys(
        (
            "cpu_seconds",
            "messages_in",
            "messages_out",
            "mailbox_messages",
            "mailbox_bytes",
            "channels",
            "restarts",
        ),
        0,
    )
    return {"process": name, "state": "running", "memory_bytes": None, **plain, **values}


def test_what_was_used_is_by_second() -> None:
    before = [item("a", cpu_seconds=1.0, messages_in=10, messages_out=5)]
    after = [
        item("a", cpu_seconds=2.0, messages_in=30, messages_out=25),
        item("new", cpu_seconds=9.0, messages_in=9),
    ]
    used = {one["process"]: one for one in measured(before, after, 2.0, "cpu")}
    assert (used["a"]["cpu"], used["a"]["messages_per_second"]) == (0.5, 20.0)
    assert (used["new"]["cpu"], used["new"]["messages_per_second"]) == (0.0, 0.0), "since when is not known"


def test_what_counts_from_zero_again_is_not_negative() -> None:
    (used,) = measured([item("a", cpu_seconds=9.0, messages_in=9)], [item("a")], 1.0, "cpu")
    assert (used["cpu"], used["messages_per_second"]) == (0.0, 0.0)


@pytest.mark.parametrize("sort", sorted(SORTS))
def test_the_greatest_is_first_and_names_decide_among_equals(sort: str) -> None:
    much = item("b", cpu_seconds=5, messages_in=5, mailbox_bytes=5, channels=5, restarts=5, memory_bytes=5)
    items = [item("d"), item("c"), much]
    zero = [item(name) for name in "bcd"]
    order = [one["process"] for one in measured(zero, items, 1.0, sort)]
    assert order == ["b", "c", "d"]


def test_the_screen_has_what_fits_and_says_what_does_not() -> None:
    items = measured([], [item(f"p{number:02}", state="failed") for number in range(50)], 1.0, "cpu")
    console = Console(width=120, height=20, force_terminal=True, color_system=None)
    with console.capture() as shown:
        console.print(view(items, "cpu", 20))
    lines = shown.get().splitlines()
    assert len(lines) == 20
    assert lines[0].startswith("50 processes (34 more), 0 % CPU")
    assert all(title in lines[3] for title, _, _ in COLUMNS)


def test_a_name_cannot_write_on_the_terminal() -> None:
    console = Console(width=120, height=20, force_terminal=True, color_system=None)
    with console.capture() as shown:
        console.print(view(measured([], [item("a\x1b[2J[red]")], 1.0, "cpu"), "cpu", 20))
    assert "\x1b[2J" not in shown.get()
    assert "\\x1b[2J[red]" in shown.get()


def test_each_sort_is_reached_by_the_keys() -> None:
    reached, sort = set(), "cpu"
    for _ in SORTS:
        sort = _next_sort(sort, 1)
        reached.add(sort)
    assert reached == set(SORTS)
    assert _next_sort(_next_sort("cpu", 1), -1) == "cpu"
