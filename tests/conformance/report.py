"""Results as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .case import Grade
from .groups import TITLES
from .runner import Result

_STYLES: Final = {
    Grade.OK: "green",
    Grade.DECLINED: "cyan",
    Grade.NON_STRICT: "yellow",
    Grade.FAILED: "bold red",
}


def print_report(results: Sequence[Result], console: Console, seconds: float) -> None:
    """The table by group, and each case that is not in order."""
    table = Table(title="WebSocket conformance", caption=f"{len(results)} cases in {seconds:.1f} s")
    table.add_column("Group")
    for name in ("Cases", "OK", "Declined", "Non-strict", "Failed"):
        table.add_column(name, justify="right")
    for number, title in TITLES.items():
        of_group = [result for result in results if result.case.group == number]
        if of_group:
            table.add_row(f"{number:>2}  {title}", *_counts(of_group))
    table.add_section()
    table.add_row("    all", *_counts(results))
    console.print(table)
    for result in results:
        if result.verdict.grade in (Grade.FAILED, Grade.NON_STRICT):
            console.print(describe(result))


def _counts(results: Sequence[Result]) -> list[Text]:
    counts = Counter(result.verdict.grade for result in results)
    grades = (Grade.OK, Grade.DECLINED, Grade.NON_STRICT, Grade.FAILED)
    cells = [Text(str(counts[grade]), style=_STYLES[grade] if counts[grade] else "dim") for grade in grades]
    return [Text(str(len(results))), *cells]


def describe(result: Result) -> Text:
    """A case that is not in order: what was expected, what came."""
    case, verdict = result.case, result.verdict
    return Text.assemble(
        (f"\n{case.id} {verdict.grade.name.replace('_', '-')}", _STYLES[verdict.grade]),
        f" {case.title} [{case.section}]",
        f"\n    expected: {case.wanted}\n    got:      {result.got}",
        f"\n    so:       {verdict.why}" if verdict.why else "",
    )


def as_json(results: Sequence[Result], url: str) -> str:
    """All results, one object a case."""
    cases: list[dict[str, Any]] = [
        {
            "id": result.case.id,
            "title": result.case.title,
            "section": result.case.section,
            "grade": result.verdict.grade.name,
            "why": result.verdict.why,
            "expected": result.case.wanted,
            "got": result.got,
            "seconds": round(result.seconds, 4),
        }
        for result in results
    ]
    counts = Counter(case["grade"] for case in cases)
    return json.dumps({"url": url, "counts": dict(counts), "cases": cases}, indent=1)
