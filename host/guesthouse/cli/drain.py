"""`guesthouse drain`: clients are told to go elsewhere, a few at a time, and the node ends."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Final

import click

from guesthouse.cli.options import home_option, home_path, json_option, print_json
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.printable import number_of

_STEP_SECONDS: Final = 0.05
_LONGEST: Final = 7 * 24 * 3600


class NotDrained(GuesthouseError):
    """The node did not become empty, or did not end."""


@click.command()
@click.option(
    "--rate",
    type=click.FloatRange(0, 100_000, min_open=True),
    default=100,
    show_default=True,
    metavar="CLIENTS",
    help="Clients to tell in a second.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, _LONGEST, min_open=True),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="The deadline, at which those left are told at once.",
)
@click.option(
    "--notice",
    type=click.FloatRange(0, _LONGEST),
    default=0,
    show_default=True,
    metavar="SECONDS",
    help="How long /readyz says 503 before the first client is told or refused.",
)
@click.option("--stay", is_flag=True, help="Go on without clients, until --cancel, instead of ending.")
@click.option("--cancel", is_flag=True, help="Take clients again.")
@click.option(
    "--no-wait", is_flag=True, help="Return at once, instead of when the node is drained and has ended."
)
@home_option
@json_option
def drain(
    rate: float,
    seconds: float,
    notice: float,
    stay: bool,
    cancel: bool,
    no_wait: bool,
    home: str | None,
    as_json: bool,
) -> None:
    """Drain the running node: refuse new clients, tell the others to connect again elsewhere, and end.

    Clients get the close code 1012, new ones 503, and HTTP requests are answered until no channel is open.
    Interrupting the command does not stop the drain: --cancel does.
    """
    from guesthouse.control.control_client import NoNode, ask

    folder = home_path(home)
    from guesthouse.core.home import Home

    pid = Home(folder).locked_by()
    options = {} if cancel else {"rate": rate, "seconds": seconds, "notice": notice, "stay": stay}
    status: dict[str, Any] = {}
    try:
        for status in ask(folder, "drain", cancel=cancel, wait=not (no_wait or cancel), **options):
            _show(status)
    except NoNode:
        if not status:
            raise
        status = {**status, "state": "ending"}  # it had no time to say so
    if not (no_wait or cancel):
        if status["state"] == "serving":
            raise NotDrained("the drain was cancelled: the node takes clients again")
        if status["state"] == "ending":
            _await_end(folder, pid, seconds)
            status = {**status, "state": "ended"}
    if as_json:
        print_json(status)
    else:
        click.echo(f"the node {progress(status)}", err=True)


def progress(status: dict[str, Any]) -> str:
    """How far a drain is, as the rest of a sentence about the node."""
    told = f"{number_of(status['told'], 'client was', 'clients were')} told to go"
    counts = f"{number_of(status['channels'], 'channel is', 'channels are')} open, {told}"
    match status["state"]:
        case "serving":
            return "takes clients"
        case "drained" | "ending":
            return f"is drained: {counts}"
        case "ended":
            return f"is drained and has ended: {told}"
        case _:
            return f"is being drained: {counts}, {status['left_seconds']:.0f} s left"


def _show(status: dict[str, Any]) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{progress(status)}\r", nl=False, err=True)


def _await_end(folder: Path, pid: int | None, seconds: float) -> None:
    """Wait until the node that had the home has left it."""
    from guesthouse.core.home import Home

    until = time.monotonic() + seconds + 60
    while pid is not None and Home(folder).locked_by() == pid:
        if time.monotonic() > until:
            raise NotDrained(f"the node is drained, but its OS process {pid} has not ended: look at its log")
        time.sleep(_STEP_SECONDS)
