"""Commands for who may come in: `token`, `passwd`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from guesthouse.cli.options import home_option, home_path

_DAY = 24 * 3600
_LONGEST = 10 * 366 * _DAY


@click.command()
@click.option(
    "--ttl",
    type=click.IntRange(1, _LONGEST),
    default=_DAY,
    metavar="SECONDS",
    show_default=True,
    help="How long it is valid.",
)
@home_option
def token(ttl: int, home: str | None) -> None:
    """Print an auth token of the node, running or not."""
    from guesthouse.control.client import NoNode, ask

    folder = home_path(home)
    try:
        (issued,) = ask(folder, "token", ttl=ttl)
    except NoNode:
        issued = _issue(folder, ttl)
    click.echo(issued)


@click.command()
@home_option
def passwd(home: str | None) -> None:
    """Set the password of the node's login page. It is read from standard input when that is no terminal."""
    from guesthouse.home import Home
    from guesthouse.http_server.credentials import set_password

    folder = home_path(home)
    if sys.stdin.isatty():
        password = click.prompt("New password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    Home(folder).prepare()
    set_password(folder, password)
    click.echo(f"the password of the node on {folder} is set", err=True)


def _issue(folder: Path, ttl: int) -> str:
    from guesthouse.config import load_settings
    from guesthouse.home import Home
    from guesthouse.http_server.auth import Tokens
    from guesthouse.http_server.credentials import load_secret

    home = Home(folder)
    home.prepare()
    node = home.remembered_node() or load_settings(str(folder)).node
    return Tokens(node, load_secret(folder)).issue(ttl, time.time())
