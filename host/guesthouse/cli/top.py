"""`guesthouse top`: what each process uses now, again and again."""

from __future__ import annotations

import gc
import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click

from guesthouse.cli.options import home_option, home_path, json_option, print_json
from guesthouse.cli.status import print_table
from guesthouse.cli.terminal.durations import Seconds
from guesthouse.core.printable import number_of, printable

if TYPE_CHECKING:
    from rich.console import RenderableType

Item: TypeAlias = dict[str, Any]
_SHORTEST: Final = 0.2

SORTS: Final[Mapping[str, Callable[[Item], Any]]] = {
    "cpu": lambda item: -item["cpu"],
    "memory": lambda item: -(item["memory_bytes"] or 0),
    "messages": lambda item: -item["messages_per_second"],
    "mailbox": lambda item: -item["mailbox_bytes"],
    "channels": lambda item: -item["channels"],
    "restarts": lambda item: -item["restarts"],
    "process": lambda item: item["process"],
}
"""By what is sorted, the greatest first."""

COLUMNS: Final[Sequence[tuple[str, str, Callable[[Item], str]]]] = (
    ("PROCESS", "process", lambda item: str(item["process"])),
    ("STATE", "", lambda item: str(item["state"])),
    ("CPU", "cpu", lambda item: f"{100 * item['cpu']:.1f} %"),
    ("MEMORY", "memory", lambda item: _size(item["memory_bytes"])),
    ("MESSAGES/S", "messages", lambda item: f"{item['messages_per_second']:,.0f}"),
    ("MAILBOX", "mailbox", lambda item: f"{item['mailbox_messages']:,}"),
    ("CHANNELS", "channels", lambda item: f"{item['channels']:,}"),
    ("RESTARTS", "restarts", lambda item: str(item["restarts"])),
)
"""Titles, the sort that each stands for, and how an item is shown."""
_KEYS: Final = "q quit   s sort by the next column   arrows left and right, too"


@click.command()
@click.option(
    "--interval",
    type=Seconds(_SHORTEST, 3600),
    default=2.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option(
    "--sort", type=click.Choice(tuple(SORTS)), default="cpu", show_default=True, help="What is first."
)
@click.option("--once", is_flag=True, help="Look twice, an interval apart, print a table and end.")
@home_option
@json_option
def top(interval: float, sort: str, once: bool, home: str | None, as_json: bool) -> None:
    """Show what each process of the running node uses now, again and again.

    Keys: q quits, s and the arrows choose the column to sort by. Without a terminal, as with --once.
    """
    folder = home_path(home)
    if once or as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        items = _once(folder, interval, sort)
        if as_json:
            print_json(items)
        elif items:
            print_table(items, [(title, show) for title, _, show in COLUMNS])
        else:
            click.echo("the node runs no process", err=True)
        return
    gc.enable()  # it may run for weeks
    _live(folder, interval, sort)


def measured(before: Sequence[Item], after: Sequence[Item], seconds: float, sort: str) -> list[Item]:
    """What was used between two looks, of those that are there at the second.

    Args:
        before: items of `ps`.
        after: the same, later.
        seconds: between the two.
        sort: a key of `SORTS`.
    """
    earlier = {item["process"]: item for item in before}
    items = []
    for item in after:
        old = earlier.get(item["process"], item)
        messages = sum(item[name] - old[name] for name in ("messages_in", "messages_out"))
        cpu = item["cpu_seconds"] - old["cpu_seconds"]
        used = {"cpu": round(max(0.0, cpu) / seconds, 4)}
        items.append(item | used | {"messages_per_second": round(max(0, messages) / seconds, 2)})
    return sorted(items, key=lambda item: (SORTS[sort](item), item["process"]))


def _look(folder: Path) -> tuple[float, list[Item]]:
    from guesthouse.control.control_client import ask

    return time.monotonic(), list(ask(folder, "ps"))


def _once(folder: Path, interval: float, sort: str) -> list[Item]:
    began, before = _look(folder)
    time.sleep(interval)
    ended, after = _look(folder)
    return measured(before, after, ended - began, sort)


def _live(folder: Path, interval: float, sort: str) -> None:
    from rich.console import Console
    from rich.live import Live

    began, before = _look(folder)
    items = measured(before, before, 1.0, sort)
    console = Console(highlight=False)
    with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
        until = time.monotonic()  # the first look has nothing to compare with
        while True:
            live.update(view(items, sort, console.height), refresh=True)
            key = pressed(max(0.0, until + interval - time.monotonic()))
            if key == "q":
                return
            if key:
                sort = _next_sort(sort, -1 if key == "left" else 1)
                items.sort(key=lambda item: (SORTS[sort](item), item["process"]))
                continue
            ended, after = _look(folder)
            items = measured(before, after, max(ended - began, _SHORTEST), sort)
            began, before, until = ended, after, time.monotonic()


def view(items: Sequence[Item], sort: str, height: int) -> RenderableType:
    """The whole screen."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    for title, by, _ in COLUMNS:
        style = "reverse" if by == sort else ""
        side = "left" if title in ("PROCESS", "STATE") else "right"
        table.add_column(Text(title, style), justify="right" if side == "right" else "left", no_wrap=True)
    room = max(1, height - 4)
    for item in items[:room]:
        colour = {"failed": "red", "waiting": "yellow", "starting": "yellow"}.get(item["state"], "")
        table.add_row(*(Text(printable(show(item))) for _, _, show in COLUMNS), style=colour)
    more = f" ({len(items) - room} more)" if len(items) > room else ""
    total = sum(item["messages_per_second"] for item in items)
    cpu = 100 * sum(item["cpu"] for item in items)
    channels = sum(item["channels"] for item in items)
    processes = number_of(len(items), "process", "processes")
    text = f"{processes}{more}, {cpu:.0f} % CPU, {total:,.0f} messages/s, {number_of(channels, 'channel')}"
    return Group(Text(text), Text(_KEYS, "dim"), Text(""), table)


def _next_sort(sort: str, step: int) -> str:
    order = [by for _, by, _ in COLUMNS if by]
    return order[(order.index(sort) + step) % len(order)]


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Reads keys one by one: `q`, `left`, `right`, or nothing within so many seconds. Ctrl-C stays what it is."""
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)

    def pressed(seconds: float) -> str:
        if not select.select([terminal], [], [], seconds)[0]:
            return ""
        data = os.read(terminal, 64)
        if not data or b"q" in data or b"Q" in data:
            return "q"
        return "left" if data == b"\x1b[D" else "right" if data in (b"\x1b[C", b"s") else ""

    try:
        yield pressed
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _size(count: int | None) -> str:
    return "-" if count is None else f"{count / 2**20:,.1f} MiB"
