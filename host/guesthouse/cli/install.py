"""Package commands: `install`, `uninstall`, `rollback`, `packages`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from guesthouse.cli.options import home_option, home_path, json_option, print_json, version_text
from guesthouse.cli.terminal.completing import PACKAGES
from guesthouse.cli.terminal.progress import working
from guesthouse.core.errors import GuesthouseError

PACKAGE_COLUMNS: Final = (
    ("PACKAGE", lambda item: str(item["package"])),
    ("INSTALLED", lambda item: version_text(item["version"], item["hash"])),
    ("PREVIOUS", lambda item: version_text(item["previous_version"], item["previous_hash"])),
    ("RUNS", lambda item: version_text(item["running_version"], item["running_hash"])),
)


class InstallInterrupted(GuesthouseError):
    """Ctrl-C while a package was being installed on several nodes."""


class NotConsented(GuesthouseError):
    """A package asks for more than the operator has consented to."""


@click.command()
@click.argument("package", metavar="PACKAGE")
@click.option("--yes", is_flag=True, help="Grant what it asks for, without asking.")
@click.option(
    "--on",
    "nodes",
    multiple=True,
    metavar="NODE",
    help="Install it on this node of the cluster; give it again for others.",
)
@click.option("--everywhere", is_flag=True, help="Install it on all nodes of the cluster.")
@home_option
@json_option
def install(
    package: str, yes: bool, nodes: tuple[str, ...], everywhere: bool, home: str | None, as_json: bool
) -> None:
    """Install PACKAGE, a folder or .zip, or upgrade to it.

    When it asks for more than the installed version, if any, that is shown, and you are asked; without a
    terminal, --yes is needed.

    A running node starts it at once: processes of an older version are upgraded with their channels open,
    and keep running if the new one cannot start. Otherwise it starts with the node.

    With --on or --everywhere a running node installs it on nodes of its cluster: one after the other, and on none
    before all have seen it.
    """
    if nodes and everywhere:
        raise click.UsageError(
            "--everywhere means all nodes: give it without --on, or name the nodes with --on"
        )
    folder = home_path(home)
    if nodes or everywhere:
        _install_on(folder, package, nodes, consent=yes or None, as_json=as_json)
        return
    with working(f"checking and compiling {package}"):
        item = _install(folder, package, yes or None)
    if "needs_consent" in item:
        if as_json or not sys.stdin.isatty():
            raise NotConsented(item["needs_consent"])
        click.echo(f"{item['package']} {item['version']}", err=True)
        _show_changes(item)
        click.confirm("Grant that?", abort=True, err=True)
        with working(f"starting {item['package']}"):
            item = _install(folder, package, item["hash"])
    _show(item, as_json)
    if not as_json:
        _show_changes(item)


def _install(folder: Path, package: str, consent: str | bool | None) -> dict[str, Any]:
    from guesthouse.control.control_client import NoNode, ask
    from guesthouse.core.config import load_settings
    from guesthouse.core.home import Home

    try:
        (item,) = ask(folder, "install", package=str(Path(package).absolute()), consent=consent)
    except NoNode:
        from guesthouse.node.offline_installer import install_without_node
        from guesthouse.node.package_hosts import NeedsConsent

        try:
            item = install_without_node(Home(folder), load_settings(str(folder)), package, consent)
        except NeedsConsent as needed:
            item = {"needs_consent": str(needed), **needed.item}
    return dict(item)


def _install_on(
    folder: Path, package: str, nodes: Sequence[str], *, consent: bool | None, as_json: bool
) -> None:
    """Install a package on these nodes, or on all.

    Raises:
        NotConsented: it asks for more, and nobody can be asked.
    """
    from guesthouse.core.printable import printable

    items = _install_there(folder, package, nodes, consent, as_json=as_json)
    if items and "needs_consent" in items[0]:
        (needed,) = items
        if as_json or not sys.stdin.isatty():
            raise NotConsented(needed["needs_consent"])
        click.echo(f"{needed['package']} {needed['version']}", err=True)
        for each in needed["nodes"]:
            click.echo(f"on {each['node']}", err=True)
            for mark, texts in (("+", each["asks_more"]), ("-", each["asks_less"])):
                for text in texts:
                    click.echo(printable(f"  {mark} {text}"), err=True)
        click.confirm("Grant that?", abort=True, err=True)
        items = _install_there(folder, package, nodes, needed["hash"], as_json=as_json)
    if as_json:
        print_json(items)


def _install_there(
    folder: Path, package: str, nodes: Sequence[str], consent: str | bool | None, *, as_json: bool
) -> list[dict[str, Any]]:
    from guesthouse.control.control_client import ask
    from guesthouse.core.printable import printable

    items: list[dict[str, Any]] = []
    where = {"everywhere": True} if not nodes else {"nodes": " ".join(nodes)}
    try:
        with working(f"offering {package}"):
            for item in ask(
                folder, "install", package=str(Path(package).absolute()), consent=consent, **where
            ):
                items.append(item)
                if not as_json and "needs_consent" not in item:
                    version = version_text(item["version"], item["hash"])
                    runs = " and runs" if item["running_version"] else ""
                    text = f"{item['node']}: {item['package']} {version} is installed{runs}"
                    click.echo(printable(text), err=True)
    except KeyboardInterrupt:
        done = ", ".join(item["node"] for item in items) or "no node"
        raise InstallInterrupted(
            f"interrupted: it is installed on {done}, and the node that was installing it may still "
            "finish: see `guesthouse packages --cluster`"
        ) from None
    return items


def _show_changes(item: dict[str, Any]) -> None:
    from guesthouse.core.printable import printable

    for text in item["asks_more"]:
        click.echo(printable(f"  + {text}"), err=True)
    for text in item["asks_less"]:
        click.echo(printable(f"  - {text}"), err=True)


@click.command()
@click.argument("package", metavar="PACKAGE_ID", shell_complete=PACKAGES)
@click.option(
    "--purge", is_flag=True, help="Delete all that its processes stored, also if it is uninstalled already."
)
@home_option
@json_option
def uninstall(package: str, purge: bool, home: str | None, as_json: bool) -> None:
    """Remove the package PACKAGE_ID (package:publisher) from the node, running or not.

    Its processes end and their channels are closed. What they stored is kept, unless --purge is given.
    """
    from guesthouse.control.control_client import NoNode, ask
    from guesthouse.core.home import Home
    from guesthouse.package.store.installed import parse_package_id

    package_id, folder = parse_package_id(package), home_path(home)
    dropped = ", and what it stored is deleted" if purge else ""
    try:
        list(ask(folder, "uninstall", package=package_id, purge=purge))
    except NoNode:
        dropped += " at the next start of the node" if purge else ""
        from guesthouse.node.offline_installer import uninstall_without_node

        uninstall_without_node(Home(folder), package_id, drop_state=purge)
    if as_json:
        print_json({"package": package_id})
    else:
        click.echo(f"{package_id} is uninstalled{dropped}", err=True)


@click.command()
@click.argument("package", metavar="PACKAGE_ID", shell_complete=PACKAGES)
@home_option
@json_option
def rollback(package: str, home: str | None, as_json: bool) -> None:
    """Return to the previous version of PACKAGE_ID, as `install` would. A second rollback undoes the first.

    Shows how its capabilities change.
    """
    from guesthouse.control.control_client import NoNode, ask
    from guesthouse.core.config import load_settings
    from guesthouse.core.home import Home
    from guesthouse.package.store.installed import parse_package_id

    package_id, folder = parse_package_id(package), home_path(home)
    try:
        with working(f"returning to the version of {package_id} before"):
            (item,) = ask(folder, "rollback", package=package_id)
    except NoNode:
        from guesthouse.node.offline_installer import roll_back_without_node

        item = roll_back_without_node(Home(folder), load_settings(str(folder)), package_id)
    _show(item, as_json)
    if not as_json:
        _show_changes(item)


@click.command()
@click.option("--rights", is_flag=True, help="Show what each package asks for, and who granted it.")
@click.option("--cluster", is_flag=True, help="List the packages of all nodes of the cluster.")
@home_option
@json_option
def packages(rights: bool, cluster: bool, home: str | None, as_json: bool) -> None:
    """List the installed packages, and those that the node runs.

    With --cluster the exit code is 4 when a node did not answer.
    """
    from guesthouse.cli.status import print_table
    from guesthouse.control.control_client import NoNode, ask
    from guesthouse.core.config import load_settings
    from guesthouse.core.home import Home

    folder = home_path(home)
    if cluster:
        if rights:
            raise click.UsageError("--rights is of one node: give it without --cluster")
        from guesthouse.cli.status import list_cluster

        list_cluster(folder, "packages", PACKAGE_COLUMNS, "no package is installed", as_json=as_json)
        return
    try:
        items = list(ask(folder, "packages"))
    except NoNode:
        from guesthouse.node.offline_installer import listed_without_node

        items = listed_without_node(Home(folder), load_settings(str(folder)))
    if as_json:
        print_json(items)
    elif items and rights:
        _show_rights(items)
    elif items:
        print_table(items, PACKAGE_COLUMNS)
    else:
        click.echo("no package is installed", err=True)


def _show_rights(items: list[dict[str, Any]]) -> None:
    from guesthouse.core.printable import printable

    for item in items:
        click.echo(f"{item['package']} {version_text(item['version'] or item['running_version'], None)}")
        asks = item["asks"]
        if asks is None:
            click.echo("  its manifest cannot be read")
        elif not asks:
            click.echo("  nothing beyond what every process has")
        for asked in asks or ():
            click.echo(printable(f"  {asked['text']} (granted by {asked['granted_by']})"))


def _show(item: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json({key: value for key, value in item.items() if key not in ("asks_more", "asks_less")})
        return
    text = f"{item['package']} {version_text(item['version'], item['hash'])} is installed"
    click.echo(
        f"{text} and runs" if item["running_version"] else f"{text} and starts with the node", err=True
    )
