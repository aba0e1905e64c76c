"""Authentication commands: `token`, `revoke`, `passwd`."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path

import click

from guesthouse.cli.options import NotText, home_option, home_path
from guesthouse.core.errors import GuesthouseError

_FROM_STDIN = "-"


class NotAToken(GuesthouseError):
    """The argument of `revoke` is missing, or not a token of this node."""


_DAY = 24 * 3600
_LONGEST = 10 * 366 * _DAY


@click.command()
@click.option(
    "--ttl",
    type=click.IntRange(1, _LONGEST),
    default=_DAY,
    metavar="SECONDS",
    show_default=True,
    help="Seconds until it expires, unless it is renewed.",
)
@click.option("--no-renew", "final", is_flag=True, help="It cannot be renewed beyond --ttl.")
@click.option("--process", metavar="PROCESS", help="The only process that it gives access to.")
@click.option(
    "--channels",
    type=click.IntRange(1, 2**31),
    metavar="N",
    help="Open channels at a time.",
)
@click.option("--secure", is_flag=True, help="For the sub-domain of --process, and nothing else.")
@click.option("--claims", metavar="JSON", help="What its process is to know of its bearer: an object.")
@home_option
def token(
    ttl: int,
    final: bool,
    process: str | None,
    channels: int | None,
    secure: bool,
    claims: str | None,
    home: str | None,
) -> None:
    """Print an auth token of the node, running or not.

    Its bearer can renew it for http.renewable_seconds (30 days), unless --no-renew is given.
    """
    from guesthouse.core.config import load_settings
    from guesthouse.http_server.auth.credentials import load_secret
    from guesthouse.http_server.auth.tokens import Tokens, read_scope

    folder = home_path(home)
    node = _node_of(folder)
    scope = read_scope(process, channels, secure=secure, claims=claims, node=node)
    renewable = 0 if final else load_settings(str(folder)).http.renewable_seconds
    tokens = Tokens(node, load_secret(folder), renewable=renewable)
    click.echo(tokens.issue(ttl, time.time(), scope))


def issue_token(folder: Path, seconds: float, process: str, claims: str | None = None) -> str:
    """Issue a token for one channel to one process of the node in a folder.

    Raises:
        BadProcessId: `process` is not the id of a process.
        BadAddress: its node is no name of one.
        BadClaims: `claims` cannot be put into a token.
    """
    from guesthouse.http_server.auth.credentials import load_secret
    from guesthouse.http_server.auth.tokens import Tokens, read_scope

    node = _node_of(folder)
    scope = read_scope(process, 1, secure=False, claims=claims, node=node)
    return Tokens(node, load_secret(folder), renewable=0).issue(seconds, time.time(), scope)


@click.command()
@click.argument("token", metavar="TOKEN", required=False)
@click.option("--all", "every", is_flag=True, help="All tokens of the node, logins included.")
@home_option
def revoke(token: str | None, every: bool, home: str | None) -> None:
    """Revoke a token and all that renewal made from it; - reads it from standard input.

    Channels that were opened with them are closed.
    """
    from guesthouse.control.control_client import NoNode, ask

    folder = home_path(home)
    if every is (token is not None):
        raise NotAToken("name what to revoke: a TOKEN, or --all")
    if token == _FROM_STDIN:  # not an argument, which other users of the machine can see
        token = sys.stdin.readline().strip()
    try:
        (known,) = ask(folder, "revoke", token=token, all=every)
    except NoNode:
        known = _revoke(folder, token)
    if not known:
        raise NotAToken("not a token of this node: pass the complete output of `guesthouse token`")
    click.echo("all tokens are revoked" if every else "the token is revoked", err=True)


@click.command()
@home_option
def passwd(home: str | None) -> None:
    """Set the password of the node's login page, read from standard input if that is not a terminal.

    Everybody who is logged in has to log in again. Tokens from `guesthouse token` stay valid: see `guesthouse revoke
    --all`.
    """
    from guesthouse.control.control_client import NoNode, ask
    from guesthouse.core.home import Home
    from guesthouse.http_server.auth.credentials import set_password

    folder = home_path(home)
    try:
        if sys.stdin.isatty():
            password = click.prompt("New password", hide_input=True, confirmation_prompt=True)
        else:
            password = sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise NotText(
            f"the password is not text in {error.encoding}: type it in this terminal's encoding"
        ) from None
    Home(folder).prepare()
    set_password(folder, password)
    with suppress(NoNode):  # it reads the new one when it starts
        list(ask(folder, "password-changed"))
    click.echo(f"the password of the node on {folder} is set; its logins have ended", err=True)


def _node_of(folder: Path) -> str:
    from guesthouse.core.config import load_settings
    from guesthouse.core.home import Home

    home = Home(folder)
    home.prepare()
    return home.remembered_node() or load_settings(str(folder)).node


def _revoke(folder: Path, token: str | None) -> bool:
    """Revoke a token, or all, while no node runs. Holds the home's lock, so that none starts meanwhile."""
    from guesthouse.core.home import Home
    from guesthouse.http_server.auth.credentials import load_secret, replace_secret
    from guesthouse.http_server.auth.revocations import RevocationList
    from guesthouse.http_server.auth.tokens import Tokens

    node, now = _node_of(folder), time.time()
    with Home(folder).locked():
        if token is None:
            replace_secret(folder)
            return True
        known = Tokens(node, load_secret(folder)).revocable(token)
        if known is not None:
            RevocationList(folder, now).add(*known, now)
        return known is not None
