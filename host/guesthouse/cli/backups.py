"""Commands that copy a whole home: `backup` and `restore`."""

from __future__ import annotations

from pathlib import Path

import click

from guesthouse.cli.options import home_option, home_path, json_option, print_json
from guesthouse.cli.terminal.progress import working
from guesthouse.core.printable import number_of


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--without-secrets", is_flag=True, help="Leave out keys, password and tokens.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@home_option
@json_option
def backup(file: str, without_secrets: bool, force: bool, home: str | None, as_json: bool) -> None:
    """Write everything that a node keeps to FILE, a .tar.gz, while it runs or not.

    Settings, installed packages, what processes stored, tokens, password and the node's keys; not its log and what it
    compiled, which is made again. With the secrets in it, FILE is to be kept as safe as the home.
    """
    from guesthouse.core.home import Home
    from guesthouse.node.backup.backup import make_backup

    with working(f"writing {file}"):
        made = make_backup(
            Home(home_path(home)), Path(file).absolute(), secrets=not without_secrets, replace=force
        )
    if as_json:
        print_json(made.as_json())
        return
    manifest = made.manifest
    click.echo(f"{made.archive}: {number_of(len(manifest.files), 'file')}, {made.bytes:,} bytes", err=True)
    if manifest.secrets:
        click.echo("it has the node's keys, password and tokens in it: keep it as safe as the home", err=True)
    if made.left_out:
        click.echo(f"left out, as they are not the node's: {', '.join(made.left_out)}", err=True)


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--force", is_flag=True, help="Replace what a node has stored in the home.")
@home_option
@json_option
def restore(file: str, force: bool, home: str | None, as_json: bool) -> None:
    """Restore FILE, made by `guesthouse backup`, into an empty home on which no node runs.

    The whole file is checked before anything is written. One of a later version of Guesthouse is refused.
    """
    from guesthouse.core.home import Home
    from guesthouse.node.backup.restore import restore_backup

    folder = home_path(home)
    with working(f"checking and restoring {file}"):
        manifest = restore_backup(Home(folder), Path(file).absolute(), replace=force)
    if as_json:
        print_json(
            {
                "home": str(folder),
                "node": manifest.node,
                "files": len(manifest.files),
                "created": manifest.created,
                "secrets": manifest.secrets,
            }
        )
        return
    click.echo(f"{folder} is restored as it was at {manifest.created}", err=True)
    if not manifest.secrets:
        text = "the backup has no secrets: everybody has to log in again, after 'guesthouse passwd'"
        click.echo(text, err=True)
