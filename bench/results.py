"""Results of benchmarks: tables of raw rounds, goals, and the machine; stored as JSON.

A cell of a table has the figures of all rounds, and is shown as the median with the
minimum and maximum. Ratios are computed round by round, of runs close in time, so that
a temporarily slow machine affects both.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

ROOT: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = ROOT / "bench" / "results"

PACKAGES: Final = (
    *("guesthouse", "wasmtime", "uvloop", "cbor2", "websockets"),
    *("aiohttp", "picows", "uvicorn", "starlette", "extism", "extism-sys"),
)
"""Packages whose versions a result names."""

Rounds = list[float]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured. Goals apply to the full effort only; less is for testing a benchmark."""

    rounds: int = 5
    seconds: float = 1.0
    """Of load, for each measurement of a round."""
    scale: float = 1.0
    """Fraction of the full number of channels, processes and messages."""

    def count(self, full: int, least: int = 2) -> int:
        """The scaled count."""
        return max(least, round(full * self.scale))

    def points(self, full: Sequence[int]) -> list[int]:
        """The points of a curve that are measured; at least the first two."""
        most = full[-1] * self.scale
        return [point for place, point in enumerate(full) if place < 2 or point <= most]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of figures."""

    name: str
    unit: str = ""
    digits: int = 0
    log: bool = False
    """Whether its chart has a logarithmic axis."""


@dataclass(slots=True)
class Table:
    """Figures by row and column, all rounds of each."""

    title: str
    columns: list[Column]
    chart: Literal["bars", "lines"] = "bars"
    x: str = ""
    """The unit of a curve's x axis; its rows are named `series: number`."""
    rows: dict[str, dict[str, Rounds]] = field(default_factory=dict)

    def add(self, row: str, **figures: float) -> None:
        """Record one round, by the names of the columns with `_` for other characters than letters."""
        names = {_plain(column.name): column.name for column in self.columns}
        cells = self.rows.setdefault(row, {})
        for name, figure in figures.items():
            cells.setdefault(names[name], []).append(figure)

    def rounds(self, row: str, column: str) -> Rounds:
        """All rounds of a cell."""
        return self.rows[row][column]

    def ratios(self, row: str, base: str, column: str) -> Rounds:
        """A row's figures as multiples of another row's, round by round."""
        pairs = zip(self.rows[row][column], self.rows[base][column], strict=True)
        return [figure / other for figure, other in pairs if other]


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal for a figure, and its value in each round."""

    text: str
    limit: float
    rounds: Rounds
    at_least: bool = False
    unit: str = "x"

    @property
    def measured(self) -> float:
        """The median."""
        return statistics.median(self.rounds)

    @property
    def met(self) -> bool:
        """Whether the median meets the goal."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


@dataclass(slots=True)
class Result:
    """The results of one benchmark."""

    name: str
    title: str
    tables: list[Table] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Remarks on the figures, such as what the bottleneck was."""
    effort: Effort = field(default_factory=Effort)
    about: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> Path:
        """Write it as JSON, with the medians beside the rounds."""
        folder.mkdir(parents=True, exist_ok=True)
        content = asdict(self)
        for table in content["tables"]:
            table["medians"] = {
                row: {column: statistics.median(rounds) for column, rounds in cells.items()}
                for row, cells in table["rows"].items()
            }
        content["goals"] = [
            {**asdict(goal), "measured": goal.measured, "met": goal.met} for goal in self.goals
        ]
        path = folder / f"{self.name}.json"
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: Path) -> Result:
        """Read `save`'s output."""
        content = json.loads(path.read_text(encoding="utf-8"))
        tables = [
            Table(
                table["title"],
                [Column(**column) for column in table["columns"]],
                table["chart"],
                table["x"],
                table["rows"],
            )
            for table in content["tables"]
        ]
        goals = [
            Goal(goal["text"], goal["limit"], goal["rounds"], goal["at_least"], goal["unit"])
            for goal in content["goals"]
        ]
        effort = Effort(**content["effort"])
        return cls(
            content["name"], content["title"], tables, goals, content["notes"], effort, content["about"]
        )


def interleaved(rounds: int, measurements: Mapping[str, Callable[[], None]]) -> None:
    """Run all measurements once a round, in turn: A B C A B C."""
    for _ in range(rounds):
        for measure in measurements.values():
            measure()


def shown(rounds: Rounds, column: Column) -> str:
    """A cell as text."""
    low, middle, high = min(rounds), statistics.median(rounds), max(rounds)
    text = f"{middle:,.{column.digits}f}"
    return text if len(rounds) == 1 else f"{text} ({low:,.{column.digits}f}…{high:,.{column.digits}f})"


def figure(value: float, unit: str) -> str:
    """A figure with its unit, in two or three digits."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3
    return f"{value:,.{digits}f}{unit if unit == 'x' else ' ' + unit}".strip()


def about_this_machine() -> dict[str, Any]:
    """The machine and the versions of packages."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except ModuleNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cpu": _cpu(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "load_at_start": round(os.getloadavg()[0], 2),
        "versions": versions,
    }


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)
