"""A chart for each table: bars of medians with their spread, or curves. Reproducible SVG."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "guesthouse"
mpl.rcParams["font.family"] = "sans-serif"

from matplotlib import pyplot as plt  # noqa: E402 - the backend comes first

from results import Column, Result, Table  # noqa: E402

OURS: Final = "#c2410c"
PEER: Final = "#94a3b8"
_CURVES: Final = ("#c2410c", "#334155", "#0d9488", "#a16207", "#7c3aed", "#94a3b8")
_MARKERS: Final = "osD^vP"


def chart_name(result: Result, place: int) -> str:
    """The file of the chart of a result's table."""
    return f"{result.name}-{place + 1}.svg"


def write_charts(result: Result, folder: Path) -> list[Path]:
    """Draw each table of a result; returns the files."""
    paths = []
    for place, table in enumerate(result.tables):
        if table.rows:
            path = folder / chart_name(result, place)
            _draw(table, path)
            paths.append(path)
    return paths


def _draw(table: Table, path: Path) -> None:
    columns = [column for column in table.columns if any(column.name in row for row in table.rows.values())]
    height = 3.4 if table.chart == "lines" else 0.9 + 0.34 * len(table.rows)
    chart, axes = plt.subplots(
        1, len(columns), figsize=(max(4.2, 3.5 * len(columns)), height), squeeze=False, layout="constrained"
    )
    draw = _lines if table.chart == "lines" else _bars
    for place, column in enumerate(columns):
        draw(axes[0][place], table, column, first=place == 0)
    chart.suptitle(table.title, fontsize=10)
    chart.savefig(path, format="svg", metadata={"Date": None})
    plt.close(chart)


def _bars(axes: Any, table: Table, column: Column, *, first: bool) -> None:
    names = list(table.rows)
    for place, name in enumerate(names):
        rounds = table.rows[name].get(column.name)
        if rounds:
            middle = statistics.median(rounds)
            spread = [[middle - min(rounds)], [max(rounds) - middle]]
            color = OURS if name.startswith("Guesthouse") else PEER
            axes.barh(place, middle, xerr=spread, color=color, ecolor="#475569", capsize=2, height=0.7)
    axes.set_yticks(range(len(names)), names if first else [""] * len(names), fontsize=8)
    axes.invert_yaxis()
    _label(axes, column)
    if column.log:
        axes.set_xscale("log")
    axes.spines[["top", "right"]].set_visible(False)


def _lines(axes: Any, table: Table, column: Column, *, first: bool) -> None:
    for place, (series, points) in enumerate(curves(table, column.name).items()):
        xs = [x for x, _ in points]
        middles = [statistics.median(rounds) for _, rounds in points]
        color, marker = _CURVES[place % len(_CURVES)], _MARKERS[place % len(_MARKERS)]
        axes.plot(xs, middles, marker=marker, markersize=3.5, linewidth=1.3, color=color, label=series)
        axes.fill_between(
            xs, [min(rounds) for _, rounds in points], [max(rounds) for _, rounds in points],
            color=color, alpha=0.15, linewidth=0,
        )  # fmt: skip
    axes.set_xscale("log")
    if column.log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(table.x, fontsize=8)
    axes.set_title(f"{column.name}{f', {column.unit}' if column.unit else ''}", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(visible=True, linewidth=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if first:
        axes.legend(fontsize=7, frameon=False)


def curves(table: Table, column: str) -> dict[str, list[tuple[float, list[float]]]]:
    """The curves of a column: points by series, in order."""
    found: dict[str, list[tuple[float, list[float]]]] = {}
    for row, cells in table.rows.items():
        series, _, place = row.rpartition(": ")
        if column in cells:
            found.setdefault(series, []).append((float(place.replace(",", "")), cells[column]))
    return {series: sorted(points) for series, points in found.items()}


def _label(axes: Any, column: Column) -> None:
    axes.set_xlabel(f"{column.name}{f', {column.unit}' if column.unit else ''}", fontsize=8)
    axes.tick_params(axis="x", labelsize=7)


def remove_charts(name: str, folder: Path) -> Iterable[Path]:
    """Delete the charts that an earlier run of a benchmark left; yields them."""
    for path in sorted(folder.glob(f"{name}-[0-9]*.svg")):
        path.unlink()
        yield path
