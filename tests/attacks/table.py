"""The table of `make attacks`: a row for each attack, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from .figures import MIB, Row

_COLUMNS = ("attack", "what the attacker gets", "neighbours", "quiet p99", "attacked p99", "ratio")
_LAST = ("node memory", "worker memory", "what a person is told")


def show(rows: Sequence[Row], console: Console) -> None:
    """Print a table for each suite."""
    for suite in dict.fromkeys(row.suite for row in rows):
        table = Table(title=suite, title_justify="left", show_lines=True)
        for column in (*_COLUMNS, *_LAST):
            number = column.endswith("p99") or column == "ratio"
            table.add_column(column, justify="right" if number else "left", no_wrap=number)
        for row in rows:
            if row.suite == suite:
                table.add_row(*_cells(row))
        console.print(table)


def _cells(row: Row) -> list[str]:
    return [
        row.name,
        row.gets,
        "\n".join(group.name for group in row.groups),
        "\n".join(f"{group.quiet.p99_ms:.1f} ms" if group.quiet else "" for group in row.groups),
        "\n".join(f"{group.attacked.p99_ms:.1f} ms" for group in row.groups),
        "\n".join(f"{group.ratio:.1f}x" for group in row.groups),
        f"{row.node_growth / MIB:+.1f} MiB\npeak +{row.node_peak / MIB:.0f} MiB",
        f"{row.worker_growth / MIB:+.1f} MiB\npeak +{row.worker_peak / MIB:.0f} MiB",
        row.log,
    ]
