"""Commands that query a running node: `ps`, `channels`, `logs`."""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import click

from guesthouse.cli.options import home_option, home_path, json_option, print_json, version_text
from guesthouse.cli.terminal.completing import PROCESSES
from guesthouse.cli.terminal.durations import duration
from guesthouse.core.printable import printable

Columns: TypeAlias = Sequence[tuple[str, Callable[[dict[str, Any]], str]]]
"""Titles, and how to show the value of an item."""
_WIDE: Final = 240
"""Width of a table that is not for a terminal, so that nothing is wrapped."""


def _moment(context: click.Context, parameter: click.Parameter, value: str | None) -> float:
    """A time in ISO 8601, or how long ago it was, as Unix seconds; 0 for none."""
    from datetime import datetime

    if value is None:
        return 0.0
    ago = duration(value)
    if ago is not None:
        return time.time() - ago
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(
            f"{value!r} is neither a time such as 2026-11-30T08:00 nor a duration such as 10min",
            context,
            parameter,
        ) from None


_PROCESSES: Final[Columns] = (
    ("PROCESS", lambda item: str(item["process"])),
    ("VERSION", lambda item: version_text(item["version"], item["hash"])),
    ("STATE", lambda item: str(item["state"])),
    ("WORKER", lambda item: item["worker"] or "-"),
    ("UP", lambda item: _seconds(item["up_seconds"])),
    ("RESTARTS", lambda item: str(item["restarts"])),
    ("ON EXIT", lambda item: str(item["on_exit"])),
    ("CPU", lambda item: f"{item['cpu_seconds']:.2f} s"),
    ("MEMORY", lambda item: _known_size(item["memory_bytes"])),
    ("MAILBOX", lambda item: f"{item['mailbox_messages']} ({_size(item['mailbox_bytes'])})"),
    (
        "CHANNELS",
        lambda item: f"{item['channels']} ({item['away']} away)" if item["away"] else str(item["channels"]),
    ),
)

_LIMITS: Final[Columns] = (
    ("PROCESS", lambda item: str(item["process"])),
    ("MEMORY", lambda item: _used_bytes(item, "memory_bytes")),
    ("CPU", lambda item: f"{item['cpu_seconds']:.2f} s"),
    ("CPU/MESSAGE", lambda item: _of(item, "cpu_message_seconds", "cpu_seconds_per_message", _span)),
    ("CPU/SECOND", lambda item: _of(item, "cpu_share", "cpu_share", "{:.0%}".format)),
    ("CALLS/S", lambda item: _of(item, "host_calls_per_second", "host_calls_per_second", "{:,}".format)),
    ("THROTTLED", lambda item: f"{item['held_seconds']:.1f} s"),
    ("MAILBOX", lambda item: _used_bytes(item, "mailbox_bytes")),
    ("STATE", lambda item: _used_bytes(item, "state_bytes")),
    ("LOG DROPPED", lambda item: f"{item['log_lines_dropped']:,}"),
    ("RESTARTS", lambda item: str(item["restarts"])),
)


_GATEWAYS: Final[Columns] = (
    ("GATEWAY", lambda item: str(item["gateway"])),
    ("PID", lambda item: str(item["pid"])),
    ("STATE", lambda item: str(item["state"])),
    ("CONNECTIONS", lambda item: str(item["connections"])),
    ("RESTARTS", lambda item: str(item["restarts"])),
)

SOME_FAILED: Final = 3
"""Exit code of `ps` when a process failed that should run."""


NO_ANSWER: Final = 4
"""Exit code of `--cluster` when a node did not answer."""


@click.command()
@click.option("--limits", is_flag=True, help="Show the use of each limit.")
@click.option("--cluster", is_flag=True, help="List the processes of all nodes of the cluster.")
@home_option
@json_option
def ps(limits: bool, cluster: bool, home: str | None, as_json: bool) -> None:
    """List the processes of the running node, and those that ended or could not be started.

    The exit code is 3 when one has failed, with its cause on standard error; with --cluster it is 4 when a node
    did not answer.
    """
    from guesthouse.control.control_client import ask

    if cluster:
        if limits:
            raise click.UsageError("--limits is of one node: give it without --cluster")
        list_cluster(home_path(home), "ps", _PROCESSES, "no node runs a process", as_json=as_json)
        return
    items = list(ask(home_path(home), "ps"))
    gateways = _tell_of_node(home_path(home))
    failed = [item for item in items if item["state"] == "failed"]
    if as_json:
        print_json(items)
    elif items:
        print_table(items, _LIMITS if limits else _PROCESSES)
        for item in items:
            if item in failed or (item["state"] == "waiting" and item["last_end"] is not None):
                click.echo(_failure(item), err=True)
    else:
        click.echo("the node runs no process", err=True)
    if gateways and not as_json:
        click.echo()
        print_table(gateways, _GATEWAYS)
    sys.exit(SOME_FAILED if failed else 0)


def _tell_of_node(folder: Path) -> list[dict[str, Any]]:
    """Say on standard error that the node takes no new clients, if it does not. Returns its local gateways."""
    from guesthouse.cli.drain import progress
    from guesthouse.control.control_client import ask

    (node,) = ask(folder, "node")
    drain = node.get("drain")
    if drain is not None and drain["state"] != "serving":
        click.echo(f"{node['node']} {progress(drain)}", err=True)
    gateways: list[dict[str, Any]] = node.get("gateways", [])
    return gateways


