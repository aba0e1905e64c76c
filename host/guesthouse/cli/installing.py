"""Commands that install packages: `install`, `uninstall`, `rollback`, `packages`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from guesthouse.cli.options import home_option, home_path, json_option, print_json, version_text


@click.command()
@click.argument("package", metavar="PACKAGE")
@home_option
@json_option
def install(package: str, home: str | None, as_json: bool) -> None:
    """Install PACKAGE, a folder or .zip, or another version of one that is installed.

    A running node starts it at once: the processes of an older version are swapped with their channels open,
    and stay when the new one cannot start. Otherwise the node starts it when it is started next.
    """
    from guesthouse.config import load_settings
    from guesthouse.control.client import NoNode, ask
    from guesthouse.home import Home

    folder = home_path(home)
    try:
        (item,) = ask(folder, "install", package=str(Path(package).absolute()))
    except NoNode:
        from guesthouse.installing import install_without_node

        item = install_without_node(Home(folder), load_settings(str(folder)), package)
    _show(item, as_json)


@click.command()
@click.argument("package", metavar="PACKAGE_ID")
@click.option("--purge", is_flag=True, help="Drop all that its processes stored, too.")
@home_option
@json_option
def uninstall(package: str, purge: bool, home: str | None, as_json: bool) -> None:
    """Take the package PACKAGE_ID (package:publisher) off the node, running or not.

    Its processes end and their channels are closed. What they stored is kept, unless --purge is given.
    """
    from guesthouse.control.client import NoNode, ask
    from guesthouse.home import Home
    from guesthouse.package.installed import parse_package_id

    package_id, folder = parse_package_id(package), home_path(home)
    try:
        list(ask(folder, "uninstall", package=package_id, purge=purge))
    except NoNode:
        from guesthouse.installing import uninstall_without_node

        uninstall_without_node(Home(folder), package_id, drop_state=purge)
    if as_json:
        print_json({"package": package_id})
    else:
        click.echo(f"{package_id} is uninstalled", err=True)


@click.command()
@click.argument("package", metavar="PACKAGE_ID")
@home_option
@json_option
def rollback(package: str, home: str | None, as_json: bool) -> None:
    """Return to the version of PACKAGE_ID that was installed before, as `install` would. Twice is back again."""
    from guesthouse.config import load_settings
    from guesthouse.control.client import NoNode, ask
    from guesthouse.home import Home
    from guesthouse.package.installed import parse_package_id

    package_id, folder = parse_package_id(package), home_path(home)
    try:
        (item,) = ask(folder, "rollback", package=package_id)
    except NoNode:
        from guesthouse.installing import roll_back_without_node

        item = roll_back_without_node(Home(folder), load_settings(str(folder)), package_id)
    _show(item, as_json)


@click.command()
@home_option
@json_option
def packages(home: str | None, as_json: bool) -> None:
    """List the packages that are installed on the node, and those that it runs."""
    from guesthouse.cli.ask import Columns, print_table
    from guesthouse.control.client import NoNode, ask
    from guesthouse.home import Home

    folder = home_path(home)
    try:
        items = list(ask(folder, "packages"))
    except NoNode:
        from guesthouse.installing import listed_without_node

        items = listed_without_node(Home(folder))
    columns: Columns = (
        ("PACKAGE", lambda item: str(item["package"])),
        ("INSTALLED", lambda item: version_text(item["version"], item["hash"])),
        ("PREVIOUS", lambda item: version_text(item["previous_version"], item["previous_hash"])),
        ("RUNS", lambda item: version_text(item["running_version"], item["running_hash"])),
    )
    if as_json:
        print_json(items)
    elif items:
        print_table(items, columns)
    else:
        click.echo("no package is installed", err=True)


def _show(item: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(item)
        return
    text = f"{item['package']} {version_text(item['version'], item['hash'])} is installed"
    click.echo(
        f"{text} and runs" if item["running_version"] else f"{text} and starts with the node", err=True
    )
