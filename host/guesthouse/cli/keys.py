"""Keys of the HTTP API, `api-key create`, `list` and `revoke`, and links to its dashboard."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import click

from guesthouse.cli.options import home_option, home_path, json_option, print_json
from guesthouse.cli.terminal.durations import duration

_LONGEST: Final = 3660 * 86_400


def _duration(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """A duration such as 90d, in seconds."""
    if value is None:
        return None
    seconds = duration(value)
    if seconds is None or not 0 < seconds <= _LONGEST:
        text = f"{value!r} is not a duration of at most ten years, such as 90s, 10min, 12h or 90d"
        raise click.BadParameter(text, context, parameter)
    return seconds


@click.command()
@click.option(
    "--role",
    type=click.Choice(["read", "push", "admin"]),
    default="admin",
    show_default=True,
    help="What it may do: see; also talk to processes, close channels and revoke tokens; also change all else.",
)
@click.option(
    "--expires",
    metavar="TIME",
    callback=_duration,
    default="12h",
    show_default=True,
    help="How long the login is valid, such as 90d.",
)
@click.option("--open", "wanted", is_flag=True, help="Open it in a browser, too.")
@home_option
def dashboard(role: str, expires: int, wanted: bool, home: str | None) -> None:
    """Print a link to the dashboard of the running node, which logs in once, within ten minutes."""
    from guesthouse.control.control_client import ask

    (link,) = ask(home_path(home), "dashboard-link", role=role, seconds=expires)
    click.echo(link["url"])
    if wanted:
        click.launch(link["url"])


@click.group()
def api_key() -> None:
    """Make, list and revoke keys of the node's HTTP API, running or not."""


@api_key.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--role",
    type=click.Choice(["read", "push", "admin"]),
    required=True,
    help="What it may do: see; also issue tokens, push and close channels; also restart and stop processes.",
)
@click.option("--expires", metavar="TIME", callback=_duration, help="How long it is valid, such as 90d.")
@click.option("--process", metavar="PROCESS", help="The only process that it is for.")
@home_option
@json_option
def create(
    name: str, role: str, expires: int | None, process: str | None, home: str | None, as_json: bool
) -> None:
    """Print a new key, which is shown once: the node stores its hash."""
    from guesthouse.control.control_client import NoNode, ask

    folder = home_path(home)
    try:
        (made,) = ask(folder, "api-key-create", name=name, role=role, seconds=expires, process=process)
    except NoNode:
        made = _create(folder, name, role, expires, process)
    if as_json:
        print_json(made)
    else:
        click.echo(made["key"])


@api_key.command("list")
@home_option
@json_option
def list_(home: str | None, as_json: bool) -> None:
    """Show the keys, without the keys themselves."""
    from guesthouse.cli.status import print_table
    from guesthouse.control.control_client import NoNode, ask

    folder = home_path(home)
    try:
        keys = list(ask(folder, "api-keys"))
    except NoNode:
        from guesthouse.http_api.api_keys import ApiKeys, key_row

        keys = [key_row(key) for key in ApiKeys(folder).listed()]
    if as_json:
        print_json(keys)
        return
    now = time.time()
    print_table(
        keys,
        (
            ("NAME", lambda item: str(item["name"])),
            ("ID", lambda item: str(item["id"])),
            ("ROLE", lambda item: str(item["role"])),
            ("PROCESS", lambda item: item["process"] or "all"),
            ("EXPIRES", lambda item: _expiry(item["expires"], now)),
        ),
    )


@api_key.command()
@click.argument("name", metavar="NAME")
@home_option
def revoke(name: str, home: str | None) -> None:
    """Revoke a key by its name or id. It is refused from now on."""
    from guesthouse.control.control_client import NoNode, ask

    folder = home_path(home)
    try:
        (key,) = ask(folder, "api-key-revoke", name=name)
    except NoNode:
        key = _revoke(folder, name)
    click.echo(f"the key {key['name']} ({key['id']}) is revoked", err=True)


def _expiry(expires: int | None, now: float) -> str:
    if expires is None:
        return "never"
    shown = time.strftime("%Y-%m-%d %H:%M", time.localtime(expires))
    return shown if expires > now else f"{shown} (over)"


def _create(folder: Path, name: str, role: str, expires: int | None, process: str | None) -> dict[str, Any]:
    """Make a key while no node runs. Holds the home's lock, so that none starts meanwhile."""
    from guesthouse.core.home import Home
    from guesthouse.http_api.api_keys import ApiKeys, key_row

    home = Home(folder)
    home.prepare()
    with home.locked():
        text, key = ApiKeys(folder).create(name, role, time.time(), seconds=expires, process=process)
    return {"key": text, **key_row(key)}


def _revoke(folder: Path, name: str) -> dict[str, Any]:
    from guesthouse.core.home import Home
    from guesthouse.http_api.api_keys import ApiKeys, key_row

    home = Home(folder)
    home.prepare()
    with home.locked():
        return key_row(ApiKeys(folder).revoke(name))
