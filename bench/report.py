"""Writes the figures of `docs/performance.md` and `docs/scale.md`, between markers, from `bench/results`.

python bench/report.py          writes them
python bench/report.py --check  checks them
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from results import RESULTS, ROOT, Result, figure, shown

PAGES: Final = (ROOT / "docs" / "performance.md", ROOT / "docs" / "scale.md")
_SECTION: Final = re.compile(r"(<!-- bench:(?P<name>[\w-]+) -->\n)(?P<body>.*?)(<!-- /bench -->)", re.DOTALL)


def rendered(page: str, folder: Path = RESULTS) -> str:
    """The page with the figures of all results. A section without a result says so."""

    def section(match: re.Match[str]) -> str:
        name = match["name"]
        path = folder / f"{name}.json"
        lines: Iterable[str]
        if name in _WHOLE:
            lines = _WHOLE[name](folder)
        else:
            lines = tables(Result.load(path)) if path.exists() else _missing(name)
        return f"{match[1]}\n{chr(10).join(lines).rstrip()}\n\n{match[4]}"

    return _SECTION.sub(section, page)


def results(folder: Path) -> list[Result]:
    """All existing results, in the order of the benchmarks."""
    from run import NAMES

    paths = (folder / f"{name}.json" for name in NAMES)
    return [Result.load(path) for path in paths if path.exists()]


def goals(folder: Path) -> Iterator[str]:
    """Every goal, what was measured, and whether it is met."""
    yield "| goal | limit | measured (lowest…highest round) | |"
    yield "|---|---:|---:|---|"
    for result in results(folder):
        for goal in result.goals:
            sign = "≥" if goal.at_least else "≤"
            spread = f"{figure(min(goal.rounds), goal.unit)}…{figure(max(goal.rounds), goal.unit)}"
            measured = figure(goal.measured, goal.unit)
            if len(goal.rounds) > 1:
                measured += f" ({spread})"
            verdict = "met" if goal.met else "**not met**"
            yield f"| {goal.text} | {sign} {figure(goal.limit, goal.unit)} | {measured} | {verdict} |"


def machine(folder: Path) -> Iterator[str]:
    """The machine and the versions of packages."""
    found = results(folder)
    if not found:
        yield from _missing("everything")
        return
    about = found[-1].about
    yield (
        f"{about['cpu']}, {about['cpus']} CPUs, {about['memory_gib']} GiB, Linux {about['kernel']} "
        f"({about['machine']}), Python {about['python']}."
    )
    yield ""
    yield ", ".join(f"{name} {version}" for name, version in about["versions"].items()) + "."
    yield ""
    yield "| benchmark | commit | date | rounds | took | one CPU (million iterations of a loop/s) | all CPUs to one |"
    yield "|---|---|---|---:|---:|---:|---:|"
    for result in found:
        one = result.about
        yield (
            f"| {result.name} | {one['commit']} | {one['date'][:16].replace('T', ' ')} | {result.effort.rounds} "
            f"| {one['seconds']:.0f} s | {_before_and_after(one, 'one_cpu')} | {_before_and_after(one, 'all_to_one')} |"
        )


def _before_and_after(about: dict[str, Any], what: str) -> str:
    """The machine's speed before and after a benchmark."""
    before, after = (speed[what] for speed in about["speed"])
    return f"{before} → {after}"


def tables(result: Result) -> Iterator[str]:
    """The tables of one result, each with its chart, then its notes."""
    from charts import chart_name

    for place, table in enumerate(result.tables):
        yield f"**{table.title}**"
        yield ""
        heads = (f"{c.name}{f' ({c.unit})' if c.unit else ''}" for c in table.columns)
        yield f"| {table.x} | {' | '.join(heads)} |"
        yield "|---|" + "---:|" * len(table.columns)
        for row, cells in table.rows.items():
            figures = (shown(cells[c.name], c) if cells.get(c.name) else "" for c in table.columns)
            yield f"| {row} | {' | '.join(figures)} |"
        yield ""
        yield f"![{result.title}: {table.title}](../bench/results/{chart_name(result, place)})"
        yield ""
    for note in result.notes:
        yield f"- {note}"


def _missing(name: str) -> list[str]:
    return [f"Not measured yet: run `make bench BENCH={name}`."]


_WHOLE: Final[dict[str, Callable[[Path], Iterable[str]]]] = {"goals": goals, "machine": machine}
"""Sections on all results."""


def main() -> None:
    """Write the pages, or check them."""
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        now = rendered(page)
        if "--check" not in sys.argv:
            path.write_text(now, encoding="utf-8")
        elif now != page:
            sys.exit(f"{path} shows other figures than bench/results: run bench/report.py")


if __name__ == "__main__":
    main()
