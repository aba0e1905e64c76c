"""`guesthouse doctor`: what is wrong with a node or its machine, and what to do."""

from __future__ import annotations

import sys

import click

from guesthouse.cli.options import home_option, home_path, json_option, print_json
from guesthouse.core.printable import printable

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@home_option
@json_option
def doctor(home: str | None, as_json: bool) -> None:
    """Look for what is wrong with a node, its home and its machine, and say what to do.

    Works with and without a running node, and changes nothing. The exit code is 1 when something fails.
    """
    from guesthouse.node.doctor.examination import examine
    from guesthouse.node.doctor.finding import FAIL, worst

    found = examine(home_path(home))
    if as_json:
        print_json([finding.as_json() for finding in found])
    else:
        width = max(len(finding.check) for finding in found)
        for finding in found:
            status = click.style(f"{finding.status:<4}", fg=_COLOURS[finding.status])
            click.echo(f"{status}  {finding.check:<{width}}  {printable(finding.text)}")
            if finding.remedy:
                click.echo(f"{'':<4}  {'':<{width}}  → {printable(finding.remedy)}")
    sys.exit(1 if worst(found) == FAIL else 0)
