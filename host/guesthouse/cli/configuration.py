"""`guesthouse config`: what the settings are, where they come from, and what they can be."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from guesthouse.cli.options import home_option, home_path, json_option, print_json
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.printable import printable


@click.command()
@click.argument("action", type=click.Choice(("show", "schema", "check")), default="show")
@click.argument("file", required=False)
@home_option
@json_option
@click.pass_context
def config(context: click.Context, action: str, file: str | None, home: str | None, as_json: bool) -> None:
    """Show the effective settings and where each comes from: of the running node, else of the next one.

    `schema` prints a JSON schema of guesthouse.toml, for editors. `check` looks for faults in FILE, or in the
    home's guesthouse.toml and the environment; the exit code is 1 when there are some.
    """
    if file is not None and action != "check":
        raise click.UsageError("FILE is for check", context)
    if action == "schema":
        from guesthouse.node.settings.settings_schema import schema

        print_json(schema())
    elif action == "check":
        _check(home_path(home), file, as_json)
    else:
        _show(home_path(home), as_json)


def _show(folder: Path, as_json: bool) -> None:
    items = _settings(folder)
    if as_json:
        print_json(items)
        return
    from guesthouse.cli.status import print_table

    print_table(
        items,
        (
            ("SETTING", lambda item: str(item["setting"])),
            ("VALUE", lambda item: _value(item["value"])),
            ("FROM", _origin),
        ),
    )


def _settings(folder: Path) -> list[dict[str, Any]]:
    from guesthouse.control.control_client import NoNode, ask

    try:
        return list(ask(folder, "config"))
    except NoNode:
        from guesthouse.core.config import given_settings, load_settings
        from guesthouse.node.settings.settings_listing import listed_settings

        return listed_settings(load_settings(str(folder)), given_settings(str(folder)))


def _check(folder: Path, file: str | None, as_json: bool) -> None:
    from guesthouse.core.config import faults_in, load_settings, settings_of
    from guesthouse.node.settings.shared_ports import shared_ports

    path = folder / "guesthouse.toml" if file is None else Path(file)
    faults = faults_in(path) if file is not None or path.exists() else []
    if not faults:
        try:
            settings = load_settings(str(folder)) if file is None else settings_of(path)
            faults += shared_ports(settings)
        except GuesthouseError as error:
            faults.append(str(error))
    if as_json:
        print_json({"file": str(path), "faults": faults})
    else:
        for fault in faults:
            click.echo(f"guesthouse: {printable(fault)}", err=True)
        if not faults:
            click.echo(f"{path} has no fault", err=True)
    sys.exit(1 if faults else 0)


def _value(value: Any) -> str:
    import json

    return "-" if value is None else json.dumps(value)


def _origin(item: dict[str, Any]) -> str:
    place = item["place"] or item["source"]
    if "next" in item:
        return f"{place} (has {_value(item['next'])} now: not taken up)"
    return str(place)
