"""`make bench`: runs benchmarks, prints tables and goals, and saves the results.

    python bench/run.py [NAME]… [--rounds N] [--seconds S] [--out FOLDER]

Each benchmark is also a script that prints and saves nothing, as in
`python bench/echo.py --rounds 3`.
"""

from __future__ import annotations

import argparse
import importlib
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table as RichTable

from machine import LOOK_SECONDS, speed
from results import RESULTS, Effort, Result, about_this_machine, figure, shown

NAMES: Final = (
    "echo", "sizes", "web", "boundary", "wire", "broadcast", "idle", "guests", "cold", "neighbour", "workers", "growth",
)  # fmt: skip
"""The benchmarks, each a module with a `run`."""
ON_REQUEST: Final = ("cluster", "gateways")
"""Those that need the extra `cluster`, and run when they are named."""


def measure(name: str, effort: Effort) -> Result:
    """Run one benchmark by its name."""
    return measured(importlib.import_module(name).run, effort)


def measured(run: Callable[[Effort], Result], effort: Effort) -> Result:
    """Run a benchmark and record the machine."""
    raise_file_limit()
    about = about_this_machine()
    looked = min(effort.seconds, LOOK_SECONDS)
    before = speed(looked)
    begin = time.perf_counter()
    result = run(effort)
    seconds = round(time.perf_counter() - begin, 1)
    result.effort = effort
    result.about = about | {"seconds": seconds, "speed": [before, speed(looked)]}
    return result


def raise_file_limit() -> None:
    """Raise the limit of open files, for this process and its children."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def show(result: Result, console: Console) -> None:
    """Print the tables of a result, its goals and its notes."""
    for table in result.tables:
        printed = RichTable(title=f"{result.title}: {table.title}", title_justify="left")
        printed.add_column("")
        for column in table.columns:
            printed.add_column(f"{column.name}{f' ({column.unit})' if column.unit else ''}", justify="right")
        for row, cells in table.rows.items():
            printed.add_row(
                row, *(shown(cells[c.name], c) if cells.get(c.name) else "" for c in table.columns)
            )
        console.print(printed)
    for goal in result.goals:
        sign, verdict = ("≥", "[green]met") if goal.at_least else ("≤", "[green]met")
        verdict = verdict if goal.met else "[red]not met"
        console.print(
            f"  {goal.text}: {figure(goal.measured, goal.unit)}, goal {sign} {figure(goal.limit, goal.unit)}: {verdict}"
        )
    for note in result.notes:
        console.print(f"  Note: {note}", style="yellow", markup=False)


def only(run: Callable[[Effort], Result]) -> None:
    """A benchmark as a script: measure and print."""
    effort = _effort(_parser().parse_args())
    show(measured(run, effort), Console(width=160))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    full = Effort()
    parser.add_argument("--rounds", type=int, default=full.rounds, help="interleaved rounds")
    parser.add_argument("--seconds", type=float, default=full.seconds, help="of load in each measurement")
    parser.add_argument("--scale", type=float, default=full.scale, help="part of the channels and processes")
    return parser


def _effort(options: argparse.Namespace) -> Effort:
    return Effort(options.rounds, options.seconds, options.scale)


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmarks on the command line, or all."""
    parser = _parser()
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"of {', '.join((*NAMES, *ON_REQUEST))}; without any, all but {' and '.join(ON_REQUEST)}",
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="where JSON and charts go")
    parser.add_argument("--no-save", action="store_true", help="only print")
    options: Any = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in (*NAMES, *ON_REQUEST)]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}: {', '.join((*NAMES, *ON_REQUEST))}")
    console = Console(width=160)
    for name in options.names or NAMES:
        result = measure(name, _effort(options))
        show(result, console)
        if not options.no_save:
            save(result, options.out)
        console.print(f"  {name} took {result.about['seconds']} s\n", style="dim")


def save(result: Result, folder: Path) -> None:
    """Save a result's JSON, and its charts in place of older ones."""
    from charts import remove_charts, write_charts

    result.save(folder)
    list(remove_charts(result.name, folder))
    write_charts(result, folder)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