def list_cluster(folder: Path, what: str, columns: Columns, none: str, *, as_json: bool) -> None:
    """List the processes (`ps`) or packages of all nodes, and end with an exit code that says whether all is well."""
    from guesthouse.control.control_client import ask

    items = list(ask(folder, what, cluster=True))
    rows = [item for item in items if "error" not in item]
    if as_json:
        print_json(items)
    elif rows:
        print_table(rows, (("NODE", lambda item: str(item["node"])), *columns))
    else:
        click.echo(none, err=True)
    failed = [row for row in rows if row.get("state") == "failed"]
    for row in failed:
        if row["last_end"] is not None:
            click.echo(printable(f"{row['node']}: {_failure(row)}"), err=True)
    for item in items:
        if "error" in item:
            click.echo(printable(item["error"]), err=True)
    sys.exit(NO_ANSWER if len(rows) < len(items) else SOME_FAILED if failed else 0)


def _failure(item: dict[str, Any]) -> str:
    """Why a process is not running, in a line."""
    end = item["last_end"]
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(end["time"]))
    return printable(" ".join(f"{item['process']} {end['text']} ({when})".split("\n")))


@click.command()
@home_option
@json_option
def channels(home: str | None, as_json: bool) -> None:
    """List the open channels of the running node."""
    columns: Columns = (
        ("CHANNEL", lambda item: str(item["channel_id"])),
        ("PROCESS", lambda item: str(item["process"])),
        ("PATH", lambda item: str(item["path"])),
        ("CLIENT", lambda item: str(item["client"])),
        ("OPEN", lambda item: _seconds(item["open_seconds"])),
        ("IN", lambda item: str(item["messages_in"])),
        ("OUT", lambda item: str(item["messages_out"])),
        ("OUTBOX", lambda item: _size(item["outbox_bytes"])),
        ("SESSION", lambda item: "away" if item["away"] else "live" if item["resumable"] else "-"),
    )
    _list("channels", home, as_json, columns, "no channel is open")


@click.command()
@click.argument("source", required=False, default="", shell_complete=PROCESSES)
@click.option("-f", "--follow", is_flag=True, help="Wait for new lines and show them.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, 100_000),
    default=100,
    show_default=True,
    help="Earlier lines to show first.",
)
@click.option(
    "--level",
    type=click.Choice(("error", "warning", "info", "debug")),
    default="debug",
    show_default=True,
    help="The least severe level to show.",
)
@click.option(
    "--since",
    callback=_moment,
    metavar="TIME",
    help="Only lines from then on: a time such as 2026-11-30T08:00, or how long ago, such as 90s, 10min, 2h, 3d.",
)
@click.option("--grep", "text", default="", metavar="TEXT", help="Only lines with TEXT in them, in any case.")
@home_option
@json_option
def logs(
    source: str,
    follow: bool,
    lines: int,
    level: str,
    since: float,
    text: str,
    home: str | None,
    as_json: bool,
) -> None:
    """Show the log of the running node and its processes.

    SOURCE is a process, a package (package:publisher), or a part of the node such as node or worker-0.
    """
    from guesthouse.control.control_client import ask
    from guesthouse.core.messages import LogLine
    from guesthouse.node.log import for_people

    if follow:
        gc.enable()  # unlike others, it may run for weeks
    wanted = {"source": source, "level": level, "since": since, "text": text}
    if source:
        say_if_unknown(source, home)
    for item in ask(home_path(home), "logs", lines=lines, follow=follow, **wanted):
        line = {name: item[name] for name in LogLine.__struct_fields__ if name in item}
        click.echo(json.dumps(item) if as_json else for_people(LogLine(**line)))


def say_if_unknown(source: str, home: str | None) -> None:
    """Say that nothing has a name, which may be mistyped or of what is yet to come."""
    from guesthouse.control.control_client import ask

    if not all(ask(home_path(home), "log-source", source=source)):
        text = f"no process, package or part of the node that has logged is called {source} now: see `guesthouse ps`"
        click.echo(f"guesthouse: {printable(text)}", err=True)


def _list(command: str, home: str | None, as_json: bool, columns: Columns, none: str) -> None:
    from guesthouse.control.control_client import ask

    items = list(ask(home_path(home), command))
    if as_json:
        print_json(items)
    elif items:
        print_table(items, columns)
    else:
        click.echo(none, err=True)


def print_table(items: Sequence[dict[str, Any]], columns: Columns) -> None:
    """Print items as a table."""
    rows = [[printable(show(item)) for _, show in columns] for item in items]
    titles = [title for title, _ in columns]
    lines = plain_lines([titles, *rows], _terminal_width() if sys.stdout.isatty() else _WIDE)
    if lines is None:
        _print_folded(titles, rows)
        return
    if sys.stdout.isatty() and os.environ.get("TERM") not in (None, "dumb", "unknown"):
        lines[0] = click.style(lines[0], bold=True)
    click.echo("\n".join(lines))


def plain_lines(rows: Sequence[Sequence[str]], width: int) -> list[str] | None:
    """The lines of a table that needs no layout; None when it is too wide, or has characters of other widths than one:
    `rich`, which lays out that, takes longer to load than all else of a command.
    """
    if not all(cell.isascii() for row in rows for cell in row):
        return None
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) > width:
        return None
    return ["  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)) for row in rows]


def _terminal_width() -> int:
    from shutil import get_terminal_size

    return get_terminal_size().columns


def _print_folded(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False).print(table)


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _size(count: int) -> str:
    for unit, length in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count} B"


def _known_size(count: int | None) -> str:
    return "-" if count is None else _size(count)


def _used_bytes(item: dict[str, Any], name: str) -> str:
    return f"{_known_size(item[name])} of {_size(item['limits'][name])}"


def _of(item: dict[str, Any], name: str, limit: str, show: Callable[[Any], str]) -> str:
    return f"{show(item[name])} of {show(item['limits'][limit])}"


def _span(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
